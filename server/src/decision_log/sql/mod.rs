//! The log of decisions in the store's database.
//!
//! `commit` records in batches with the one write of `advance`, `answers` says what becomes of each record, `segment` is what a batch
//! looks like in bytes and chains it. `chapter` gathers segments, `index` writes what they are found by; `read` finds decisions
//! again, `list` and `newest` list them. `verify` follows the chains and has `lookups` and `chapter_check` compare what leads to them.
//! `chains`, `blobs` and `requests` hold the SQL, in the words that SQLite and PostgreSQL share.

mod append;
mod blobs;
mod dedup;
mod group_commit;
mod idempotency_keys;
mod index_batch;
mod index_terms;
mod indexer;
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

use self::group_commit::{Committer, QUEUE, Waiting};
use super::{
    AppendRequest, AppendResult, Blob, Cursor, Cursors, DecisionId, DecisionLog, DecisionRecord, Entry, Error, Filter,
    Hash, Page, Report,
};
use crate::{
    idempotency::RequestKey,
    sql::{self, Connection, Database, commit_error, discard_if_broken},
};

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        match error {
            sql::Error::Unavailable(source) => Self::Unavailable(Arc::from(source)),
            sql::Error::Corrupt { what, source } => Self::Corrupt { what, source },
        }
    }
}

/// How long a blob that nothing rests on is spared: it may be about to be recorded again by a server that knows it to be there.
const SPARED: SignedDuration = SignedDuration::from_hours(2);
/// Cases that are kept in memory once read.
const CASES: u64 = 10_000;
/// Segments that pruning looks at in one go.
const PRUNED_AT_ONCE: i64 = 1_000;

/// The log of decisions in a SQL database, and this process as one of its writers.
pub struct SqlDecisionLog {
    database: Arc<Database>,
    waiting: mpsc::Sender<Waiting>,
    closing: Arc<Notify>,
    committing: Mutex<Option<JoinHandle<()>>>,
    /// Whether what was to be recorded last was not.
    is_failing: AtomicBool,
    cases: Cache<Hash, Arc<DecisionRecord>>,
}

impl SqlDecisionLog {
    /// The log in a database. Its chain begins with the first decision.
    pub fn new(database: &Arc<Database>) -> Self {
        let database = Arc::clone(database);
        let (waiting, records) = mpsc::channel(QUEUE);
        let committer = Committer::new(Arc::clone(&database));
        let closing = Arc::new(Notify::new());
        let committing = tokio::spawn(committer.run(records, Arc::clone(&closing)));
        let (committing, is_failing) = (Mutex::new(Some(committing)), AtomicBool::new(false));
        Self { database, waiting, closing, committing, is_failing, cases: Cache::new(CASES) }
    }

    /// Records what waits, and takes nothing more.
    pub async fn close(&self) {
        self.closing.notify_one();
        if let Some(committing) = self.committing.lock().await.take() {
            committing.await.ok();
        }
    }
}

impl fmt::Debug for SqlDecisionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlDecisionLog").field("database", &self.database).finish_non_exhaustive()
    }
}

/// The committer is gone: the runtime shuts down.
#[derive(Debug, thiserror::Error)]
#[error("the log takes no more decisions: the server shuts down")]
struct Closed;

