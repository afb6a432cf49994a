//! The decision log in a SQL database.
//!
//! Writing: `group_commit` batches appends, `dedup` resolves idempotency keys, `writer` extends this process's chain, `segment`
//! encodes and chains a batch, and `append` writes it in one statement. Indexing, later and in batches: `index_batch`,
//! `index_terms`, `indexer`. Reading: `read` by id, `query` and `segment_scan` for lists,
//! `positions` for watches. `verify` checks everything.
//! `segment_table` and `blobs` hold the SQL, in the dialect that SQLite and PostgreSQL share.

mod append;
mod blobs;
mod dedup;
mod group_commit;
mod index_batch;
mod index_terms;
mod indexer;
mod positions;
mod query;
mod read;
mod segment;
mod segment_scan;
mod segment_table;
mod verify;
mod writer;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use tokio::{
    sync::{Mutex, Notify, mpsc, oneshot},
    task::JoinHandle,
};

use self::{
    blobs::BlobKind,
    group_commit::{GroupCommit, PendingAppend, QUEUE_CAPACITY},
};
use super::{
    AppendRequest, AppendResult, Blob, Bookmark, Cursor, Cursors, DecisionId, DecisionLog, Entry, Error, Filter, Hash,
    Listed, Page, Report,
};
use crate::{
    idempotency::{
        RequestKey,
        sql::{self as requests, Kind},
    },
    sql::{self, Connection, Database},
};

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        match error {
            sql::Error::Unavailable(source) => Self::Unavailable(Arc::from(source)),
            sql::Error::Corrupt { what, source } => Self::Corrupt { what, source },
        }
    }
}

/// Minimum age of an unreferenced blob before its deletion: a server that has it in its cache may add a reference to it without
/// storing it again.
const UNUSED_BLOB_GRACE: SignedDuration = SignedDuration::from_hours(2);
/// Maximum number of records in the read cache.
const RECORD_CACHE_CAPACITY: u64 = 10_000;
/// Maximum number of segments that one transaction trims.
const TRIM_BATCH_SIZE: i64 = 1_000;

/// A decision log in a SQL database, with this process as one of its writers.
pub struct SqlDecisionLog {
    database: Arc<Database>,
    queue: mpsc::Sender<PendingAppend>,
    shutdown: Arc<Notify>,
    commit_task: Mutex<Option<JoinHandle<()>>>,
    /// True if the last append failed.
    is_failing: AtomicBool,
    records: read::RecordCache,
}

impl SqlDecisionLog {
    /// Creates the log of a database and spawns its commit task. This writer's chain begins with its first decision.
    pub fn new(database: &Arc<Database>) -> Self {
        let (queue, pending) = mpsc::channel(QUEUE_CAPACITY);
        let shutdown = Arc::new(Notify::new());
        let group_commit = GroupCommit::new(Arc::clone(database));
        let commit_task = tokio::spawn(group_commit.run(pending, Arc::clone(&shutdown)));
        Self {
            database: Arc::clone(database),
            queue,
            shutdown,
            commit_task: Mutex::new(Some(commit_task)),
            is_failing: AtomicBool::new(false),
            records: Cache::new(RECORD_CACHE_CAPACITY),
        }
    }

    /// Refuses new appends, and returns once the pending ones are recorded.
    pub async fn close(&self) {
        self.shutdown.notify_one();
        if let Some(task) = self.commit_task.lock().await.take() {
            task.await.ok();
        }
    }
}

impl fmt::Debug for SqlDecisionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlDecisionLog").field("database", &self.database).finish_non_exhaustive()
    }
}

/// The commit task has ended.
#[derive(Debug, thiserror::Error)]
#[error("the decision log is closed: the server is shutting down")]
struct Closed;

