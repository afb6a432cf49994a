//! Watches policies and waivers for changes.

use std::{sync::Arc, time::Duration};

use scangate_core::{name::PolicyId, policy, waiver};
use tokio::sync::mpsc;

use super::Policies;
use crate::{
    observations::{self, Observations},
    policy_store::{ChangeSet, Entry, ResourceName, Revision},
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
}

/// An event of a watch.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// The receiver has all changes up to this revision.
    pub revision: u64,
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
    /// No change; sent after every read of the store, and at least every 10 seconds.
    Heartbeat,
}

type Sender = mpsc::Sender<Result<WatchEvent, Error>>;

impl Policies {
    /// Sends the changes after revision `after` until the receiver is closed. If `after` is 0, all current policies and waivers
    /// are sent first. An error is sent and ends the watch.
    pub async fn watch(self: Arc<Self>, observations: Arc<dyn Observations>, mut after: u64, sender: Sender) {
        let mut revisions = self.revisions();
        let mut is_first = true;
        loop {
            let is_state = is_first && after == 0;
            let changes = self.changes((!is_state).then_some(after)).await;
            let sent = match changes {
                Ok(changes) => send_changes(&*observations, changes, after, &sender).await,
                Err(error) => Err(error.into()),
            };
            after = match sent {
                Ok(Some(reached)) => reached,
                Ok(None) => return,
                Err(error) => {
                    sender.send(Err(error)).await.ok();
                    return;
                }
            };
            is_first = false;
            // A heartbeat after every read: the receiver is up to date with this revision.
            if sender.send(Ok(WatchEvent { revision: after, change: ChangeEvent::Heartbeat })).await.is_err() {
                return;
            }
            let newer = revisions.wait_for(|revision| *revision > after);
            tokio::select! {
                _ = tokio::time::timeout(HEARTBEAT_INTERVAL, newer) => {}
                () = sender.closed() => return,
            }
        }
    }
}

/// Sends changes in order and returns the revision reached; `None` if the receiver is closed.
async fn send_changes(
    observations: &dyn Observations,
    changes: ChangeSet,
    mut complete: u64,
    sender: &Sender,
) -> Result<Option<u64>, Error> {
    let is_state = complete == 0;
    let mut entries = changes.entries.into_iter().peekable();
    while let Some(entry) = entries.next() {
        let is_last_of_revision = entries.peek().is_none_or(|next| next.revision != entry.revision);
        // Until the whole initial state is sent, its events report revision 0, so that an interrupted receiver starts over.
        if is_last_of_revision && !is_state {
            complete = entry.revision;
        }
        let Some(change) = change_event(observations, entry).await? else { continue };
        if sender.send(Ok(WatchEvent { revision: complete, change })).await.is_err() {
            return Ok(None);
        }
    }
    Ok(Some(changes.revision))
}

async fn change_event(observations: &dyn Observations, entry: Entry) -> Result<Option<ChangeEvent>, Error> {
    Ok(match (entry.name, entry.resource) {
        (_, Some(Revision::Policy(policy))) => Some(ChangeEvent::Policy(policy)),
        (_, Some(Revision::Waiver(waiver))) => {
            let matches_findings = observations.was_seen(&waiver.waiver.scope).await?;
            Some(ChangeEvent::Waiver { waiver, matches_findings })
        }
        (ResourceName::Policy(id), None) => Some(ChangeEvent::DeletedPolicy(id)),
        // Waivers are never deleted: a revoked waiver stays.
        (ResourceName::Waiver(_), None) => None,
    })
}
