//! What findings of kept scans share, and what all of it weighs.
//!
//! Images are built on one another, so that most of what their findings say is the same: it is kept once, for as long as any
//! kept scan says it.
//!
//! A cache bounds what its entries weigh, each told once; but what scans share outlives the one that brought it. So every
//! scan is charged with all that is there and not charged to another yet, be it its own or left behind by a scan that is
//! gone. What is charged is thus never less than what was there when a scan was last added, and if the cache bounds the one,
//! it bounds the other.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use scangate_core::finding::Finding;

use super::{
    dictionary::Shared,
    encoding::{Reader, Rows, Writer},
};

/// Findings that are packed or unpacked before others have their turn.
const AT_ONCE: usize = 256;

/// What the findings of kept scans share.
#[derive(Default)]
pub(in crate::registry::cache) struct Pool {
    shared: RwLock<Shared>,
    account: Mutex<Account>,
}

/// What there is, and what of it was charged.
#[derive(Default)]
struct Account {
    /// What scans weigh themselves, without what they share.
    scans: usize,
    /// What was charged to those scans.
    charged: usize,
}

impl Pool {
    /// Packs findings, and counts their use of what they share until they are [released](Self::release). `None`: there are
    /// more different texts than can be told apart.
    pub(super) fn pack(&self, findings: &[Finding]) -> Option<Rows> {
        let mut writer = Writer::default();
        let mut last_arn = None;
        for some in findings.chunks(AT_ONCE) {
            let mut shared = self.write();
            for finding in some {
                let Some(row) = shared.row(finding, last_arn) else {
                    drop(shared);
                    self.release(&writer.finish());
                    return None;
                };
                writer.write(&row);
                last_arn = finding.arn.as_ref();
            }
        }
        Some(writer.finish())
    }

    /// The findings as they were packed. `None`: these are no rows of this pool.
    pub(super) fn unpack(&self, rows: &Rows) -> Option<Vec<Finding>> {
        let mut reader = Reader::new(rows);
        let mut findings: Vec<Finding> = Vec::with_capacity(rows.len());
        while findings.len() < rows.len() {
            let shared = self.read();
            for _ in 0..AT_ONCE.min(rows.len() - findings.len()) {
                let finding = shared.finding(&reader.row()?, findings.last())?;
                findings.push(finding);
            }
        }
        Some(findings)
    }

    /// Gives back what packed findings use.
    pub(super) fn release(&self, rows: &Rows) {
        let mut reader = Reader::new(rows);
        let mut left = rows.len();
        while left > 0 {
            let mut shared = self.write();
            for _ in 0..AT_ONCE.min(left) {
                let Some(row) = reader.row() else { return };
                shared.give_back(&row);
            }
            left = left.saturating_sub(AT_ONCE);
        }
    }

    /// Adds a scan that weighs so many bytes itself, and tells what is charged to it.
    pub(in crate::registry::cache) fn charge(&self, own: usize) -> u32 {
        let shared = self.read().bytes();
        let mut account = self.account();
        account.scans = account.scans.saturating_add(own);
        let missing = account.scans.saturating_add(shared).saturating_sub(account.charged);
        // What does not go into this number is for the next one to bear.
        let charge = u32::try_from(missing.max(own)).unwrap_or(u32::MAX);
        account.charged = account.charged.saturating_add(charge as usize);
        charge
    }

    /// A scan has gone that had been added.
    pub(in crate::registry::cache) fn discharge(&self, own: usize, charge: u32) {
        let mut account = self.account();
        account.scans = account.scans.saturating_sub(own);
        account.charged = account.charged.saturating_sub(charge as usize);
    }

    /// What all scans weigh together, with what they share.
    pub(in crate::registry::cache) fn bytes(&self) -> usize {
        self.read().bytes().saturating_add(self.account().scans)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Shared> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shared> {
        self.shared.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