#[async_trait::async_trait]
impl DecisionLog for SqlDecisionLog {
    async fn append(&self, request: AppendRequest) -> Result<AppendResult, Error> {
        let (sender, receiver) = oneshot::channel();
        self.queue.try_send((request, sender)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable(Arc::new(Closed)),
        })?;
        let reply = receiver.await.unwrap_or_else(|_| Err(Error::Unavailable(Arc::new(Closed))));
        let is_failing = matches!(reply, Err(Error::Unavailable(_)));
        // Written on change only, so that concurrent appends share the cache line.
        if self.is_failing.load(Ordering::Acquire) != is_failing {
            self.is_failing.store(is_failing, Ordering::Release);
        }
        reply
    }

    async fn ping(&self) -> Result<(), Error> {
        if self.queue.is_closed() {
            return Err(Error::Unavailable(Arc::new(Closed)));
        }
        // While NOT_SERVING no traffic arrives that would detect recovery, so probe here.
        if self.is_failing.load(Ordering::Acquire) {
            self.probe_write().await?;
            self.is_failing.store(false, Ordering::Release);
        }
        Ok(())
    }

    async fn find_by_request(&self, request: &RequestKey) -> Result<Option<DecisionId>, Error> {
        let key = request.clone();
        let found = self.database.read(move |connection| {
            let now = Timestamp::now().as_microsecond();
            Box::pin(async move { requests::find(connection, Kind::Decision, key.key(), now).await })
        });
        match found.await? {
            None => Ok(None),
            Some(found) if found.fingerprint == request.fingerprint => {
                Ok(Some(DecisionId { writer: found.writer.into(), sequence: found.sequence }))
            }
            Some(_) => Err(Error::RequestIdReused),
        }
    }

    async fn get(&self, id: &DecisionId) -> Result<Entry, Error> {
        let (records, id) = (self.records.clone(), id.clone());
        let entry = self
            .database
            .read(move |connection| Box::pin(async move { read::read_decision(connection, &records, &id).await }));
        entry.await
    }

    async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let (records, filter, after) = (self.records.clone(), filter.clone(), after.cloned());
        // In one snapshot: a segment that moves from a tail to an index batch meanwhile must not be missed.
        let page = self.database.read_snapshot(Some(sql::QUERY_TIMEOUT), move |connection| {
            Box::pin(async move { query::read_page(connection, &records, &filter, after.as_ref(), limit).await })
        });
        page.await
    }

    async fn tail_positions(&self) -> Result<Cursors, Error> {
        self.database.read(|connection| Box::pin(positions::tail(connection))).await
    }

    async fn resume(&self, bookmark: &Bookmark) -> Result<Cursors, Error> {
        let bookmark = bookmark.clone();
        // In one snapshot: a trim between two reads must not go unnoticed.
        let resume = self.database.read_snapshot(Some(sql::QUERY_TIMEOUT), move |connection| {
            Box::pin(async move { positions::resume(connection, &bookmark).await })
        });
        resume.await
    }

    async fn read_from(&self, cursors: &mut Cursors, limit: usize) -> Result<Vec<Listed>, Error> {
        let (records, mut next) = (self.records.clone(), cursors.clone());
        // In one snapshot: a trim between two reads must not go unnoticed.
        let read = self.database.read_snapshot(Some(sql::QUERY_TIMEOUT), move |connection| {
            Box::pin(async move {
                let entries = read::read_next(connection, &records, &mut next, limit).await?;
                Ok::<_, Error>((entries, next))
            })
        });
        let (entries, next) = read.await?;
        *cursors = next;
        Ok(entries)
    }

    async fn blobs(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error> {
        let hashes = hashes.to_vec();
        let blobs =
            self.database.read(move |connection| Box::pin(async move { blobs::load(connection, &hashes).await }));
        Ok(blobs.await?)
    }

    async fn verify(&self) -> Result<Report, Error> {
        Ok(self.database.read_snapshot(None, |connection| Box::pin(verify::verify(connection))).await?)
    }

    async fn trim(&self, before: Timestamp) -> Result<u64, Error> {
        // Only index keys show which records are in use. So decisions must be indexed before unused blobs are deleted.
        let started = Timestamp::now();
        // A damaged row of one writer does not stop the retention of the others.
        let mut damaged = match indexer::index_all(&self.database, SignedDuration::ZERO).await {
            Err(error @ sql::Error::Corrupt { .. }) => Err(error),
            indexed => Ok(indexed?),
        };
        let mut trimmed = 0_u64;
        for chain in self.database.read(|connection| Box::pin(segment_table::load_chains(connection))).await? {
            match self.trim_chain(&chain.writer, before).await {
                Ok(removed) => trimmed = trimmed.saturating_add(removed),
                Err(error @ sql::Error::Corrupt { .. }) => damaged = damaged.and(Err(error)),
                Err(error) => return Err(error.into()),
            }
        }
        damaged?;
        // A blob used after `before` belongs to a remaining decision. The grace period covers decisions that are not indexed yet.
        let unused_since = started.saturating_sub(UNUSED_BLOB_GRACE).unwrap_or(Timestamp::MIN).min(before);
        for kind in [BlobKind::Record, BlobKind::Part] {
            while self.delete_unused_blobs(kind, unused_since).await? > 0 {}
        }
        Ok(trimmed)
    }
}

