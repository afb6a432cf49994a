//! The policies of the gate: an immutable snapshot for those who decide, durable writes for those who change it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use scangate_core::{
    name::PolicyId,
    policy::{Mode, Policy, PolicySet, Revised},
};
use tokio::sync::Mutex;

use crate::store::{self, Change, Expected, Request, Store, Write, Written};

/// How often a snapshot that could not be read again is tried anew.
const REFRESH: Duration = Duration::from_millis(500);

/// Why the policies are not to be had, or were not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store said no, or nothing.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A write may or may not have happened, and the store has not said since what it holds.
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
    pub request: Option<Request>,
}

/// The policies of the gate.
#[derive(Debug)]
pub struct Policies {
    store: Arc<dyn Store>,
    snapshot: ArcSwap<PolicySet>,
    stale: AtomicBool,
    writing: Mutex<()>,
}

impl Policies {
    /// Reads the store for the first time.
    pub async fn load(store: Arc<dyn Store>) -> Result<Arc<Self>, Error> {
        let set = store.load().await?;
        Ok(Arc::new(Self {
            store,
            snapshot: ArcSwap::from_pointee(set),
            stale: AtomicBool::new(false),
            writing: Mutex::new(()),
        }))
    }

    /// The policies as of now, at least at the revision given.
    pub fn at_least(&self, revision: Option<u64>) -> Result<Arc<PolicySet>, Error> {
        if self.stale.load(Ordering::Acquire) {
            return Err(Error::Stale);
        }
        let set = self.snapshot.load_full();
        match revision {
            Some(asked) if asked > set.revision => Err(Error::RevisionNotReached { asked, reached: set.revision }),
            Some(_) | None => Ok(set),
        }
    }

    /// Changes the policies. What it returns is durable and in force for every later call on this server.
    ///
    /// The change runs to its end even where the caller gives up: a snapshot must never miss a write that happened.
    pub async fn write(self: &Arc<Self>, change: Change, terms: Terms) -> Result<Written, Error> {
        if terms.validate_only {
            return self.rehearse(change);
        }
        let policies = Arc::clone(self);
        let write = Write { change, request: terms.request, at: Timestamp::now() };
        tokio::spawn(async move { policies.write_through(write).await }).await.map_err(Error::Lost)?
    }

    async fn write_through(self: Arc<Self>, write: Write) -> Result<Written, Error> {
        let _writing = self.writing.lock().await;
        let outcome = self.store.apply(write).await;
        match &outcome {
            // Only these two can have changed what the store holds.
            Ok(_) | Err(store::Error::Unavailable(_)) => self.refresh().await,
            Err(
                store::Error::NotFound(_)
                | store::Error::AlreadyExists(_)
                | store::Error::Conflict { .. }
                | store::Error::RequestIdReused
                | store::Error::DefaultRequired
                | store::Error::TooManyPolicies
                | store::Error::Corrupt { .. },
            ) => {}
        }
        let written = outcome?;
        if self.stale.load(Ordering::Acquire) { Err(Error::Stale) } else { Ok(written) }
    }

    /// Reads the store again; where it does not answer, nobody decides until it does.
    async fn refresh(self: &Arc<Self>) {
        if self.reload().await {
            return;
        }
        self.stale.store(true, Ordering::Release);
        let policies = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(REFRESH).await;
                let _writing = policies.writing.lock().await;
                if !policies.stale.load(Ordering::Acquire) || policies.reload().await {
                    return;
                }
            }
        });
    }

    async fn reload(&self) -> bool {
        match self.store.load().await {
            Ok(set) => {
                self.snapshot.store(Arc::new(set));
                self.stale.store(false, Ordering::Release);
                true
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the policies cannot be read from the store");
                false
            }
        }
    }

    /// What the store would say to a change, as far as the snapshot tells.
    fn rehearse(&self, change: Change) -> Result<Written, Error> {
        let set = self.at_least(None)?;
        let present = |id: &PolicyId| set.policies.get(id);
        let policy = match change {
            Change::Create(policy) => {
                if present(&policy.id).is_some() {
                    return Err(store::Error::AlreadyExists(policy.id).into());
                }
                Some(draft(policy, &set, None))
            }
            Change::Update { policy, expected } => {
                let old = expect(present(&policy.id), &policy.id, expected)?;
                Some(draft(policy, &set, Some(old)))
            }
            Change::Delete { id, .. } if id.is_default() => return Err(store::Error::DefaultRequired.into()),
            Change::Delete { id, expected } => {
                expect(present(&id), &id, expected)?;
                None
            }
        };
        Ok(Written { revision: set.revision, policy: policy.map(Arc::new) })
    }

    /// Answers where a decision can be made.
    pub async fn ping(&self) -> Result<(), Error> {
        self.at_least(None)?;
        Ok(self.store.ping().await?)
    }
}

fn expect<'a>(
    present: Option<&'a Arc<Revised>>,
    id: &PolicyId,
    expected: Expected,
) -> Result<&'a Arc<Revised>, store::Error> {
    let Some(present) = present else { return Err(store::Error::NotFound(id.clone())) };
    match expected {
        Expected::Revision(revision) if revision != present.revision => {
            Err(store::Error::Conflict { id: id.clone(), actual: present.revision })
        }
        Expected::Revision(_) | Expected::Any => Ok(present),
    }
}

/// A policy as a write would leave it; a draft has no digest and no revision of its own.
fn draft(policy: Policy, set: &PolicySet, old: Option<&Arc<Revised>>) -> Revised {
    let now = Timestamp::now();
    Revised {
        policy,
        revision: old.map_or(set.revision, |old| old.revision),
        content_digest: String::new(),
        create_time: old.map_or(now, |old| old.create_time),
        update_time: now,
    }
}

/// What somebody who writes this policy should know.
pub fn notes(policy: &Policy) -> Vec<String> {
    match policy.mode {
        Mode::Enforce if !policy.id.is_default() => vec![
            "for what it governs, this policy takes the place of policies/default: rules of the default that it does not repeat no longer apply there"
                .to_owned(),
        ],
        Mode::Enforce => Vec::new(),
        Mode::Warn => vec!["this policy reports and denies nothing; policies/default goes on governing what it matches".to_owned()],
        Mode::Off => vec!["this policy is not evaluated; policies/default goes on governing what it matches".to_owned()],
    }
}
