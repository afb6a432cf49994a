//! What we changed ourselves: readings that began before are no longer fresh, also those that are still under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache;
use scangate_core::registry::Registry as RegistryId;

use super::ScanKey;
use crate::registry::read_through::MAX_AGE;

/// Started scans whose instant is remembered.
const MAX_SCANS: u64 = 100_000;

/// Instants of changes, kept as long as a reading from before could be.
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

    /// A scan was started, or may have been.
    pub(super) fn invalidate_scan(&self, key: ScanKey) {
        self.scans.insert(key, Instant::now());
    }

    /// A registry's configuration was changed. After a failure it may have been; but only a registry that has taken one
    /// change is remembered, since callers may name any.
    pub(super) fn invalidate_registry(&self, registry: &RegistryId, succeeded: bool) {
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        if succeeded || registries.contains_key(registry) {
            registries.insert(registry.clone(), Instant::now());
        }
    }

    /// The latest change that a scan's reading must have seen.
    pub(super) fn latest(&self, key: &ScanKey) -> Option<Instant> {
        let registry = {
            let registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
            registries.get(&key.repository.registry).copied()
        };
        registry.max(self.scans.get(key))
    }
}
