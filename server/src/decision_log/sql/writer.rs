//! The writer of this process: it extends its own chain and detects a database that has lost decisions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use moka::sync::Cache;

use super::{
    append::{CommitMode, append},
    blobs::{self, BlobKind},
    dedup::Deduplicated,
    group_commit::Reply,
    index_batch::{Indexed, PendingIndex},
    segment::{Head, SegmentEncoder},
    segment_table,
};
use crate::{
    decision_log::{AppendRequest, Blob, Hash, PreparedRecord},
    id,
    sql::{Connection, Error},
};

/// Maximum number of hashes in the cache of stored blobs.
const STORED_BLOBS_CAPACITY: u64 = 200_000;
/// Lifetime of a hash in that cache, well below [`super::UNUSED_BLOB_GRACE`].
const STORED_BLOBS_TTL: Duration = Duration::from_hours(1);

/// The only writer of one chain.
pub(super) struct Writer {
    pub(super) name: Arc<str>,
    /// The last acknowledged head of the chain.
    head: Head,
    /// True after a failed commit, which the database may or may not have applied.
    pub(super) outcome_unknown: bool,
    /// Segments that are not indexed yet.
    pub(super) pending_index: PendingIndex,
    stored_blobs: Cache<Hash, ()>,
    encoder: SegmentEncoder,
}

impl Writer {
    pub(super) fn new() -> Self {
        let name = Arc::from(id::random_id());
        Self {
            head: Head::genesis(&name),
            name,
            outcome_unknown: false,
            pending_index: PendingIndex::default(),
            stored_blobs: Cache::builder().max_capacity(STORED_BLOBS_CAPACITY).time_to_live(STORED_BLOBS_TTL).build(),
            encoder: SegmentEncoder::default(),
        }
    }

    /// Discards cached state after a failed commit.
    pub(super) fn invalidate(&mut self) {
        // Blobs of a transaction that failed may be missing.
        self.stored_blobs.invalidate_all();
        self.outcome_unknown = true;
        self.pending_index.discard();
        // The abandoned commit may still begin this chain, and there is no row to lock against it.
        if self.head.sequence == 0 {
            self.start_new_chain();
        }
    }

    /// Starts a chain under a new name.
    fn start_new_chain(&mut self) {
        self.name = Arc::from(id::random_id());
        self.head = Head::genesis(&self.name);
        self.pending_index = PendingIndex::default();
        self.stored_blobs.invalidate_all();
    }

    /// Starts a new chain after the database has gone back to an earlier state, so that ids of lost decisions are not reused.
    pub(super) fn recover_from_loss(&mut self) {
        let previous = Arc::clone(&self.name);
        self.start_new_chain();
        tracing::error!(
            previous_writer = %previous,
            writer = %self.name,
            "the database has lost recorded decisions: it was restored from a backup, or a lagging replica was promoted"
        );
    }

    /// Commits a batch and returns the replies; `None` if the head in the database does not match, so decisions were lost.
    pub(super) async fn commit(
        &mut self,
        connection: &mut Connection,
        requests: &[AppendRequest],
    ) -> Result<Option<Vec<Reply>>, Error> {
        let is_plain = !self.outcome_unknown && requests.iter().all(|request| request.request_key.is_none());
        let committed = if is_plain && self.all_blobs_known(requests) {
            let deduplicated = Deduplicated::without_request_keys(&self.name, &self.head, requests);
            let head = self.append_segment(connection, CommitMode::Autocommit, &deduplicated.new_requests).await?;
            head.map(|head| (head, deduplicated))
        } else {
            self.commit_in_transaction(connection, requests).await?
        };
        let Some((head, deduplicated)) = committed else { return Ok(None) };
        if let Some(time) = latest(&deduplicated.new_requests) {
            let decisions = deduplicated.new_requests.iter().map(|request| Indexed {
                record: Some(request.record.blob.hash()),
                terms: Some(&request.record.keys),
                caller: Some(&request.caller),
            });
            self.pending_index.add((self.head.sequence.saturating_add(1), head.sequence), time, decisions);
        }
        self.head = head;
        Ok(Some(deduplicated.results))
    }