#[async_trait::async_trait]
impl DecisionLog for SqlDecisionLog {
    async fn append(&self, record: AppendRequest) -> Result<AppendResult, Error> {
        let (tell, told) = oneshot::channel();
        self.waiting.try_send((record, tell)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable(Arc::new(Closed)),
        })?;
        let appended = told.await.unwrap_or_else(|_| Err(Error::Unavailable(Arc::new(Closed))));
        let is_failing = matches!(appended, Err(Error::Unavailable(_)));
        // All who append read it, and hardly ever anybody writes it.
        if self.is_failing.load(Ordering::Acquire) != is_failing {
            self.is_failing.store(is_failing, Ordering::Release);
        }
        appended
    }

    async fn ping(&self) -> Result<(), Error> {
        if self.waiting.is_closed() {
            return Err(Error::Unavailable(Arc::new(Closed)));
        }
        // Nobody may be sent here who would find out whether it works again.
        if self.is_failing.load(Ordering::Acquire) {
            self.database.with_timeout(self.try_out()).await?;
            self.is_failing.store(false, Ordering::Release);
        }
        Ok(())
    }

    async fn answered(&self, request: &RequestKey) -> Result<Option<DecisionId>, Error> {
        let answered = async {
            let mut connection = self.database.reader().await?;
            idempotency_keys::answered(&mut connection, &request.id, Timestamp::now().as_microsecond()).await
        };
        match self.database.with_timeout(answered).await? {
            None => Ok(None),
            Some(answered) if answered.fingerprint == request.fingerprint => {
                Ok(Some(DecisionId { writer: answered.writer.into(), sequence: answered.sequence }))
            }
            Some(_) => Err(Error::RequestIdReused),
        }
    }

    async fn get(&self, id: &DecisionId) -> Result<Entry, Error> {
        self.with_timeout(self.read_one(id)).await
    }

    async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.with_timeout(self.read_page(filter, after, limit)).await
    }

    async fn tail_positions(&self) -> Result<Cursors, Error> {
        let writers = async {
            let mut connection = self.database.reader().await?;
            segment_table::writers(&mut connection).await
        };
        let writers = self.database.with_timeout(writers).await?;
        Ok(writers.into_iter().map(|writer| (writer.name.into(), writer.head.sequence)).collect())
    }

    async fn read_from(&self, followed: &mut Cursors, limit: usize) -> Result<Vec<Entry>, Error> {
        self.with_timeout(self.read_on(followed, limit)).await
    }

    async fn blobs(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error> {
        let blobs = async {
            let mut connection = self.database.reader().await?;
            blobs::get(&mut connection, hashes).await
        };
        self.database.with_timeout(blobs).await.map_err(Error::from)
    }

    async fn verify(&self) -> Result<Report, Error> {
        verify::verify(&self.database).await.map_err(Error::from)
    }

    async fn trim(&self, before: Timestamp) -> Result<u64, Error> {
        // What a case is used by shows in keys only: what has none yet would be taken for unused.
        let began = Timestamp::now();
        indexer::write_all(&self.database, SignedDuration::ZERO).await?;
        let mut pruned = 0_u64;
        let mut connection = self.database.writer().await?;
        let writers = segment_table::writers(&mut connection).await?;
        drop(connection);
        for writer in writers {
            loop {
                let removed = self.prune_some(&writer.name, before).await?;
                pruned = pruned.saturating_add(removed);
                if removed == 0 {
                    break;
                }
            }
        }
        // What was used later has a decision from later. What is used at this moment, by decisions without keys, is spared in any case.
        let spared = began.saturating_sub(SPARED).unwrap_or(Timestamp::MIN).min(before);
        for are_cases in [true, false] {
            while self.sweep(are_cases, spared).await? > 0 {}
        }
        Ok(pruned)
    }
}

impl SqlDecisionLog {
    /// Waits for an answer as long as one can come.
    async fn with_timeout<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.database.with_timeout(answer).await
    }

    /// Writes something that nothing rests on, and that goes as all such does.
    async fn try_out(&self) -> Result<(), sql::Error> {
        let blob = Blob::of("tried out").map_err(|source| sql::Error::Unavailable(source.into()))?;
        let blobs = BTreeMap::from([(blob.hash(), (false, &blob))]);
        let mut connection = self.database.writer().await?;
        let outcome = async {
            let mut transaction = self.database.begin_write(&mut connection).await?;
            blobs::put(&mut transaction, &blobs, Timestamp::now().as_microsecond()).await?;
            transaction.commit().await.map_err(commit_error)
        };
        let outcome = outcome.await;
        discard_if_broken(&mut connection, outcome)
    }

    /// Removes some of what nothing rests on any more, in a transaction so small that whoever records waits for no more than that.
    async fn sweep(&self, are_cases: bool, unused_since: Timestamp) -> Result<usize, sql::Error> {
        let mut connection = self.database.writer().await?;
        let outcome = async {
            let mut transaction = self.database.begin_write(&mut connection).await?;
            let swept = blobs::sweep(&mut transaction, are_cases, unused_since.as_microsecond()).await?;
            transaction.commit().await.map_err(commit_error)?;
            Ok(swept)
        };
        let outcome = outcome.await;
        discard_if_broken(&mut connection, outcome)
    }

    /// Cuts some segments off the beginning of a chain, whole ones only, and none that has a decision from `before` or later.
    async fn prune_some(&self, writer: &str, before: Timestamp) -> Result<u64, sql::Error> {
        let mut connection = self.database.writer().await?;
        let outcome = self.prune_on(&mut connection, writer, before).await;
        discard_if_broken(&mut connection, outcome)
    }

    async fn prune_on(&self, connection: &mut Connection, writer: &str, before: Timestamp) -> Result<u64, sql::Error> {
        let mut transaction = self.database.begin_write(connection).await?;
        let ends = segment_table::ends(&mut transaction, writer, PRUNED_AT_ONCE).await?;
        let old = ends.iter().take_while(|end| end.last_time < before.as_microsecond());
        let (Some(first), Some(last)) = (ends.first(), old.last()) else { return Ok(0) };
        let (first, upto) = (first.first, last.head);
        if !segment_table::cut(&mut transaction, writer, &upto).await? {
            return Ok(0);
        }
        indexer::mend(&mut transaction, writer, upto.sequence).await?;
        transaction.commit().await.map_err(commit_error)?;
        Ok(upto.sequence.saturating_sub(first).saturating_add(1))
    }
}
