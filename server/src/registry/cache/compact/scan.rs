//! A scan as it is kept: its findings packed, and unpacked for as long as somebody reads them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use scangate_core::scan::{Report, Scan};

use super::{super::memory, encoding::EncodedFindings, pool::FindingPool};

/// A scan that takes little room.
#[derive(Debug)]
pub(in crate::registry::cache) struct CompactScan {
    /// Without its findings.
    outline: Scan,
    /// `None`: no list of findings came.
    findings: Option<EncodedFindings>,
    pool: Arc<FindingPool>,
    /// What it weighs itself, and what is charged to it.
    own_bytes: usize,
    charge: u32,
    /// So that all who read at once read the same.
    decoded: Mutex<Weak<Scan>>,
}

impl CompactScan {
    /// Packs a scan. `None`: the pool has no room for what it says.
    pub(in crate::registry::cache) fn new(scan: &Scan, pool: &Arc<FindingPool>) -> Option<Self> {
        let findings = scan.report.as_ref().and_then(|report| report.findings.as_deref());
        let rows = match findings {
            Some(findings) => Some(pool.encode(findings)?),
            None => None,
        };
        let outline = scan.without_findings();
        let own = memory::size_of_scan(&outline, rows.as_ref().map(EncodedFindings::bytes));
        let (pool, charge) = (Arc::clone(pool), pool.reserve(own));
        Some(Self { outline, findings: rows, pool, own_bytes: own, charge, decoded: Mutex::default() })
    }

    /// What it says, its findings left out.
    pub(in crate::registry::cache) fn outline(&self) -> &Scan {
        &self.outline
    }

    /// Sets since when it has been known to say the same.
    pub(in crate::registry::cache) fn set_unchanged_since(&mut self, since: Timestamp) {
        self.outline.unchanged_since = since;
    }

    /// Whether it has the same findings as another one of its pool.
    pub(in crate::registry::cache) fn has_same_findings(&self, other: &Self) -> bool {
        self.findings == other.findings
    }

    /// What is charged to it, in bytes.
    pub(in crate::registry::cache) fn reserved_bytes(&self) -> u32 {
        self.charge
    }

    /// The scan as it was packed.
    pub(in crate::registry::cache) fn decode(&self) -> Arc<Scan> {
        let mut unpacked = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scan) = unpacked.upgrade() {
            return scan;
        }
        // Rows that cannot be read are a list that did not come: such a scan proves nothing.
        let findings = self.findings.as_ref().and_then(|rows| self.pool.decode(rows));
        let report = self.outline.report.clone().map(|report| Report { findings, ..report });
        let scan = Arc::new(Scan { report, ..self.outline.clone() });
        *unpacked = Arc::downgrade(&scan);
        scan
    }
}

impl Drop for CompactScan {
    fn drop(&mut self) {
        if let Some(rows) = &self.findings {
            self.pool.release(rows);
        }
        self.pool.unreserve(self.own_bytes, self.charge);
    }
}
