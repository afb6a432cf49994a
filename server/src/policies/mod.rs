//! Policies and waivers: an immutable in-memory snapshot for evaluation, and durable writes through the store.
//!
//! Other servers may write to a shared store. The snapshot is therefore refreshed after every change notification, and at least
//! every half second. A refresh confirms the snapshot. Without a confirmation within the staleness bound, no snapshot is returned:
//! evaluation fails closed.

mod changes;
mod current;
mod dry_run;
mod lint;
mod patterns;
mod rollback;
mod watch;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use scangate_core::{name::PolicyId, policy::PolicySet};
use tokio::sync::{Mutex as AsyncMutex, watch as watch_channel};

pub use self::{
    changes::{policy_change_notes, policy_deletion_notes, waiver_change_notes},
    current::Current,
    lint::lint,
    patterns::{has_patterns, policy_pattern_notes, waiver_pattern_notes},
    rollback::{Error as RollbackError, Rollback},
    watch::{ChangeEvent, Error as WatchError, WatchEvent, WatchPosition},
};
use crate::{
    idempotency::RequestKey,
    policy_store::{
        self, Change, ChangeSet, Entry, PolicyStore, ResourceName, Revision, Write, WriteResult, apply_changes,
    },
};

/// The longest time between two confirmations of a shared store, and the delay before a failed read is repeated.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The longest wait for a revision that the caller knows and the snapshot lacks.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// The revision that creates `policies/default` in a new store.
const FIRST_REVISION: u64 = 1;

/// A failure to read or to write policies.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed or refused the request.
    #[error(transparent)]
    Store(#[from] policy_store::Error),
    /// The snapshot was not confirmed within the staleness bound.
    #[error("policies unavailable: the snapshot was not confirmed in time; retry later")]
    Stale,
    /// The caller requires a revision that the snapshot has not reached.
    #[error("revision {required} not reached (this server: {current}); retry later")]
    RevisionNotReached {
        /// The required revision.
        required: u64,
        /// The revision of the snapshot.
        current: u64,
    },
    /// The task that wrote was cancelled or panicked.
    #[error("the task that wrote to the policy store failed")]
    TaskFailed(#[source] tokio::task::JoinError),
}

/// The options of a write.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// The caller's name, recorded as the author.
    pub caller: String,
    /// Check the write without making it.
    pub validate_only: bool,
    /// The idempotency key.
    pub request_key: Option<RequestKey>,
}

/// The policies and waivers: snapshot and writes.
#[derive(Debug)]
pub struct Policies {
    store: Arc<dyn PolicyStore>,
    snapshot: ArcSwap<PolicySet>,
    /// The revision of the snapshot, for tasks that wait for a later one.
    revision: watch_channel::Sender<u64>,
    /// True if the snapshot may lack a successful write. Until the next successful refresh, no snapshot is returned.
    needs_refresh: AtomicBool,
    /// The instant before the read that last confirmed the snapshot.
    confirmed_at: Mutex<Instant>,
    /// The staleness bound of a shared store: the maximum age of `confirmed_at`.
    max_staleness: Duration,
    /// Serialises refreshes. Holds the time at which the snapshot's revision was written. If the store reports another time for
    /// that revision, its history has changed since the snapshot was read.
    revision_time: AsyncMutex<Timestamp>,
}

impl Policies {
    /// Loads the snapshot. For a shared store, also starts the task that refreshes it; `max_staleness` is the staleness bound.
    pub async fn load(store: Arc<dyn PolicyStore>, max_staleness: Duration) -> Result<Arc<Self>, Error> {
        let read_time = Instant::now();
        let changes = store.changes(None).await?;
        let revision_time = changes.write_time;
        report_unknown_fields(&changes);
        let set = policy_store::into_snapshot(changes)?;
        let shared = store.is_shared();
        let policies = Arc::new(Self {
            store,
            revision: watch_channel::Sender::new(set.revision),
            snapshot: ArcSwap::from_pointee(set),
            needs_refresh: AtomicBool::new(false),
            confirmed_at: Mutex::new(read_time),
            max_staleness,
            revision_time: AsyncMutex::new(revision_time),
        });
        if shared {
            tokio::spawn(poll_store(Arc::downgrade(&policies)));
        }
        Ok(policies)
    }

