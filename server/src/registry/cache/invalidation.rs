//! Invalidation by changes of this server: a reading that began before the change is stale, even if it is still in
//! flight.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use parking_lot::Mutex;
use scangate_core::registry::Registry as RegistryId;

use super::ScanKey;
use crate::registry::read_through::MAX_AGE;

/// The maximum of started scans whose instant is stored.
const MAX_SCANS: u64 = 100_000;

/// The instants of changes, stored as long as an earlier reading could be cached.
#[derive(Clone, Debug)]
pub(super) struct Invalidations {
    scans: Cache<ScanKey, Instant>,
    registries: Arc<Mutex<HashMap<RegistryId, Instant>>>,
}

impl Invalidations {
    pub(super) fn new(remembered: Duration) -> Self {
        let scans = Cache::builder().max_capacity(MAX_SCANS).time_to_live(remembered.min(MAX_AGE)).build();
        Self { scans, registries: Arc::default() }
    }

    /// Records that a scan was started, or may have been.
    pub(super) fn invalidate_scan(&self, key: ScanKey) {
        self.scans.insert(key, Instant::now());
    }

    /// Records a change of a registry's configuration. A failed change may have taken effect. But an instant is stored
    /// only for a registry with a successful change, because callers may name any registry.
    pub(super) fn invalidate_registry(&self, registry: &RegistryId, succeeded: bool) {
        let mut registries = self.registries.lock();
        if succeeded || registries.contains_key(registry) {
            registries.insert(registry.clone(), Instant::now());
        }
    }

    /// Returns the latest change that a reading of this scan must reflect.
    pub(super) fn latest(&self, key: &ScanKey) -> Option<Instant> {
        let registry = {
            let registries = self.registries.lock();
            registries.get(&key.repository.registry).copied()
        };
        registry.max(self.scans.get(key))
    }
}
