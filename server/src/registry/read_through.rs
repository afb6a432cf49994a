//! A read-through TTL cache with request coalescing.

use std::{
    fmt,
    hash::Hash,
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use super::{Error, Freshness, single_flight::SingleFlight};

/// The maximum TTL: moka panics on an excessive one.
pub(super) const MAX_AGE: Duration = Duration::from_hours(24 * 365);

/// A read-through cache, bounded by weight. Failures are never cached.
pub(super) struct ReadThroughCache<K, V> {
    entries: Cache<K, CachedRead<V>>,
    single_flight: SingleFlight<K, CachedRead<V>>,
}

/// A cached value with its age, TTL and weight.
#[derive(Clone, Debug)]
pub(super) struct CachedRead<V> {
    /// The value.
    pub(super) value: V,
    /// The instant at which the read began: everything in the value is at least this fresh.
    pub(super) began: Instant,
    /// The time for which the value is fresh, unless the caller requires a fresher one.
    pub(super) ttl: Duration,
    /// Its share of the cache's capacity.
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
    /// Creates a cache of this total weight. No value is cached longer than `max_age`. A read is cancelled after
    /// `budget`.
    pub(super) fn new(capacity: u64, max_age: Duration, budget: Duration) -> Self {
        let entries = Cache::builder()
            // Admit every new entry and evict the least recently used. A frequency-based policy would keep refusing an
            // entry that outweighs its victims, so every call for it would go to the registry.
            .eviction_policy(EvictionPolicy::lru())
            .max_capacity(capacity)
            .weigher(|_, reading: &CachedRead<V>| reading.weight)
            .time_to_live(max_age.min(MAX_AGE))
            .build();
        Self { entries, single_flight: SingleFlight::new(budget) }
    }

    /// Returns the cached value if it is fresh enough, else reads it. `read` receives the instant at which the read
    /// began.
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
        let start = |began| {
            let (reading, entries, key) = (read(began), self.entries.clone(), key.clone());
            async move {
                let reading = reading.await?;
                entries.insert(key, reading.clone());
                // Evicts at once: later, many entries of megabytes each could exceed the limit meanwhile.
                entries.run_pending_tasks();
                Ok(reading)
            }
        };
        self.single_flight.run(key, freshness, fresh, start).await.map(|reading| reading.value)
    }

    /// Returns the cached value if it is fresh enough.
    pub(super) fn get_fresh(&self, key: &K, freshness: Freshness) -> Option<V> {
        self.latest(key).filter(|reading| reading.is_fresh(freshness)).map(|reading| reading.value)
    }

    /// Removes an entry.
    pub(super) fn remove(&self, key: &K) {
        self.entries.invalidate(key);
    }

    /// Returns the total weight of all entries, after expired and evicted ones have been dropped.
    pub(super) fn weight(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.weighted_size()
    }

    /// Returns the cached entry, whatever its age.
    pub(super) fn latest(&self, key: &K) -> Option<CachedRead<V>> {
        self.entries.get(key)
    }
}

impl<K, V> fmt::Debug for ReadThroughCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadThroughCache").field("single_flight", &self.single_flight).finish_non_exhaustive()
    }
}