    /// Returns the confirmed snapshot, at least at the given revision.
    pub async fn snapshot_at_least(&self, revision: Option<u64>) -> Result<Arc<PolicySet>, Error> {
        if !self.is_confirmed() {
            return Err(Error::Stale);
        }
        let set = self.snapshot.load_full();
        match revision.filter(|required| *required > set.revision) {
            None => Ok(set),
            Some(required) if self.store.is_shared() => self.catch_up(required).await,
            Some(required) => Err(Error::RevisionNotReached { required, current: set.revision }),
        }
    }

    /// Refreshes once: the caller knows a newer revision than the snapshot, so the store should have it.
    async fn catch_up(&self, required: u64) -> Result<Arc<PolicySet>, Error> {
        let refreshed = tokio::time::timeout(CATCH_UP_TIMEOUT, self.refresh()).await;
        if !matches!(refreshed, Ok(true)) {
            return Err(Error::Stale);
        }
        let set = self.snapshot.load_full();
        let current = set.revision;
        if current >= required { Ok(set) } else { Err(Error::RevisionNotReached { required, current }) }
    }

    /// Returns the snapshot with every write that was durable before this call.
    async fn latest_snapshot(&self) -> Result<Arc<PolicySet>, Error> {
        if self.store.is_shared() { self.catch_up(0).await } else { self.snapshot_at_least(None).await }
    }

    fn is_confirmed(&self) -> bool {
        !self.needs_refresh.load(Ordering::Acquire)
            && (!self.store.is_shared() || self.confirmed_at.lock().elapsed() < self.max_staleness)
    }

    /// Applies a change. On return it is durable and visible to every later call on this server.
    ///
    /// The write runs to its end even if the caller gives up: the snapshot must never miss a write that happened.
    pub async fn write(self: &Arc<Self>, change: Change, options: WriteOptions) -> Result<WriteResult, Error> {
        if options.validate_only {
            return Ok(dry_run::dry_run(&*self.snapshot_at_least(None).await?, change, &options.caller)?);
        }
        let policies = Arc::clone(self);
        let write = Write { change, author: options.caller, request: options.request_key, at: Timestamp::now() };
        tokio::spawn(async move { policies.apply_and_refresh(write).await }).await.map_err(Error::TaskFailed)?
    }

    /// Returns the result of an earlier call with the same idempotency key, whatever happened since. It is visible to every later
    /// call on this server, like that of [`Policies::write`].
    pub async fn recorded(self: &Arc<Self>, options: &WriteOptions) -> Result<Option<WriteResult>, Error> {
        let Some(request) = options.request_key.as_ref().filter(|_| !options.validate_only) else { return Ok(None) };
        let Some(recorded) = self.store.recorded(request, Timestamp::now()).await? else { return Ok(None) };
        if recorded.revision > self.snapshot.load().revision {
            self.refresh_or_retry().await;
        }
        if self.needs_refresh.load(Ordering::Acquire) { Err(Error::Stale) } else { Ok(Some(recorded)) }
    }