impl SqlDecisionLog {
    /// Writes an unreferenced blob, which a later trim deletes.
    async fn probe_write(&self) -> Result<(), sql::Error> {
        let blob = Blob::encode("probe").map_err(|source| sql::Error::Unavailable(source.into()))?;
        let now = Timestamp::now().as_microsecond();
        let write = self.database.write(move |connection| {
            Box::pin(async move {
                let blobs = BTreeMap::from([(blob.hash(), (BlobKind::Part, &blob))]);
                blobs::upsert(connection, &blobs, now).await
            })
        });
        write.await
    }

    /// Deletes a batch of unreferenced blobs, in a transaction of its own so that appends do not wait long.
    async fn delete_unused_blobs(&self, kind: BlobKind, unused_since: Timestamp) -> Result<usize, sql::Error> {
        let unused_since = unused_since.as_microsecond();
        self.database.write(move |connection| Box::pin(blobs::delete_unused(connection, kind, unused_since))).await
    }

    /// Removes the decisions of a chain from before an instant, and returns their number.
    async fn trim_chain(&self, writer: &str, before: Timestamp) -> Result<u64, sql::Error> {
        let mut trimmed = 0_u64;
        while let removed @ 1.. = self.trim_segments(writer, before).await? {
            trimmed = trimmed.saturating_add(removed);
        }
        Ok(trimmed)
    }

    /// Removes a batch of whole segments from the start of a chain: those before the first segment with a decision at `before` or
    /// later. Returns the number of decisions removed.
    async fn trim_segments(&self, writer: &str, before: Timestamp) -> Result<u64, sql::Error> {
        let (writer, before) = (writer.to_owned(), before.as_microsecond());
        let trim = self
            .database
            .write(move |connection| Box::pin(async move { trim_in_transaction(connection, &writer, before).await }));
        trim.await
    }
}

async fn trim_in_transaction(connection: &mut Connection, writer: &str, before: i64) -> Result<u64, sql::Error> {
    let segments = segment_table::segments_after(connection, writer, 0, TRIM_BATCH_SIZE).await?;
    let old: Vec<_> = segments.iter().take_while(|(_, _, last_time)| *last_time < before).collect();
    let (Some((first, ..)), Some((last, ..))) = (segments.first(), old.last()) else { return Ok(0) };
    let upto = segment_table::head_after(connection, writer, *last).await?;
    let last_time = old.iter().map(|(_, _, last_time)| *last_time).max().unwrap_or_default();
    if !segment_table::trim(connection, writer, &upto, last_time).await? {
        return Ok(0);
    }
    indexer::reindex_partial(connection, writer, upto.sequence).await?;
    Ok(upto.sequence.saturating_sub(first.unsigned_abs()).saturating_add(1))
}
