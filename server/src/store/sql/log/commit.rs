//! Group commit: one task records whatever waits, in one transaction, and tells everybody at once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    blobs, chains, keys, requests,
    segment::{self, Entry, Head},
};
use crate::{
    decisions::{Blob, Hash},
    log::{Appended, DecisionId, Error, Record},
    random,
    store::sql::{Connection, Database, outcome_unknown, part_with},
};

/// The most decisions that are committed at once.
const BATCH: usize = 4096;
/// How often more are waited for.
const GATHERED: usize = 16;
/// The most that wait.
pub(super) const QUEUE: usize = 16_384;
/// How long a request is remembered.
pub(super) const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// Blobs that are known to be stored, and for how long that is believed: well below what [`super::prune`] spares them for.
const KNOWN: u64 = 200_000;
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// How long one commit may take. What takes longer has an outcome that nobody knows.
const PATIENCE: Duration = Duration::from_secs(15);

/// A record that waits, with whom to tell.
pub(super) type Waiting = (Record, oneshot::Sender<Result<Appended, Error>>);

/// Commits batches, one after the other.
pub(super) struct Committer {
    database: Arc<Database>,
    writer: Arc<str>,
    /// Where the chain has come to, as far as anybody was told.
    head: Head,
    /// Whether a commit has failed since, of which nobody knows whether the database has it.
    is_unsure: bool,
    known: Cache<Hash, ()>,
}

