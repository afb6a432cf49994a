//! Group commit: one task commits all pending appends in one transaction and replies to their callers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Any, pool::PoolConnection};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    index_batch::{IndexBatch, PendingIndex},
    indexer,
    writer::Writer,
};
use crate::{
    decision_log::{AppendRequest, AppendResult, Error},
    sql::{self, Database, Dialect},
};

/// Maximum number of decisions in one commit.
const MAX_BATCH_SIZE: usize = 4096;
/// Maximum number of yields before a commit.
const MAX_YIELDS: usize = 16;
/// Maximum number of pending appends.
pub(super) const QUEUE_CAPACITY: usize = 16_384;
/// Timeout of one commit. The outcome of a longer one is unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum idle time after which the last connection is reused without a ping.
const REUSE_CONNECTION: Duration = Duration::from_secs(1);

/// The reply to an append.
pub(super) type Reply = Result<AppendResult, Error>;

/// A queued append with the channel for its reply.
pub(super) type PendingAppend = (AppendRequest, oneshot::Sender<Reply>);

/// The commit task of a log.
pub(super) struct GroupCommit {
    database: Arc<Database>,
    writer: Writer,
    /// The connection of the last commit, and the time of that commit.
    last_connection: Option<(PoolConnection<Any>, Instant)>,
    /// The task that indexes the decisions of stopped writers. It starts at the first append, so that a process that only
    /// reads does not write.
    indexer: JoinSet<()>,
}

impl GroupCommit {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { writer: Writer::new(Arc::clone(&database)), database, last_connection: None, indexer: JoinSet::new() }
    }

    /// Commits batches until `shutdown` is notified and the queue is drained, or every sender is dropped.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<PendingAppend>, shutdown: Arc<Notify>) {
        let mut batch = Vec::with_capacity(MAX_BATCH_SIZE);
        loop {
            let due = self.writer.pending_index.next_due();
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
            yield_for_more(&mut queue, &mut batch).await;
            self.commit_and_reply(&mut batch).await;
            self.index(PendingIndex::pop_due).await;
        }
        if !self.writer.outcome_unknown {
            self.index(PendingIndex::pop).await;
        }
    }

    async fn commit_and_reply(&mut self, batch: &mut Vec<PendingAppend>) {
        if self.indexer.is_empty() {
            self.indexer.spawn(indexer::run(Arc::clone(&self.database)));
        }
        match self.commit(batch).await {
            Ok(replies) => {
                for ((_, sender), reply) in batch.drain(..).zip(replies) {
                    // A cancelled caller has dropped its receiver; its decision is recorded all the same.
                    sender.send(reply).ok();
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "decisions were not recorded");
                self.writer.invalidate();
                for (_, sender) in batch.drain(..) {
                    sender.send(Err(clone_error(&error))).ok();
                }
            }
        }
    }

    async fn commit(&mut self, batch: &[PendingAppend]) -> Result<Vec<Reply>, Error> {
        let mut connection = with_commit_timeout(self.connection()).await?;
        let writer = &mut self.writer;
        let outcome = with_commit_timeout(async {
            match writer.commit(&mut connection, batch).await {
                Ok(None) => {
                    writer.start_new_chain();
                    writer.commit(&mut connection, batch).await
                }
                outcome => outcome,
            }
        });
        let outcome = outcome.await;
        match &outcome {
            Ok(_) if self.database.dialect == Dialect::Postgres => {
                self.last_connection = Some((connection, Instant::now()));
            }
            Ok(_) => {}
            // Also after a timeout: a statement may still be running on the connection.
            Err(_) => connection.close_on_drop(),
        }
        outcome?.ok_or_else(|| Error::Unavailable(Arc::new(HeadMismatch)))
    }

    /// Returns the connection of the last commit if it is recent: this saves the round trips of acquiring another. For SQLite
    /// the connection is always released, because other tasks wait for the only write connection.
    async fn connection(&mut self) -> Result<PoolConnection<Any>, sql::Error> {
        if let Some((connection, used)) = self.last_connection.take()
            && used.elapsed() < REUSE_CONNECTION
        {
            return Ok(connection);
        }
        self.database.writer().await
    }

    /// Writes index batches. A failure is logged and retried later: lists also scan unindexed segments.
    async fn index(&mut self, next: fn(&mut PendingIndex) -> Option<IndexBatch>) {
        let Writer { name, pending_index, .. } = &mut self.writer;
        let outcome = with_commit_timeout(async {
            while let Some(batch) = next(pending_index) {
                if !indexer::write_batch(&self.database, name, batch.first.saturating_sub(1), &batch).await? {
                    pending_index.discard();
                }
            }
            // A few segments per call: pending commits take precedence.
            if pending_index.needs_reload() && !indexer::index_some(&self.database, name, u64::MAX).await? {
                *pending_index = PendingIndex::default();
            }
            Ok(())
        });
        if let Err(error) = outcome.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "decisions cannot be indexed; retrying later");
            self.writer.pending_index.discard();
        }
    }
}

async fn with_commit_timeout<T>(calls: impl Future<Output = Result<T, sql::Error>>) -> Result<T, sql::Error> {
    timeout(COMMIT_TIMEOUT, calls).await.unwrap_or_else(|elapsed| Err(sql::Error::Unavailable(elapsed.into())))
}

/// Yields so that pending appends can join the batch; returns at once if there are none.
async fn yield_for_more(queue: &mut mpsc::Receiver<PendingAppend>, batch: &mut Vec<PendingAppend>) {
    for _ in 0..MAX_YIELDS {
        let before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < MAX_BATCH_SIZE
            && let Ok(append) = queue.try_recv()
        {
            batch.push(append);
        }
        if batch.len() == before {
            break;
        }
    }
}

/// The head in the database did not match, even after a new chain was started.
#[derive(Debug, thiserror::Error)]
#[error("the head in the database did not match, even after a new chain was started")]
struct HeadMismatch;

/// Clones an error for each caller of a batch.
fn clone_error(error: &Error) -> Error {
    match error {
        Error::Unavailable(source) => Error::Unavailable(Arc::clone(source)),
        other @ (Error::NotFound(_) | Error::RequestIdReused | Error::Overloaded | Error::Corrupt { .. }) => {
            Error::Unavailable(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(other.to_string())))
        }
    }
}
