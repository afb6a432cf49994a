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
    dictionary::Dictionary,
    encoding::{Decoder, EncodedFindings, Encoder},
};

/// Findings that are packed or unpacked before others have their turn.
const LOCK_BATCH_SIZE: usize = 256;

/// What the findings of kept scans share.
#[derive(Default)]
pub(in crate::registry::cache) struct FindingPool {
    dictionary: RwLock<Dictionary>,
    account: Mutex<Account>,
}

/// What there is, and what of it was charged.
#[derive(Default)]
struct Account {
    /// What scans weigh themselves, without what they share.
    scans: usize,
    /// What was charged to those scans.
    reserved: usize,
}

impl FindingPool {
    /// Packs findings, and counts their use of what they share until they are [released](Self::release). `None`: there are
    /// more different texts than can be told apart.
    pub(super) fn encode(&self, findings: &[Finding]) -> Option<EncodedFindings> {
        let mut writer = Encoder::default();
        let mut last_arn = None;
        for some in findings.chunks(LOCK_BATCH_SIZE) {
            let mut shared = self.write();
            for finding in some {
                let Some(row) = shared.encode(finding, last_arn) else {
                    drop(shared);
                    self.release(&writer.finish());
                    return None;
                };
                writer.push(&row);
                last_arn = finding.arn.as_ref();
            }
        }
        Some(writer.finish())
    }

    /// The findings as they were packed. `None`: these are no rows of this pool.
    pub(super) fn decode(&self, rows: &EncodedFindings) -> Option<Vec<Finding>> {
        let mut reader = Decoder::new(rows);
        let mut findings: Vec<Finding> = Vec::with_capacity(rows.len());
        while findings.len() < rows.len() {
            let shared = self.read();
            for _ in 0..LOCK_BATCH_SIZE.min(rows.len() - findings.len()) {
                let finding = shared.decode(&reader.read_finding()?, findings.last())?;
                findings.push(finding);
            }
        }
        Some(findings)
    }

    /// Gives back what packed findings use.
    pub(super) fn release(&self, rows: &EncodedFindings) {
        let mut reader = Decoder::new(rows);
        let mut left = rows.len();
        while left > 0 {
            let mut shared = self.write();
            for _ in 0..LOCK_BATCH_SIZE.min(left) {
                let Some(row) = reader.read_finding() else { return };
                shared.release(&row);
            }
            left = left.saturating_sub(LOCK_BATCH_SIZE);
        }
    }

    /// Adds a scan that weighs so many bytes itself, and tells what is charged to it.
    pub(in crate::registry::cache) fn reserve(&self, own: usize) -> u32 {
        let shared = self.read().bytes();
        let mut account = self.account();
        account.scans = account.scans.saturating_add(own);
        let missing = account.scans.saturating_add(shared).saturating_sub(account.reserved);
        // What does not go into this number is for the next one to bear.
        let charge = u32::try_from(missing.max(own)).unwrap_or(u32::MAX);
        account.reserved = account.reserved.saturating_add(charge as usize);
        charge
    }

    /// A scan has gone that had been added.
    pub(in crate::registry::cache) fn unreserve(&self, own: usize, charge: u32) {
        let mut account = self.account();
        account.scans = account.scans.saturating_sub(own);
        account.reserved = account.reserved.saturating_sub(charge as usize);
    }

    /// What all scans weigh together, with what they share.
    pub(in crate::registry::cache) fn bytes(&self) -> usize {
        self.read().bytes().saturating_add(self.account().scans)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Dictionary> {
        self.dictionary.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Dictionary> {
        self.dictionary.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FindingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
