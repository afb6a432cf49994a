//! Caches decisions until one of their inputs changes.
//!
//! A cached decision is valid for the same request, store revision and registry reads. It expires at the first instant at which time
//! alone changes it. It does not see first-seen times that other images record meanwhile: until its scans
//! are read again, the stricter decision is returned.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use moka::sync::Cache;
use scangate_core::{
    image::{Image, Platform},
    name::Environment,
    scan::Manifest,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::PreparedDecision;

/// The memory budget of the cache, in bytes.
const MAX_BYTES: u64 = 48 * 1024 * 1024;
/// The estimated size of a cached decision without findings, in bytes. Its encoded form has a cache of its own, in the gRPC layer.
const DECISION_BYTES: usize = 6 * 1024;
/// The estimated size of each requested platform, in the key and in the cache's queues, in bytes.
const PLATFORM_BYTES: usize = 2 * Platform::ESTIMATED_BYTES;
/// A decision that is unused for this long is evicted.
const DECISION_IDLE_TIME: Duration = Duration::from_mins(10);

/// The most per-key locks.
const MAX_LOCKS: u64 = 20_000;
/// A lock that is unused for this long is evicted.
const LOCK_IDLE_TIME: Duration = Duration::from_mins(1);
/// The longest wait for a per-key lock. If the store is down, callers then fail concurrently instead of one after the other.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// The parts of a request that its decision depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    image: Image,
    /// Sorted and each once: neither order nor repetition changes the decision.
    platforms: Vec<Platform>,
    environment: Option<Environment>,
}

impl Key {
    pub(super) fn new(image: &Image, platforms: &[Platform], environment: Option<&Environment>) -> Self {
        Self { image: image.clone(), platforms: Platform::distinct(platforms), environment: environment.cloned() }
    }

    /// An estimate of its memory use beyond [`DECISION_BYTES`].
    fn bytes(&self) -> usize {
        self.platforms.len() * PLATFORM_BYTES
    }
}

/// A decision and the inputs that invalidate it.
pub(super) struct CachedDecision {
    /// All manifests of the image, as resolved.
    pub(super) manifests: Vec<Manifest>,
    /// The start of each scan read, in the order of the decision's inputs.
    pub(super) read_times: Vec<Timestamp>,
    pub(super) prepared: PreparedDecision,
}

impl PreparedDecision {
    /// An estimate of its memory use.
    fn bytes(&self) -> usize {
        let Self { record, evaluated } = self;
        let compressed = record.parts.iter().chain([&record.blob]).map(|blob| blob.compressed().len()).sum::<usize>();
        compressed + evaluated.finding_bytes() + DECISION_BYTES
    }
}

impl CachedDecision {
    /// True if the decision is valid at an instant, provided that its scan reads are still fresh.
    pub(super) fn is_valid_at(&self, revision: u64, manifests: &[Manifest], now: Timestamp) -> bool {
        let decision = &self.prepared.evaluated.evaluation.decision;
        decision.revision == revision
            && self.manifests == manifests
            // A clock that went back invalidates every decision.
            && decision.evaluate_time <= now
            && decision.unchanged_until.is_none_or(|end| now < end)
    }
}

/// A cache of decisions, with a lock per key.
pub(super) struct DecisionCache {
    decisions: Cache<Key, Arc<CachedDecision>>,
    locks: Cache<Key, Arc<Mutex<()>>>,
}

impl DecisionCache {
    pub(super) fn new() -> Self {
        let weigher = |key: &Key, cached: &Arc<CachedDecision>| {
            u32::try_from(key.bytes() + cached.prepared.bytes()).unwrap_or(u32::MAX)
        };
        let decisions =
            Cache::builder().max_capacity(MAX_BYTES).weigher(weigher).time_to_idle(DECISION_IDLE_TIME).build();
        // A lock that is evicted too early costs one duplicate evaluation.
        let locks = Cache::builder().max_capacity(MAX_LOCKS).time_to_idle(LOCK_IDLE_TIME).build();
        Self { decisions, locks }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<CachedDecision>> {
        self.decisions.get(key)
    }

    pub(super) fn insert(&self, key: Key, cached: Arc<CachedDecision>) {
        self.decisions.insert(key, cached);
    }

    /// Locks a key, so that of concurrent callers one evaluates; `None` after [`LOCK_TIMEOUT`].
    pub(super) async fn lock_key(&self, key: &Key) -> Option<OwnedMutexGuard<()>> {
        let lock = self.locks.get_with(key.clone(), Arc::default);
        tokio::time::timeout(LOCK_TIMEOUT, lock.lock_owned()).await.ok()
    }
}

impl fmt::Debug for DecisionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