    async fn apply_and_refresh(self: Arc<Self>, write: Write) -> Result<WriteResult, Error> {
        let outcome = self.store.apply(write).await;
        match &outcome {
            // After `Unavailable` it is unknown if the change was written.
            Ok(_) | Err(policy_store::Error::Unavailable(_)) => self.refresh_or_retry().await,
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
                | policy_store::Error::FromNewerServer { .. }
                | policy_store::Error::Corrupt { .. },
            ) => {}
        }
        let written = outcome?;
        if self.needs_refresh.load(Ordering::Acquire) { Err(Error::Stale) } else { Ok(written) }
    }

    /// Refreshes the snapshot. On failure no snapshot is returned until a refresh, repeated in the background, succeeds.
    async fn refresh_or_retry(self: &Arc<Self>) {
        if self.refresh().await {
            return;
        }
        if self.needs_refresh.swap(true, Ordering::AcqRel) {
            return;
        }
        let policies = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(POLL_INTERVAL).await;
                let Some(policies) = policies.upgrade() else { return };
                if policies.refresh().await {
                    return;
                }
            }
        });
    }

    /// Applies the store's changes to the snapshot; true on success. If another refresh began after this call and has succeeded,
    /// its result is shared.
    async fn refresh(&self) -> bool {
        let requested_at = Instant::now();
        let mut revision_time = self.revision_time.lock().await;
        if !self.needs_refresh.load(Ordering::Acquire) && *self.confirmed_at.lock() >= requested_at {
            return true;
        }
        loop {
            match self.refresh_page(&mut revision_time).await {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
    }

    /// Applies a page of the store's changes to the snapshot; true if there are more, `None` on failure.
    async fn refresh_page(&self, revision_time: &mut Timestamp) -> Option<bool> {
        let read_time = Instant::now();
        let snapshot = self.snapshot.load_full();
        let changes = match self.store.changes(Some(snapshot.revision)).await {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot read the policies from the store");
                return None;
            }
        };
        if changes.begin_time != Some(*revision_time) || changes.revision < snapshot.revision {
            tracing::error!(
                snapshot_revision = snapshot.revision,
                store_revision = changes.revision,
                "the history of the policy store has changed, perhaps because it was restored from a backup; no decision is \
                 made until this server is restarted"
            );
            return None;
        }
        let has_more = changes.has_more;
        if changes.revision > snapshot.revision {
            *revision_time = changes.write_time;
            report_unknown_fields(&changes);
            let mut set = PolicySet::clone(&snapshot);
            apply_changes(&mut set, changes);
            let revision = set.revision;
            self.snapshot.store(Arc::new(set));
            self.revision.send_replace(revision);
        }
        if !has_more {
            *self.confirmed_at.lock() = read_time;
            self.needs_refresh.store(false, Ordering::Release);
        }
        Some(has_more)
    }

    /// Returns a page of the changes after a revision, as recorded by the store; `None`: all current policies and waivers.
    pub async fn changes(&self, after: Option<u64>) -> Result<ChangeSet, Error> {
        Ok(self.store.changes(after).await?)
    }

    /// Returns the policies and waivers that were current at a revision.
    pub async fn snapshot_at(&self, revision: u64) -> Result<PolicySet, Error> {
        Ok(self.store.snapshot_at(revision).await?)
    }

    /// Returns the history of a policy or a waiver, newest first.
    pub async fn history(&self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        Ok(self.store.history(name, before, limit).await?)
    }

    /// Returns the identity of the store: the time of its first write, in microseconds. Another store has another one.
    pub async fn store_identity(&self) -> Result<i64, Error> {
        let first =
            self.store.history(&ResourceName::Policy(PolicyId::default_policy()), Some(FIRST_REVISION + 1), 1).await?;
        Ok(first.first().map_or(0, |entry| entry.write_time.as_microsecond()))
    }

    /// Subscribes to new revisions of the snapshot.
    pub fn revisions(&self) -> watch_channel::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Succeeds if a decision can be made.
    pub async fn ping(&self) -> Result<(), Error> {
        self.snapshot_at_least(None).await?;
        Ok(self.store.ping().await?)
    }
}

/// Refreshes the snapshot of a shared store, on notifications and at intervals, until the last reference to it is dropped.
async fn poll_store(policies: Weak<Policies>) {
    let mut store = None;
    while let Some(policies) = policies.upgrade() {
        policies.refresh().await;
        let shared = store.get_or_insert_with(|| Arc::clone(&policies.store));
        drop(policies);
        // Poll in time for the staleness bound even if the store sends no notification.
        tokio::time::timeout(POLL_INTERVAL, shared.changed()).await.ok();
    }
}

/// Logs each revision that enters the snapshot and that only a newer server understands. A metrics layer of `tracing` counts
/// them by the field `monotonic_counter`.
fn report_unknown_fields(changes: &ChangeSet) {
    for revision in changes.entries.iter().filter_map(|entry| entry.resource.as_ref()) {
        let not_understood = revision.not_understood();
        if not_understood.is_empty() {
            continue;
        }
        let effect = match revision {
            Revision::Policy(_) => "denies what it matches",
            Revision::Waiver(_) => "covers nothing",
        };
        tracing::error!(
            monotonic_counter.documents_from_newer_server = 1_u64,
            name = %revision.name(),
            revision = revision.revision(),
            not_understood = not_understood.join("; "),
            "a newer server wrote a document that this server does not understand, so it {effect}; upgrade this server"
        );
    }
}
