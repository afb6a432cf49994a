//! Group commit: one task commits all pending appends in one transaction and replies to their callers.

use std::{sync::Arc, time::Instant};

use tokio::{
    sync::{Mutex, MutexGuard, Notify, mpsc, oneshot},
    task::JoinSet,
    time::sleep_until,
};

use super::{
    index_batch::{IndexBatch, PendingIndex},
    indexer,
    writer::Writer,
};
use crate::{
    decision_log::{AppendRequest, AppendResult, Error},
    sql::{self, Database},
};

/// Maximum number of decisions in one commit.
pub(super) const MAX_BATCH_SIZE: usize = 4096;
/// Maximum number of yields before a commit.
const MAX_YIELDS: usize = 16;
/// Maximum number of pending appends.
pub(super) const QUEUE_CAPACITY: usize = 16_384;
/// The reply to an append.
pub(super) type Reply = Result<AppendResult, Error>;

/// A queued append with the channel for its reply.
pub(super) type PendingAppend = (AppendRequest, oneshot::Sender<Reply>);

/// The commit task of a log.
pub(super) struct GroupCommit {
    database: Arc<Database>,
    /// Locked by the operation that commits and, between commits, by this task. An operation on SQLite cannot wait for the lock:
    /// it fails before it writes. So after a failed commit, which may still begin, this task leaves the writer alone.
    writer: Arc<Mutex<Writer>>,
    /// True if the last commit failed, possibly while its operation still runs.
    has_failed: bool,
    /// The task that indexes the decisions of stopped writers. It starts at the first append, so that a process that only
    /// reads does not write.
    indexer: JoinSet<()>,
}

impl GroupCommit {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let writer = Arc::new(Mutex::new(Writer::new()));
        Self { database, writer, has_failed: false, indexer: JoinSet::new() }
    }

    /// Commits batches until `shutdown` is notified and the queue is drained, or every sender is dropped.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<PendingAppend>, shutdown: Arc<Notify>) {
        let mut batch = Vec::with_capacity(MAX_BATCH_SIZE);
        let mut last_sizes = [0_usize; 2];
        loop {
            let due = self.idle_writer().and_then(|writer| writer.pending_index.next_due());
            let received = tokio::select! {
                biased;
                received = queue.recv_many(&mut batch, MAX_BATCH_SIZE) => received,
                () = shutdown.notified() => {
                    queue.close();
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.index(PendingIndex::pop_due).await;
                    continue;
                }
            };
            if received == 0 {
                break;
            }
            yield_for_half(&mut queue, &mut batch, last_sizes.iter().sum()).await;
            last_sizes = [last_sizes[1], batch.len()];
            self.commit_and_reply(&mut batch).await;
            self.index(PendingIndex::pop_due).await;
        }
        self.index(PendingIndex::pop).await;
    }

    /// Locks the writer; `None` while a failed commit may still use it. The next commit, or another server, indexes the decisions.
    fn idle_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        if self.has_failed { None } else { self.writer.try_lock().ok() }
    }

    async fn commit_and_reply(&mut self, batch: &mut Vec<PendingAppend>) {
        if self.indexer.is_empty() {
            self.indexer.spawn(indexer::run(Arc::clone(&self.database)));
        }
        let (requests, senders): (Vec<AppendRequest>, Vec<oneshot::Sender<Reply>>) = batch.drain(..).unzip();
        match self.commit(requests).await {
            Ok(replies) => {
                for (sender, reply) in senders.into_iter().zip(replies) {
                    // A cancelled caller has dropped its receiver; its decision is recorded all the same.
                    sender.send(reply).ok();
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "decisions were not recorded");
                for sender in senders {
                    sender.send(Err(clone_error(&error))).ok();
                }
            }
        }
    }

    /// Commits requests in one operation on the database.
    async fn commit(&mut self, requests: Vec<AppendRequest>) -> Result<Vec<Reply>, Error> {
        let (writer, has_failed) = (Arc::clone(&self.writer), self.has_failed);
        // Until the operation reports success, its outcome is unknown.
        self.has_failed = true;
        let committed = self.database.commit(move |connection| {
            Box::pin(async move {
                let mut writer = writer.lock().await;
                if has_failed {
                    writer.invalidate();
                }
                match writer.commit(connection, &requests).await {
                    Ok(None) => {
                        writer.recover_from_loss();
                        writer.commit(connection, &requests).await
                    }
                    outcome => outcome,
                }
            })
        });
        let mismatch = "the head in the database did not match, even after a new chain was started";
        let replies = committed.await?.ok_or_else(|| sql::Error::Unavailable(mismatch.into()))?;
        self.has_failed = false;
        Ok(replies)
    }

    /// Writes index batches. A failure is logged and retried later: lists also scan unindexed segments.
    async fn index(&mut self, next: fn(&mut PendingIndex) -> Option<IndexBatch>) {
        let Some(mut writer) = self.idle_writer() else { return };
        let Writer { name, pending_index, .. } = &mut *writer;
        let outcome = async {
            while let Some(batch) = next(pending_index) {
                if !indexer::write_batch(&self.database, name, batch.first.saturating_sub(1), batch).await? {
                    pending_index.discard();
                }
            }
            // A few segments per call: pending commits take precedence.
            if pending_index.needs_reload() && !indexer::index_some(&self.database, name, u64::MAX).await? {
                *pending_index = PendingIndex::default();
            }
            Ok::<_, sql::Error>(())
        };
        if let Err(error) = outcome.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "decisions cannot be indexed; retrying later");
            pending_index.discard();
        }
    }
}

/// Yields until half of the callers have joined the batch, which are those of the last two commits. The server works for the
/// other half while the disk or the database works on the commit. A lone caller does not wait.
async fn yield_for_half(queue: &mut mpsc::Receiver<PendingAppend>, batch: &mut Vec<PendingAppend>, callers: usize) {
    for _ in 0..MAX_YIELDS {
        if batch.len() >= callers / 2 {
            break;
        }
        tokio::task::yield_now().await;
        while batch.len() < MAX_BATCH_SIZE
            && let Ok(append) = queue.try_recv()
        {
            batch.push(append);
        }
    }
}

/// Clones an error for each caller of a batch.
fn clone_error(error: &Error) -> Error {
    match error {
        Error::Unavailable(source) => Error::Unavailable(Arc::clone(source)),
        other @ (Error::NotFound(_)
        | Error::RequestIdReused
        | Error::Trimmed
        | Error::OtherLog
        | Error::Overloaded
        | Error::Corrupt { .. }) => {
            Error::Unavailable(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(other.to_string())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Address;

    #[tokio::test]
    async fn failed_commit_keeps_writer_to_itself() {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::File(directory.path().join("scangate.db"));
        let mut commits = GroupCommit::new(Database::open(&address).await.unwrap());
        assert!(commits.idle_writer().is_some());

        commits.has_failed = true;

        assert!(commits.idle_writer().is_none());
    }
}
