//! The scans that were unpacked last: who reads one page after page has it unpacked once.
//!
//! They are held as two more readers would hold them, and decide nothing: what is kept, and how fresh, the cache alone knows.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use scangate_core::scan::Scan;

/// Findings of the largest scan that is held: the cache's bound does not count them.
const MAX_FINDINGS: usize = 5_000;

/// The last two, the later one first.
#[derive(Default)]
pub(super) struct RecentScans {
    last: Mutex<[Option<Arc<Scan>>; 2]>,
}

impl RecentScans {
    /// Holds a scan until two others have come; not one that is too large for that.
    pub(super) fn insert(&self, scan: &Arc<Scan>) {
        if scan.findings().len() > MAX_FINDINGS {
            return;
        }
        let mut held = self.lock();
        if held.iter().flatten().any(|known| Arc::ptr_eq(known, scan)) {
            return;
        }
        let [last, before] = &mut *held;
        let gone = mem::replace(before, last.replace(Arc::clone(scan)));
        // Nobody waits while findings are dropped.
        drop(held);
        drop(gone);
    }

    /// Holds none any more.
    pub(super) fn clear(&self) {
        let gone = mem::take(&mut *self.lock());
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Arc<Scan>>; 2]> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RecentScans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacked").finish_non_exhaustive()
    }
}
