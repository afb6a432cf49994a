//! The most recently decoded scans, so that a caller that reads page after page decodes a scan once.
//!
//! They are held like two further readers would hold them. Freshness is decided by the cache alone.

use std::{mem, sync::Arc};

use parking_lot::Mutex;
use scangate_core::scan::Scan;

/// The maximum of findings in a scan held here: the cache's memory limit does not count it.
const MAX_FINDINGS: usize = 5_000;

/// The last two scans, the later one first.
#[derive(Debug, Default)]
pub(super) struct RecentScans {
    last: Mutex<[Option<Arc<Scan>>; 2]>,
}

impl RecentScans {
    /// Holds a scan until two others have been inserted. A scan beyond [`MAX_FINDINGS`] is not held.
    pub(super) fn insert(&self, scan: &Arc<Scan>) {
        if scan.findings().len() > MAX_FINDINGS {
            return;
        }
        let mut scans = self.last.lock();
        if scans.iter().flatten().any(|held| Arc::ptr_eq(held, scan)) {
            return;
        }
        let [last, previous] = &mut *scans;
        let dropped = mem::replace(previous, last.replace(Arc::clone(scan)));
        // Drop findings outside the lock.
        drop(scans);
        drop(dropped);
    }
}
