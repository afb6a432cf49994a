//! Watches policies and waivers for changes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use scangate_core::{name::PolicyId, policy, waiver};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Policies;
use crate::{
    observations::{self, Observations},
    policy_store::{ResourceName, Revision},
};

/// The longest time between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// A failure that ends a watch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The changes cannot be read.
    #[error(transparent)]
    Policies(#[from] super::Error),
    /// The findings in the scope of a waiver cannot be read.
    #[error(transparent)]
    Observations(#[from] observations::Error),
    /// The position is of another store, or of a history that a restore has replaced.
    #[error("the position is of another policy store, or of a history that was lost")]
    OtherHistory,
}

/// The position of a receiver: what it has of the content at one revision, or of the changes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchPosition {
    /// A revision of the store.
    pub revision: u64,
    /// The time of its write, in microseconds. The revision of another store or history has another time.
    write_time: i64,
    /// True until the receiver has the whole content at that revision.
    is_content: bool,
    /// The number of resources received: of that content, or of the changes after the revision.
    received: u64,
}

impl WatchPosition {
    /// The revision up to which the receiver has everything; `None` as long as it has only a part of the first content.
    pub fn complete(&self) -> Option<u64> {
        (!self.is_content).then_some(self.revision)
    }

    fn after(revision: u64, write_time: Timestamp) -> Self {
        Self { revision, write_time: write_time.as_microsecond(), is_content: false, received: 0 }
    }
}

/// An event of a watch.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// The position after the event: a watch from here has exactly the rest.
    pub position: WatchPosition,
    /// The change.
    pub change: ChangeEvent,
}

/// A change of a policy or a waiver, or none.
#[derive(Clone, Debug)]
pub enum ChangeEvent {
    /// A policy was written.
    Policy(Arc<policy::Revision>),
    /// A waiver was written.
    Waiver {
        /// The waiver as stored.
        waiver: Arc<waiver::Revision>,
        /// True if a finding in its scope was ever seen.
        matches_findings: bool,
    },
    /// A policy was deleted.
    DeletedPolicy(PolicyId),
    /// No change; sent when the receiver has every change, and at least every 10 seconds.
    Heartbeat,
}

type Sender = mpsc::Sender<Result<WatchEvent, Error>>;

impl Policies {
    /// Sends everything after a position until the receiver is closed; without one, the current policies and waivers first. An
    /// error is sent and ends the watch.
    pub async fn watch(
        self: Arc<Self>,
        observations: Arc<dyn Observations>,
        after: Option<WatchPosition>,
        sender: Sender,
    ) {
        let watch = Watch { policies: &self, observations: &*observations, sender: &sender };
        if let Err(End::Failed(error)) = watch.run(after).await {
            sender.send(Err(error)).await.ok();
        }
    }
}

/// The end of a watch.
enum End {
    /// The receiver is gone.
    Closed,
    /// The changes cannot be read.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

struct Watch<'a> {
    policies: &'a Policies,
    observations: &'a dyn Observations,
    sender: &'a Sender,
}