impl Committer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let known = Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR).build();
        let writer = Arc::from(random::letters());
        Self { database, head: Head::beginning(&writer), writer, is_unsure: false, known }
    }

    /// Goes on until it is told to close and has recorded what came before, or nobody is left who could append.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>, closing: Arc<Notify>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let received = tokio::select! {
                biased;
                received = waiting.recv_many(&mut batch, BATCH) => received,
                () = closing.notified() => {
                    waiting.close();
                    continue;
                }
            };
            if received == 0 {
                return;
            }
            gather(&mut waiting, &mut batch).await;
            let (records, tell): (Vec<Record>, Vec<_>) = batch.drain(..).unzip();
            let outcome = tokio::time::timeout(PATIENCE, self.commit(&records)).await;
            let outcome = outcome.unwrap_or_else(|late| Err(Error::Unavailable(Arc::new(late))));
            match outcome {
                Ok(answers) => {
                    for (tell, answer) in tell.into_iter().zip(answers) {
                        // Who has given up has his decision in the log all the same.
                        tell.send(answer).ok();
                    }
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "decisions were not recorded");
                    // What was stored with a transaction that failed is not there.
                    self.known.invalidate_all();
                    self.is_unsure = true;
                    for tell in tell {
                        tell.send(Err(again(&error))).ok();
                    }
                }
            }
        }
    }

    async fn commit(&mut self, records: &[Record]) -> Result<Vec<Result<Appended, Error>>, Error> {
        let mut connection = self.database.writer().await.map_err(of_store)?;
        let outcome = match self.commit_on(&mut connection, records).await {
            Ok(None) => {
                self.begin_anew();
                self.commit_on(&mut connection, records).await
            }
            outcome => outcome,
        };
        if let Err(error) = &outcome {
            part_with(&mut connection, error);
        }
        outcome.map_err(of_store)?.ok_or_else(|| Error::Unavailable(Arc::new(Displaced)))
    }

    /// Begins another chain, and takes nothing for stored any more: the database is not the one that it was, but an earlier state
    /// of it. Decisions that it has lost keep their names; no other gets them.
    fn begin_anew(&mut self) {
        let writer = Arc::from(random::letters());
        tracing::error!(
            lost = %self.writer,
            writer = %writer,
            "the database has lost decisions that were recorded: it was restored, or a replica took over that lagged behind"
        );
        self.head = Head::beginning(&writer);
        self.writer = writer;
        self.known.invalidate_all();
    }

    async fn commit_on(
        &mut self,
        connection: &mut Connection,
        records: &[Record],
    ) -> Result<Option<Vec<Result<Appended, Error>>>, crate::store::Error> {
        let database = Arc::clone(&self.database);
        let mut transaction = database.begin_write(connection).await?;
        if self.is_unsure {
            let beginning = Head::beginning(&self.writer);
            let head = chains::head(&mut transaction, &self.writer).await?.unwrap_or(beginning);
            let is_restored = head.sequence < self.head.sequence
                || (head.sequence == self.head.sequence && head.hash != self.head.hash);
            if is_restored {
                return Ok(None);
            }
            (self.head, self.is_unsure) = (head, false);
        }
        let head = self.head;
        let now = Timestamp::now();
        let (answers, fresh) = self.answers(&mut transaction, records, &head, now).await?;
        let mut stored = Vec::new();
        let head = if fresh.is_empty() {
            head
        } else {
            stored = self.store_blobs(&mut transaction, &fresh, now).await?;
            let Some(head) = self.store_segment(&mut transaction, &fresh, head).await? else { return Ok(None) };
            head
        };
        transaction.commit().await.map_err(outcome_unknown)?;
        self.head = head;
        for hash in stored {
            self.known.insert(hash, ());
        }
        Ok(Some(answers))
    }

    /// What becomes of each record, and those that are to be recorded.
    async fn answers<'a>(
        &self,
        connection: &mut Connection,
        records: &'a [Record],
        head: &Head,
        now: Timestamp,
    ) -> Result<(Vec<Result<Appended, Error>>, Vec<&'a Record>), crate::store::Error> {
        let mut asked: BTreeMap<&str, &crate::store::Request> = BTreeMap::new();
        for request in records.iter().filter_map(|record| record.request.as_ref()) {
            asked.entry(&request.id).or_insert(request);
        }
        let expire_time = now.as_microsecond().saturating_add(micros(REMEMBERED));
        let taken = requests::claim(connection, &asked, &self.writer, expire_time, now.as_microsecond()).await?;

        let mut answers = Vec::with_capacity(records.len());
        let mut fresh = Vec::with_capacity(records.len());
        let mut given: HashMap<&str, DecisionId> = HashMap::new();
        let mut numbered = Vec::new();
        for record in records {
            let Some(request) = &record.request else {
                answers.push(Ok(Appended::Recorded(self.id(head, &mut fresh, record))));
                continue;
            };
            let id = request.id.as_str();
            let answer = match (taken.get(id), given.get(id)) {
                (Some(taken), _) if taken.fingerprint == request.fingerprint => Ok(Appended::Replayed(DecisionId {
                    writer: taken.writer.as_str().into(),
                    sequence: taken.sequence,
                })),
                (Some(_), _) => Err(Error::RequestIdReused),
                (None, Some(given)) => {
                    if asked.get(id).is_some_and(|first| first.fingerprint == request.fingerprint) {
                        Ok(Appended::Replayed(given.clone()))
                    } else {
                        Err(Error::RequestIdReused)
                    }
                }
                (None, None) => {
                    let given_id = self.id(head, &mut fresh, record);
                    given.insert(id, given_id.clone());
                    numbered.push((id, given_id.sequence));
                    Ok(Appended::Recorded(given_id))
                }
            };
            answers.push(answer);
        }
        requests::number(connection, &numbered).await?;
        if !asked.is_empty() {
            // As many go as come, and more, so that they never pile up.
            requests::forget(connection, now.as_microsecond()).await?;
        }
        Ok((answers, fresh))
    }

    /// The name of a record that is to be recorded as the next one.
    fn id<'a>(&self, head: &Head, fresh: &mut Vec<&'a Record>, record: &'a Record) -> DecisionId {
        fresh.push(record);
        let sequence = head.sequence.saturating_add(u64::try_from(fresh.len()).unwrap_or(u64::MAX));
        DecisionId { writer: Arc::clone(&self.writer), sequence }
    }

    /// Stores what the records rest on, as far as it is not known to be stored.
    async fn store_blobs(
        &self,
        connection: &mut Connection,
        records: &[&Record],
        now: Timestamp,
    ) -> Result<Vec<Hash>, crate::store::Error> {
        let mut cases: BTreeMap<Hash, &Record> = BTreeMap::new();
        for record in records {
            let hash = record.case.case.hash();
            if !self.known.contains_key(&hash) {
                cases.insert(hash, record);
            }
        }
        let mut blobs: BTreeMap<Hash, (bool, &Blob)> = BTreeMap::new();
        let mut parts = BTreeSet::new();
        for (hash, record) in &cases {
            blobs.insert(*hash, (true, &record.case.case));
            for part in &record.case.parts {
                parts.insert((*hash, part.hash()));
                if !self.known.contains_key(&part.hash()) {
                    blobs.entry(part.hash()).or_insert((false, part));
                }
            }
        }
        blobs::put(connection, &blobs, now.as_microsecond()).await?;
        blobs::put_parts(connection, &parts).await?;
        Ok(blobs.into_keys().collect())
    }

    async fn store_segment(
        &self,
        connection: &mut Connection,
        records: &[&Record],
        before: Head,
    ) -> Result<Option<Head>, crate::store::Error> {
        let entry = |record: &&Record| Entry {
            evaluated_at: record.evaluated_at,
            case: record.case.case.hash(),
            labels: record.labels.clone(),
            request: record.request.as_ref().map(|request| (request.id.clone(), request.fingerprint.clone())),
        };
        let entries: Vec<Entry> = records.iter().map(entry).collect();
        let mut head = before;
        let body = segment::write(entries.iter(), &mut head)
            .map_err(|source| crate::store::Error::Unavailable(source.into()))?;
        if !chains::move_head(connection, &self.writer, &before, &head).await? {
            return Ok(None);
        }
        let segment = chains::Segment {
            first: before.sequence.saturating_add(1),
            last: head.sequence,
            last_time: entries.iter().map(|entry| entry.evaluated_at.as_microsecond()).max().unwrap_or_default(),
            hash: head.hash,
            body,
        };
        chains::put_segment(connection, &self.writer, &segment).await?;
        let cases = records.iter().map(|record| (record.case.case.hash(), &record.case.keys));
        chains::put_keys(connection, &self.writer, &segment, &keys::of(cases)).await?;
        Ok(Some(head))
    }
}

