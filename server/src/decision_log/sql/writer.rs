//! The chain of this process: what it adds to it, and whether it is still the one that it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use moka::sync::Cache;

use super::{
    append::{Within, append},
    blobs,
    dedup::Answers,
    group_commit::{Given, Waiting},
    index_batch::Tail,
    segment::{Head, Pen},
    segment_table,
};
use crate::{
    decision_log::{AppendRequest, Blob, Hash, PreparedRecord},
    id,
    sql::{Connection, Database, Error, commit_error},
};

/// Blobs that are known to be stored, and for how long that is believed: well below what [`super::prune`] spares them for.
const KNOWN: u64 = 200_000;
const KNOWN_FOR: Duration = Duration::from_hours(1);

/// The chain of one writer that nobody else writes.
pub(super) struct Own {
    database: Arc<Database>,
    pub(super) writer: Arc<str>,
    /// Where the chain has come to, as far as anybody was told.
    head: Head,
    /// Whether a commit has failed since, of which nobody knows whether the database has it.
    pub(super) is_unsure: bool,
    /// What is not indexed yet.
    pub(super) tail: Tail,
    known: Cache<Hash, ()>,
    pen: Pen,
}

impl Own {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let known = Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR).build();
        let writer = Arc::from(id::random_id());
        let (head, tail, pen) = (Head::beginning(&writer), Tail::default(), Pen::default());
        Self { database, head, writer, is_unsure: false, tail, known, pen }
    }

    /// Takes nothing for granted after a commit that has failed.
    pub(super) fn doubt(&mut self) {
        // What was stored with a transaction that failed is not there.
        self.known.invalidate_all();
        self.is_unsure = true;
        self.tail.lose();
    }

    /// Begins another chain, and takes nothing for stored any more: the database is not the one that it was, but an earlier state
    /// of it. Decisions that it has lost keep their names; no other gets them.
    pub(super) fn begin_anew(&mut self) {
        let writer = Arc::from(id::random_id());
        tracing::error!(
            lost = %self.writer,
            writer = %writer,
            "the database has lost decisions that were recorded: it was restored, or a replica took over that lagged behind"
        );
        self.head = Head::beginning(&writer);
        self.writer = writer;
        self.tail = Tail::default();
        self.known.invalidate_all();
    }

    /// Records a batch; `None`: the database is not the one that it was.
    pub(super) async fn commit(
        &mut self,
        connection: &mut Connection,
        batch: &[Waiting],
    ) -> Result<Option<Vec<Given>>, Error> {
        let records = batch.iter().map(|(record, _)| record);
        let is_plain = !self.is_unsure && records.clone().all(|record| record.request.is_none());
        let answers = if is_plain && self.knows_all(batch) {
            let answers = Answers::without_requests(&self.writer, &self.head, records);
            self.record(connection, Within::Nothing, &answers.fresh).await?.map(|head| (head, answers))
        } else {
            self.commit_with_more(connection, records).await?
        };
        let Some((head, answers)) = answers else { return Ok(None) };
        if let Some(time) = latest(&answers.fresh) {
            let cases = answers.fresh.iter().map(|record| (record.case.case.hash(), Some(&record.case.keys)));
            self.tail.add((self.head.sequence.saturating_add(1), head.sequence), time, cases);
        }
        self.head = head;
        Ok(Some(answers.given))
    }

    /// The same with requests, with what nobody knows to be stored, or after a commit of which nobody knows the outcome.
    async fn commit_with_more<'a>(
        &mut self,
        connection: &mut Connection,
        records: impl Iterator<Item = &'a AppendRequest> + Clone,
    ) -> Result<Option<(Head, Answers<'a>)>, Error> {
        let database = Arc::clone(&self.database);
        let mut transaction = database.begin_write(connection).await?;
        // Within the write: a commit that was given up may still have been under way before it.
        if self.is_unsure && !self.look_again(&mut transaction).await? {
            return Ok(None);
        }
        let answers = Answers::to(&mut transaction, &self.writer, &self.head, records).await?;
        let (mut head, mut stored) = (self.head, Vec::new());
        if !answers.fresh.is_empty() {
            stored = self.store_blobs(&mut transaction, &answers.fresh).await?;
            let Some(moved) = self.record(&mut transaction, Within::Transaction, &answers.fresh).await? else {
                return Ok(None);
            };
            head = moved;
        }
        transaction.commit().await.map_err(commit_error)?;
        for hash in stored {
            self.known.insert(hash, ());
        }
        Ok(Some((head, answers)))
    }

    /// Learns where the chain has come to after a commit of which nobody knows the outcome; false where decisions were lost that
    /// somebody was told of.
    async fn look_again(&mut self, connection: &mut Connection) -> Result<bool, Error> {
        let beginning = Head::beginning(&self.writer);
        let head = segment_table::head(connection, &self.writer).await?.unwrap_or(beginning);
        let is_restored =
            head.sequence < self.head.sequence || (head.sequence == self.head.sequence && head.hash != self.head.hash);
        if !is_restored {
            (self.head, self.is_unsure) = (head, false);
        }
        Ok(!is_restored)
    }

    fn knows_all(&self, batch: &[Waiting]) -> bool {
        let mut previous: Option<&Arc<PreparedRecord>> = None;
        batch.iter().all(|(record, _)| {
            // JsonRows are about the same, and follow each other.
            previous.replace(&record.case).is_some_and(|previous| Arc::ptr_eq(previous, &record.case))
                || self.known.contains_key(&record.case.case.hash())
        })
    }

    /// Adds a segment to the chain, and returns where it leads.
    async fn record(
        &mut self,
        connection: &mut Connection,
        within: Within,
        records: &[&AppendRequest],
    ) -> Result<Option<Head>, Error> {
        let mut head = self.head;
        let body = self.pen.write(records, &mut head).map_err(|source| Error::Unavailable(source.into()))?;
        let segment = segment_table::Segment {
            first: self.head.sequence.saturating_add(1),
            last: head.sequence,
            last_time: latest(records).unwrap_or_default(),
            hash: head.hash,
            body,
        };
        let has_moved = append(connection, within, &self.writer, &self.head, segment).await?;
        Ok(has_moved.then_some(head))
    }

    /// Stores what the records rest on, as far as it is not known to be stored.
    async fn store_blobs(&self, connection: &mut Connection, records: &[&AppendRequest]) -> Result<Vec<Hash>, Error> {
        let mut cases: BTreeMap<Hash, &AppendRequest> = BTreeMap::new();
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
        blobs::put(connection, &blobs, Timestamp::now().as_microsecond()).await?;
        blobs::put_parts(connection, &parts).await?;
        Ok(blobs.into_keys().collect())
    }
}

/// When the last of them was made.
fn latest(records: &[&AppendRequest]) -> Option<i64> {
    records.iter().map(|record| record.evaluated_at.as_microsecond()).max()
}