    /// Commits on the slow path: with idempotency keys, missing blobs, or after a commit with an unknown outcome.
    async fn commit_in_transaction<'a>(
        &mut self,
        connection: &mut Connection,
        requests: &'a [AppendRequest],
    ) -> Result<Option<(Head, Deduplicated<'a>)>, Error> {
        connection.begin_write().await?;
        // The head is read within the transaction: before it began, an abandoned commit may still have been in progress.
        if self.outcome_unknown && !self.reload_head(connection).await? {
            connection.rollback().await?;
            return Ok(None);
        }
        let deduplicated = Deduplicated::claim(connection, &self.name, &self.head, requests).await?;
        let (mut head, mut stored) = (self.head, Vec::new());
        if !deduplicated.new_requests.is_empty() {
            stored = self.store_blobs(connection, &deduplicated.new_requests).await?;
            let mode = CommitMode::InTransaction;
            let Some(new_head) = self.append_segment(connection, mode, &deduplicated.new_requests).await? else {
                connection.rollback().await?;
                return Ok(None);
            };
            head = new_head;
        }
        connection.commit().await?;
        for hash in stored {
            self.stored_blobs.insert(hash, ());
        }
        Ok(Some((head, deduplicated)))
    }

    /// Reloads the head after an unknown commit outcome; false if the database has lost acknowledged decisions.
    async fn reload_head(&mut self, connection: &mut Connection) -> Result<bool, Error> {
        let genesis = Head::genesis(&self.name);
        let head = segment_table::lock_head(connection, &self.name).await?.unwrap_or(genesis);
        let is_restored =
            head.sequence < self.head.sequence || (head.sequence == self.head.sequence && head.hash != self.head.hash);
        if !is_restored {
            (self.head, self.outcome_unknown) = (head, false);
        }
        Ok(!is_restored)
    }

    fn all_blobs_known(&self, requests: &[AppendRequest]) -> bool {
        let mut previous: Option<&Arc<PreparedRecord>> = None;
        requests.iter().all(|request| {
            // Consecutive requests often share a record.
            previous.replace(&request.record).is_some_and(|previous| Arc::ptr_eq(previous, &request.record))
                || self.stored_blobs.contains_key(&request.record.blob.hash())
        })
    }

    /// Appends a segment to the chain and returns the new head; `None` if the stored head does not match.
    async fn append_segment(
        &mut self,
        connection: &mut Connection,
        mode: CommitMode,
        requests: &[&AppendRequest],
    ) -> Result<Option<Head>, Error> {
        let mut head = self.head;
        let body = self.encoder.encode(requests, &mut head).map_err(|source| Error::Unavailable(source.into()))?;
        let segment = segment_table::Segment {
            first: self.head.sequence.saturating_add(1),
            last: head.sequence,
            last_time: latest(requests).unwrap_or_default(),
            hash: head.hash,
            body,
        };
        let is_appended = append(connection, mode, &self.name, &self.head, &segment).await?;
        Ok(is_appended.then_some(head))
    }

    /// Stores the blobs that are not known to be stored, and returns their hashes.
    async fn store_blobs(&self, connection: &mut Connection, requests: &[&AppendRequest]) -> Result<Vec<Hash>, Error> {
        let mut records: BTreeMap<Hash, &PreparedRecord> = BTreeMap::new();
        for request in requests {
            let hash = request.record.blob.hash();
            if !self.stored_blobs.contains_key(&hash) {
                records.insert(hash, &request.record);
            }
        }
        let mut blobs: BTreeMap<Hash, (BlobKind, &Blob)> = BTreeMap::new();
        let mut references = BTreeSet::new();
        for (hash, record) in &records {
            blobs.insert(*hash, (BlobKind::Record, &record.blob));
            for part in &record.parts {
                references.insert((*hash, part.hash()));
                if !self.stored_blobs.contains_key(&part.hash()) {
                    blobs.entry(part.hash()).or_insert((BlobKind::Part, part));
                }
            }
        }
        blobs::upsert(connection, &blobs, Timestamp::now().as_microsecond()).await?;
        blobs::insert_parts(connection, &references).await?;
        Ok(blobs.into_keys().collect())
    }
}

/// Returns the latest evaluation time, in microseconds.
fn latest(requests: &[&AppendRequest]) -> Option<i64> {
    requests.iter().map(|request| request.evaluate_time.as_microsecond()).max()
}
