//! A scan as it is kept: its findings packed, and unpacked for as long as somebody reads them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use scangate_core::scan::{Report, Scan};

use super::{super::memory, encoding::Rows, pool::Pool};

/// A scan that takes little room.
#[derive(Debug)]
pub(in crate::registry::cache) struct Packed {
    /// Without its findings.
    outline: Scan,
    /// `None`: no list of findings came.
    rows: Option<Rows>,
    pool: Arc<Pool>,
    /// What it weighs itself, and what is charged to it.
    own: usize,
    charge: u32,
    /// So that all who read at once read the same.
    unpacked: Mutex<Weak<Scan>>,
}

impl Packed {
    /// Packs a scan. `None`: the pool has no room for what it says.
    pub(in crate::registry::cache) fn of(scan: &Scan, pool: &Arc<Pool>) -> Option<Self> {
        let findings = scan.report.as_ref().and_then(|report| report.findings.as_deref());
        let rows = match findings {
            Some(findings) => Some(pool.pack(findings)?),
            None => None,
        };
        let outline = scan.without_findings();
        let own = memory::of_packed(&outline, rows.as_ref().map(Rows::bytes));
        let (pool, charge) = (Arc::clone(pool), pool.charge(own));
        Some(Self { outline, rows, pool, own, charge, unpacked: Mutex::default() })
    }

    /// What it says, its findings left out.
    pub(in crate::registry::cache) fn outline(&self) -> &Scan {
        &self.outline
    }

    /// Sets since when it has been known to say the same.
    pub(in crate::registry::cache) fn is_unchanged_since(&mut self, since: Timestamp) {
        self.outline.unchanged_since = since;
    }

    /// Whether it has the same findings as another one of its pool.
    pub(in crate::registry::cache) fn has_findings_of(&self, other: &Self) -> bool {
        self.rows == other.rows
    }

    /// What is charged to it, in bytes.
    pub(in crate::registry::cache) fn charge(&self) -> u32 {
        self.charge
    }

    /// The scan as it was packed.
    pub(in crate::registry::cache) fn unpack(&self) -> Arc<Scan> {
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scan) = unpacked.upgrade() {
            return scan;
        }
        // Rows that cannot be read are a list that did not come: such a scan proves nothing.
        let findings = self.rows.as_ref().and_then(|rows| self.pool.unpack(rows));
        let report = self.outline.report.clone().map(|report| Report { findings, ..report });
        let scan = Arc::new(Scan { report, ..self.outline.clone() });
        *unpacked = Arc::downgrade(&scan);
        scan
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        if let Some(rows) = &self.rows {
            self.pool.release(rows);
        }
        self.pool.discharge(self.own, self.charge);
    }
}
