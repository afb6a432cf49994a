//! The policies and waivers of the gate: an immutable snapshot for those who decide, durable writes for those who change it.
//!
//! Where the store is shared, others write to it, too. Then the snapshot is confirmed over and over: at each hint of the store, and
//! every half second without one. Nobody decides on a snapshot that was not confirmed within the staleness bound.

mod dry_run;
mod lint;

use std::{
    sync::{
        Arc, Mutex as Lock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use scangate_core::{name::PolicyId, policy::PolicySet};
use tokio::sync::{Mutex, watch};

pub use self::lint::notes;
use crate::{
    idempotency::RequestKey,
    policy_store::{self, Change, ChangeSet, Entry, PolicyStore, Write, WriteResult, apply_changes},
};

/// How often a shared store is asked without a hint, and one that did not answer is tried anew.
const POLL: Duration = Duration::from_millis(500);
/// How long a call waits for a revision that its caller has seen and we have not.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Why the policies are not to be had, or were not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store said no, or nothing.
    #[error(transparent)]
    Store(#[from] policy_store::Error),
    /// What is in memory may be older than what is in force, by more than may be.
    #[error("the policies in memory may be older than those in the store")]
    Stale,
    /// The caller has seen a revision that we have not.
    #[error("revision {asked} is not reached, this server is at {reached}")]
    RevisionNotReached {
        /// The revision asked for.
        asked: u64,
        /// Ours.
        reached: u64,
    },
    /// The task that wrote died.
    #[error("the write was lost")]
    Lost(#[source] tokio::task::JoinError),
}

/// What a write is to do besides changing something.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Check only.
    pub validate_only: bool,
    /// The caller's request.
    pub request: Option<RequestKey>,
}

/// The policies and waivers of the gate.
#[derive(Debug)]
pub struct Policies {
    store: Arc<dyn PolicyStore>,
    snapshot: ArcSwap<PolicySet>,
    /// The revision of the snapshot, for those who wait for a later one.
    revision: watch::Sender<u64>,
    /// Nothing can be said until the store has been asked again.
    doubtful: AtomicBool,
    /// When the store last said that the snapshot is what is in force: an instant before it was asked.
    confirmed: Lock<Instant>,
    /// How old that may be.
    bound: Duration,
    /// One at a time asks the store, and folds in what it says. When the revision of the snapshot was written: the store must still
    /// say so, or it is not the store any more that the snapshot was read from.
    refreshing: Mutex<Timestamp>,
}

impl Policies {
    /// Reads the store for the first time, and keeps up with it from then on. Of a shared store, what was not confirmed within
    /// `bound` is not decided on.
    pub async fn load(store: Arc<dyn PolicyStore>, bound: Duration) -> Result<Arc<Self>, Error> {
        let asked = Instant::now();
        let changes = store.changes(None).await?;
        let written_at = changes.write_time;
        let set = policy_store::into_snapshot(changes)?;
        let shared = store.is_shared();
        let policies = Arc::new(Self {
            store,
            revision: watch::Sender::new(set.revision),
            snapshot: ArcSwap::from_pointee(set),
            doubtful: AtomicBool::new(false),
            confirmed: Lock::new(asked),
            bound,
            refreshing: Mutex::new(written_at),
        });
        if shared {
            tokio::spawn(keep_up(Arc::downgrade(&policies)));
        }
        Ok(policies)
    }

    /// The policies as of now, at least at the revision given.
    pub async fn at_least(&self, revision: Option<u64>) -> Result<Arc<PolicySet>, Error> {
        if !self.is_confirmed() {
            return Err(Error::Stale);
        }
        let set = self.snapshot.load_full();
        match revision.filter(|asked| *asked > set.revision) {
            None => Ok(set),
            Some(asked) if self.store.is_shared() => self.catch_up(asked).await,
            Some(asked) => Err(Error::RevisionNotReached { asked, reached: set.revision }),
        }
    }

    /// Somebody has seen a revision that we have not: it is in the store, unless he made it up.
    async fn catch_up(&self, asked: u64) -> Result<Arc<PolicySet>, Error> {
        let refreshed = tokio::time::timeout(CATCH_UP, self.refresh()).await;
        if !matches!(refreshed, Ok(true)) {
            return Err(Error::Stale);
        }
        let set = self.snapshot.load_full();
        if set.revision >= asked { Ok(set) } else { Err(Error::RevisionNotReached { asked, reached: set.revision }) }
    }

    fn is_confirmed(&self) -> bool {
        !self.doubtful.load(Ordering::Acquire)
            && (!self.store.is_shared() || lock(&self.confirmed).elapsed() < self.bound)
    }

    /// ChangeSet what is in force. What it returns is durable and in force for every later call on this server.
    ///
    /// The change runs to its end even where the caller gives up: a snapshot must never miss a write that happened.
    pub async fn write(self: &Arc<Self>, change: Change, terms: Terms) -> Result<WriteResult, Error> {
        if terms.validate_only {
            return Ok(dry_run::dry_run(&*self.at_least(None).await?, change)?);
        }
        let policies = Arc::clone(self);
        let write = Write { change, request: terms.request, at: Timestamp::now() };
        tokio::spawn(async move { policies.write_through(write).await }).await.map_err(Error::Lost)?
    }

    async fn write_through(self: Arc<Self>, write: Write) -> Result<WriteResult, Error> {
        let outcome = self.store.apply(write).await;
        match &outcome {
            // In the second case nobody knows what was written.
            Ok(_) | Err(policy_store::Error::Unavailable(_)) => self.refresh_or_doubt().await,
            Err(
                policy_store::Error::NotFound(_)
                | policy_store::Error::AlreadyExists(_)
                | policy_store::Error::Conflict { .. }
                | policy_store::Error::RequestIdReused
                | policy_store::Error::BatchSize
                | policy_store::Error::DefaultRequired
                | policy_store::Error::TooManyPolicies
                | policy_store::Error::TooManyWaivers
                | policy_store::Error::Revoked(_)
                | policy_store::Error::Corrupt { .. },
            ) => {}
        }
        let written = outcome?;
        if self.doubtful.load(Ordering::Acquire) { Err(Error::Stale) } else { Ok(written) }
    }

    /// Reads the store again; where it does not answer, nobody decides until it does.
    async fn refresh_or_doubt(self: &Arc<Self>) {
        if self.refresh().await {
            return;
        }
        if self.doubtful.swap(true, Ordering::AcqRel) {
            return;
        }
        let policies = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(POLL).await;
                let Some(policies) = policies.upgrade() else { return };
                if policies.refresh().await {
                    return;
                }
            }
        });
    }

    /// Asks the store what has changed and folds it in, unless somebody else has asked it since this was called. True where the
    /// store answered.
    async fn refresh(&self) -> bool {
        let called = Instant::now();
        let mut written_at = self.refreshing.lock().await;
        if !self.doubtful.load(Ordering::Acquire) && *lock(&self.confirmed) >= called {
            return true;
        }
        let asked = Instant::now();
        let snapshot = self.snapshot.load_full();
        let changes = match self.store.changes(Some(snapshot.revision)).await {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the policies cannot be read from the store");
                return false;
            }
        };
        if changes.begin_time != Some(*written_at) || changes.revision < snapshot.revision {
            tracing::error!(
                had = snapshot.revision,
                has = changes.revision,
                "the store has another history than it had: was it restored from a backup? No decision is made until this \
                 server is restarted"
            );
            return false;
        }
        if changes.revision > snapshot.revision {
            *written_at = changes.write_time;
            let mut set = PolicySet::clone(&snapshot);
            apply_changes(&mut set, changes);
            let revision = set.revision;
            self.snapshot.store(Arc::new(set));
            self.revision.send_replace(revision);
        }
        *lock(&self.confirmed) = asked;
        self.doubtful.store(false, Ordering::Release);
        true
    }

    /// What has changed after a revision, as the store recorded it.
    pub async fn changes(&self, after: Option<u64>) -> Result<ChangeSet, Error> {
        Ok(self.store.changes(after).await?)
    }

    /// Everything as it was in force at a revision.
    pub async fn at(&self, revision: u64) -> Result<PolicySet, Error> {
        Ok(self.store.snapshot_at(revision).await?)
    }

    /// The history of a policy, newest first.
    pub async fn history(&self, id: &PolicyId, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        Ok(self.store.history(id, before, limit).await?)
    }

    /// Tells of each new revision of the snapshot.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Answers where a decision can be made.
    pub async fn ping(&self) -> Result<(), Error> {
        self.at_least(None).await?;
        Ok(self.store.ping().await?)
    }
}

/// Confirms the snapshot of a shared store for as long as anybody has it.
async fn keep_up(policies: Weak<Policies>) {
    let mut store = None;
    while let Some(policies) = policies.upgrade() {
        policies.refresh().await;
        let shared = store.get_or_insert_with(|| Arc::clone(&policies.store));
        drop(policies);
        // In time before the bound is reached, whatever the store hints.
        tokio::time::timeout(POLL, shared.changed()).await.ok();
    }
}

fn lock<T>(mutex: &Lock<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