impl Watch<'_> {
    async fn run(&self, after: Option<WatchPosition>) -> Result<(), End> {
        let mut revisions = self.policies.revisions();
        let mut position = match after {
            Some(position) if !position.is_content => position,
            start => self.send_content(start).await?,
        };
        loop {
            let has_more;
            (position, has_more) = self.send_changes(position).await?;
            if has_more {
                if self.sender.is_closed() {
                    return Err(End::Closed);
                }
                continue;
            }
            // A heartbeat after the last page: the receiver is up to date with this revision.
            self.send(position, ChangeEvent::Heartbeat).await?;
            let newer = revisions.wait_for(|revision| *revision > position.revision);
            tokio::select! {
                _ = tokio::time::timeout(HEARTBEAT_INTERVAL, newer) => {}
                () = self.sender.closed() => return Err(End::Closed),
            }
        }
    }

    /// Sends the rest of the content at the revision of a position, or the current content.
    async fn send_content(&self, start: Option<WatchPosition>) -> Result<WatchPosition, End> {
        let (mut position, content) = if let Some(position) = start {
            (position, self.content_at(position).await?)
        } else {
            let changes = self.policies.changes(None).await?;
            let content = changes.entries.into_iter().filter_map(|entry| entry.resource).collect();
            let after = WatchPosition::after(changes.revision, changes.write_time);
            (WatchPosition { is_content: true, ..after }, content)
        };
        let received = usize::try_from(position.received).unwrap_or(usize::MAX);
        for resource in content.into_iter().skip(received) {
            position.received = position.received.saturating_add(1);
            let change = self.written(resource).await?;
            self.send(position, change).await?;
        }
        Ok(WatchPosition { is_content: false, received: 0, ..position })
    }

    /// Returns the content at the revision of a position, in the order in which it was sent first.
    async fn content_at(&self, position: WatchPosition) -> Result<Vec<Revision>, End> {
        let changes = self.policies.changes(Some(position.revision)).await?;
        check_history(position, changes.begin_time)?;
        let set = self.policies.snapshot_at(position.revision).await?;
        let policies = set.policies.into_values().map(Revision::Policy);
        let mut content: Vec<Revision> = policies.chain(set.waivers.iter().cloned().map(Revision::Waiver)).collect();
        content.sort_by_cached_key(|resource| (resource.revision(), resource.name()));
        Ok(content)
    }

    /// Sends a page of the changes after a position. Returns the new position, and true if there are more changes.
    async fn send_changes(&self, mut position: WatchPosition) -> Result<(WatchPosition, bool), End> {
        let changes = self.policies.changes(Some(position.revision)).await?;
        check_history(position, changes.begin_time)?;
        // Only a part of the next revision can have been received, whatever a token states.
        let next = changes.entries.first().map(|entry| entry.revision);
        let entries_of_next = changes.entries.iter().take_while(|entry| Some(entry.revision) == next).count();
        let received = usize::try_from(position.received).unwrap_or(usize::MAX).min(entries_of_next);
        let mut entries = changes.entries.into_iter().skip(received).peekable();
        while let Some(entry) = entries.next() {
            let is_last_of_revision = entries.peek().is_none_or(|next| next.revision != entry.revision);
            position = if is_last_of_revision {
                WatchPosition::after(entry.revision, entry.write_time)
            } else {
                WatchPosition { received: position.received.saturating_add(1), ..position }
            };
            let change = match (entry.name, entry.resource) {
                (_, Some(resource)) => self.written(resource).await?,
                (ResourceName::Policy(id), None) => ChangeEvent::DeletedPolicy(id),
                // Waivers are never deleted: a revoked waiver stays.
                (ResourceName::Waiver(_), None) => continue,
            };
            self.send(position, change).await?;
        }
        Ok((WatchPosition::after(changes.revision, changes.write_time), changes.has_more))
    }

    async fn written(&self, resource: Revision) -> Result<ChangeEvent, End> {
        Ok(match resource {
            Revision::Policy(policy) => ChangeEvent::Policy(policy),
            Revision::Waiver(waiver) => {
                let matches_findings = self.observations.was_seen(&waiver.waiver.scope).await?;
                ChangeEvent::Waiver { waiver, matches_findings }
            }
        })
    }

    async fn send(&self, position: WatchPosition, change: ChangeEvent) -> Result<(), End> {
        self.sender.send(Ok(WatchEvent { position, change })).await.map_err(|_| End::Closed)
    }
}

/// Checks that the store still has the revision of a position, written at the same time.
fn check_history(position: WatchPosition, begin_time: Option<Timestamp>) -> Result<(), Error> {
    let is_same = begin_time.is_some_and(|time| time.as_microsecond() == position.write_time);
    if is_same { Ok(()) } else { Err(Error::OtherHistory) }
}
