//! A scan in cached form: its findings are encoded, and decoded for as long as a reader holds them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use scangate_core::scan::{Report, Scan};

use super::{super::memory, encoding::EncodedFindings, pool::FindingPool};

/// A scan in compact form.
#[derive(Debug)]
pub(in crate::registry::cache) struct CompactScan {
    /// The scan without its findings.
    outline: Scan,
    /// `None`: the report has no list of findings.
    findings: Option<EncodedFindings>,
    pool: Arc<FindingPool>,
    /// The memory of this scan without shared values, and the memory that it reserves, in bytes.
    own_bytes: usize,
    reserved_bytes: u32,
    /// Shared by concurrent readers, so that they get the same scan.
    decoded: Mutex<Weak<Scan>>,
}

impl CompactScan {
    /// Encodes a scan; `None` if the pool has no ids left.
    pub(in crate::registry::cache) fn new(scan: &Scan, pool: &Arc<FindingPool>) -> Option<Self> {
        let findings = scan.report.as_ref().and_then(|report| report.findings.as_deref());
        let encoded = match findings {
            Some(findings) => Some(pool.encode(findings)?),
            None => None,
        };
        let outline = scan.without_findings();
        let own_bytes = memory::size_of_scan(&outline, encoded.as_ref().map(EncodedFindings::bytes));
        let (pool, reserved_bytes) = (Arc::clone(pool), pool.reserve(own_bytes));
        Some(Self { outline, findings: encoded, pool, own_bytes, reserved_bytes, decoded: Mutex::default() })
    }

    /// Returns the scan without its findings.
    pub(in crate::registry::cache) fn outline(&self) -> &Scan {
        &self.outline
    }

    /// Sets the time since which the scan is unchanged.
    pub(in crate::registry::cache) fn set_unchanged_since(&mut self, since: Timestamp) {
        self.outline.unchanged_since = since;
    }

    /// Sets the earliest known scan of the digest.
    pub(in crate::registry::cache) fn set_first_scanned_at(&mut self, first: Option<Timestamp>) {
        self.outline.first_scanned_at = first;
    }

    /// True if both scans, of the same pool, have the same findings.
    pub(in crate::registry::cache) fn has_same_findings(&self, other: &Self) -> bool {
        self.findings == other.findings
    }

    /// Returns the memory that the scan reserves, in bytes.
    pub(in crate::registry::cache) fn reserved_bytes(&self) -> u32 {
        self.reserved_bytes
    }

    /// Returns the decoded scan.
    pub(in crate::registry::cache) fn decode(&self) -> Arc<Scan> {
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scan) = decoded.upgrade() {
            return scan;
        }
        // Findings that cannot be decoded count as a missing list: such a scan proves nothing.
        let findings = self.findings.as_ref().and_then(|encoded| self.pool.decode(encoded));
        let report = self.outline.report.clone().map(|report| Report { findings, ..report });
        let scan = Arc::new(Scan { report, ..self.outline.clone() });
        *decoded = Arc::downgrade(&scan);
        scan
    }
}

impl Drop for CompactScan {
    fn drop(&mut self) {
        if let Some(encoded) = &self.findings {
            self.pool.release(encoded);
        }
        self.pool.unreserve(self.own_bytes, self.reserved_bytes);
    }
}
