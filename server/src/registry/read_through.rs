//! Readings kept for a while, and one flight for all who want a fresh one.

use std::{
    fmt,
    hash::Hash,
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::{Error, Freshness, single_flight::SingleFlight};

/// The cache takes no time without end.
pub(super) const MAX_AGE: Duration = Duration::from_hours(24 * 365);

/// Readings by key, bounded in bytes. Failures are never kept.
pub(super) struct ReadThroughCache<K, V> {
    entries: Cache<K, CachedRead<V>>,
    single_flight: SingleFlight<K, CachedRead<V>>,
}

/// A value with what decides how long it serves.
#[derive(Clone, Debug)]
pub(super) struct CachedRead<V> {
    /// The value.
    pub(super) value: V,
    /// When reading it began: everything in it is at least as fresh.
    pub(super) began: Instant,
    /// How long it counts as fresh where the caller asks for nothing fresher.
    pub(super) ttl: Duration,
    /// What it weighs.
    pub(super) weight: u32,
}

impl<V> CachedRead<V> {
    fn is_fresh(&self, freshness: Freshness) -> bool {
        freshness.admits(self.began) && self.began.elapsed() < self.ttl
    }
}

impl<K, V> ReadThroughCache<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps readings of so many bytes in all, none longer than `at_most`; a flight is given up after `budget`.
    pub(super) fn new(bytes: u64, at_most: Duration, budget: Duration) -> Self {
        let kept = Cache::builder()
            // What comes is let in, and the oldest goes. Otherwise whoever weighs more than those that he would push out is turned
            // away, each time anew, and is read from the registry at every call.
            .eviction_policy(EvictionPolicy::lru())
            .max_capacity(bytes)
            .weigher(|_, reading: &CachedRead<V>| reading.weight)
            .time_to_live(at_most.min(MAX_AGE))
            .build();
        Self { entries: kept, single_flight: SingleFlight::new(budget) }
    }

    /// What is kept, fresh enough, or read now. `read` is told when it began.
    pub(super) async fn get<F>(
        &self,
        key: &K,
        freshness: Freshness,
        read: impl FnOnce(Instant) -> F,
    ) -> Result<V, Error>
    where
        F: Future<Output = Result<CachedRead<V>, Error>> + Send + 'static,
    {
        let fresh = || self.latest(key).filter(|reading| reading.is_fresh(freshness));
        if let Some(reading) = fresh() {
            return Ok(reading.value);
        }
        let fly = |began| {
            let (reading, kept, key) = (read(began), self.entries.clone(), key.clone());
            async move {
                let reading = reading.await?;
                kept.insert(key, reading.clone());
                Ok(reading)
            }
        };
        self.single_flight.run(key, freshness, fresh, fly).await.map(|reading| reading.value)
    }

    /// What is kept and fresh enough.
    pub(super) fn get_fresh(&self, key: &K, freshness: Freshness) -> Option<V> {
        self.latest(key).filter(|reading| reading.is_fresh(freshness)).map(|reading| reading.value)
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.entries.invalidate_all();
        // What is forgotten is let go of two steps later: until then it would be counted, and all be forgotten again.
        (0..3).for_each(|_| self.run_maintenance());
    }

    /// Lets go now of what would go anyway.
    pub(super) fn run_maintenance(&self) {
        self.entries.run_pending_tasks();
    }

    /// The latest reading that is kept, however old.
    pub(super) fn latest(&self, key: &K) -> Option<CachedRead<V>> {
        self.entries.get(key)
    }
}

impl<K, V> fmt::Debug for ReadThroughCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("flights", &self.single_flight).finish_non_exhaustive()
    }
}
