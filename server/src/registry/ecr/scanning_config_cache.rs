//! The scanning that is in force for a repository, kept for a while: every scan is read together with it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use scangate_core::{
    image::RepositoryName,
    scan::{Frequency, ScanType},
};

use super::{
    error::malformed,
    registry_client::Served,
    retry::Deadline,
    scanning_config::{GET_REGISTRY, GET_REPOSITORIES, frequency, read_registry, read_repositories},
};
use crate::registry::{
    Error, Freshness, Source,
    read_through::{Memo, Reading},
};

/// Repositories whose frequency is kept.
const MOST_KEPT: u64 = 20_000;

/// The scanning that was in force when a scan was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InForce {
    pub(super) scan_type: ScanType,
    pub(super) frequency: Frequency,
}

/// A registry's scanning configuration, kept for a while.
#[derive(Debug)]
pub(super) struct Scanning {
    scan_type: Memo<(), ScanType>,
    frequencies: Memo<RepositoryName, Frequency>,
    /// What began before our own last change is out of date, however young.
    changed: Mutex<Option<Instant>>,
    keep: Duration,
}

impl Scanning {
    pub(super) fn new(keep: Duration, budget: Duration) -> Self {
        Self {
            scan_type: Memo::new(1, keep, budget),
            frequencies: Memo::new(MOST_KEPT, keep, budget),
            changed: Mutex::default(),
            keep,
        }
    }

    /// We may have changed the configuration.
    pub(super) fn change(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn freshness(&self) -> Freshness {
        Freshness { not_before: *self.changed.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    fn kept<V>(&self, value: V, began: Instant) -> Reading<V> {
        Reading { value, began, keep: self.keep, bytes: 1 }
    }
}

impl Served {
    /// What is in force for a repository, at most as old as the configuration is kept.
    pub(super) async fn in_force(
        self: &Arc<Self>,
        repository: &RepositoryName,
        deadline: Deadline,
    ) -> Result<InForce, Error> {
        let both = async { tokio::try_join!(self.scan_type(), self.frequency(repository)) };
        let Some(both) = deadline.bound(both).await else {
            let source = Source::new("no answer within the time budget");
            return Err(Error::Unavailable { operation: GET_REGISTRY.name, source });
        };
        both.map(|(scan_type, frequency)| InForce { scan_type, frequency })
    }

    async fn scan_type(self: &Arc<Self>) -> Result<ScanType, Error> {
        let read = |began| {
            let served = Arc::clone(self);
            async move {
                let scanning = read_registry(&served, served.deadline()).await?;
                Ok(served.scanning.kept(scanning.scan_type, began))
            }
        };
        self.scanning.scan_type.get(&(), self.scanning.freshness(), read).await
    }

    async fn frequency(self: &Arc<Self>, repository: &RepositoryName) -> Result<Frequency, Error> {
        let read = |began| {
            let (served, repository) = (Arc::clone(self), repository.clone());
            async move {
                let found = read_repositories(&served, &[&repository], served.deadline()).await?;
                let found = found.first().ok_or_else(|| malformed(GET_REPOSITORIES, "the answer is empty"))?;
                Ok(served.scanning.kept(frequency(found.scan_frequency.as_ref()), began))
            }
        };
        self.scanning.frequencies.get(repository, self.scanning.freshness(), read).await
    }
}
