//! The values that cached scans share, and the accounting of their memory.
//!
//! Images are built on one another, so most of their findings have the same values. Each value is stored once, as long
//! as a cached scan uses it.
//!
//! The cache bounds the sum of its entries' weights, and the weight of an entry never changes. But a shared value can
//! outlive the scan that added it. So each new scan reserves, as its weight, all memory in use that is not reserved yet:
//! its own memory, and shared values that dropped scans left behind. Invariant: whenever a scan is added, the reserved
//! memory is at least the memory in use. A bound on reserved memory is therefore a bound on memory in use.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use scangate_core::finding::Finding;

use super::{
    dictionary::Dictionary,
    encoding::{Decoder, EncodedFindings, Encoder},
};

/// Findings encoded or decoded before the lock is released to others.
const LOCK_BATCH_SIZE: usize = 256;

/// The pool of values that the findings of cached scans share.
#[derive(Default)]
pub(in crate::registry::cache) struct FindingPool {
    dictionary: RwLock<Dictionary>,
    account: Mutex<Account>,
}

/// Memory in use and reserved, in bytes.
#[derive(Default)]
struct Account {
    /// The memory of the scans without their shared values.
    scans: usize,
    /// The memory that those scans have reserved.
    reserved: usize,
}

impl FindingPool {
    /// Encodes findings, and counts their use of shared values until they are [released](Self::release). `None` if no
    /// ids are left.
    pub(super) fn encode(&self, findings: &[Finding]) -> Option<EncodedFindings> {
        let mut encoder = Encoder::default();
        let mut last_arn = None;
        for batch in findings.chunks(LOCK_BATCH_SIZE) {
            let mut dictionary = self.write();
            for finding in batch {
                let Some(ids) = dictionary.encode(finding, last_arn) else {
                    drop(dictionary);
                    self.release(&encoder.finish());
                    return None;
                };
                encoder.push(&ids);
                last_arn = finding.arn.as_ref();
            }
        }
        Some(encoder.finish())
    }

    /// Decodes findings; `None` if they were not encoded by this pool.
    pub(super) fn decode(&self, encoded: &EncodedFindings) -> Option<Vec<Finding>> {
        let mut decoder = Decoder::new(encoded);
        let mut findings: Vec<Finding> = Vec::with_capacity(encoded.len());
        while findings.len() < encoded.len() {
            let dictionary = self.read();
            for _ in 0..LOCK_BATCH_SIZE.min(encoded.len() - findings.len()) {
                let finding = dictionary.decode(&decoder.read_finding()?, findings.last())?;
                findings.push(finding);
            }
        }
        Some(findings)
    }

    /// Releases the shared values of encoded findings.
    pub(super) fn release(&self, encoded: &EncodedFindings) {
        let mut decoder = Decoder::new(encoded);
        let mut left = encoded.len();
        while left > 0 {
            let mut dictionary = self.write();
            for _ in 0..LOCK_BATCH_SIZE.min(left) {
                let Some(encoded) = decoder.read_finding() else { return };
                dictionary.release(&encoded);
            }
            left = left.saturating_sub(LOCK_BATCH_SIZE);
        }
    }

    /// Adds a scan of this size without shared values, and returns the bytes that it reserves.
    pub(in crate::registry::cache) fn reserve(&self, own: usize) -> u32 {
        let shared = self.read().bytes();
        let mut account = self.account();
        account.scans = account.scans.saturating_add(own);
        let unreserved = account.scans.saturating_add(shared).saturating_sub(account.reserved);
        // The next scan reserves the remainder beyond `u32::MAX`.
        let reserved = u32::try_from(unreserved.max(own)).unwrap_or(u32::MAX);
        account.reserved = account.reserved.saturating_add(reserved as usize);
        reserved
    }

    /// Removes a dropped scan.
    pub(in crate::registry::cache) fn unreserve(&self, own: usize, reserved: u32) {
        let mut account = self.account();
        account.scans = account.scans.saturating_sub(own);
        account.reserved = account.reserved.saturating_sub(reserved as usize);
    }

    /// Returns the memory of all scans with their shared values, in bytes.
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
        f.debug_struct("FindingPool").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