/// Lets those go first who are about to append: while there are any, one commit for more of them costs each less. Where nobody
/// is, it takes no time.
async fn gather(waiting: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>) {
    for _ in 0..GATHERED {
        let had = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(one) = waiting.try_recv()
        {
            batch.push(one);
        }
        if batch.len() == had {
            break;
        }
    }
}

/// A chain that nobody else writes has been written twice while one batch was recorded.
#[derive(Debug, thiserror::Error)]
#[error("the database has lost decisions that were recorded, twice in a row")]
struct Displaced;

/// The store's errors in the words of the log.
pub(super) fn of_store(error: crate::store::Error) -> Error {
    use crate::store::Error as Store;
    match error {
        Store::Corrupt { what, source } => Error::Corrupt { what, source },
        other @ (Store::NotFound(_)
        | Store::AlreadyExists(_)
        | Store::Conflict { .. }
        | Store::RequestIdReused
        | Store::BatchSize
        | Store::DefaultRequired
        | Store::TooManyPolicies
        | Store::TooManyWaivers
        | Store::Revoked(_)
        | Store::Unavailable(_)) => Error::Unavailable(Arc::new(other)),
    }
}

/// An error that several callers get.
fn again(error: &Error) -> Error {
    match error {
        Error::Unavailable(source) => Error::Unavailable(Arc::clone(source)),
        other @ (Error::NotFound(_) | Error::RequestIdReused | Error::Overloaded | Error::Corrupt { .. }) => {
            Error::Unavailable(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(other.to_string())))
        }
    }
}

fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
