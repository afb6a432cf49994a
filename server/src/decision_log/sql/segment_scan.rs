//! A scan of segments, newest first: a merge of the index batches of some keys and the unindexed tails.
//!
//! The times of the batches of several writers and keys overlap. So a segment waits in a queue until it is newer than every batch that is
//! not expanded yet.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    index_batch::{MAX_SEGMENTS, MAX_SPAN_MICROS},
    index_terms::Key,
    segment::SegmentBody,
    segment_table,
};
use crate::sql::{self, Connection, Error, FromRow, RowStatement, Value, row_statement, values};

/// Maximum number of index batches in one read.
const MAX_BATCHES: usize = 32;
/// Number of segments of a tail from which lists fail. A working indexer keeps tails far below it.
const MAX_UNINDEXED: usize = 20_000;

/// The position of a segment in the order of all: its time, its writer, and its first decision.
pub(super) type Position = (i64, Arc<str>, i64);

/// An index batch of a key.
#[derive(Clone, Debug)]
struct BatchRow {
    last_time: i64,
    writer: String,
    first_sequence: i64,
    segments: i64,
}

impl FromRow for BatchRow {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        Ok(Self { last_time: row.get(0)?, writer: row.get(1)?, first_sequence: row.get(2)?, segments: row.get(3)? })
    }
}

/// A segment with its writer.
struct Found(Arc<str>, SegmentBody);

impl FromRow for Found {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        let writer: String = row.get(5)?;
        Ok(Self(writer.into(), SegmentBody::from_row(row)?))
    }
}

const SELECT_BODIES: RowStatement = row_statement!(
    "select s.first_sequence, s.last_sequence, s.hash, s.last_time, s.body, s.writer from",
    (1 writer text, 2 first_sequence bigint),
    "join decision_segments s on s.writer = input.writer and s.first_sequence = input.first_sequence"
);

/// The index batches of a key, newest first.
struct BatchScan {
    key: Key,
    /// Batches that were loaded and not expanded yet.
    batches: VecDeque<BatchRow>,
    /// The batch after which the next read starts; `None` after the last read.
    after: Option<(i64, String, i64)>,
}

impl BatchScan {
    /// Loads more batches if none are left. They end at `since` or later, and begin at `until` or earlier.
    async fn refill(&mut self, connection: &mut Connection, since: i64, until: i64) -> Result<(), Error> {
        if !self.batches.is_empty() {
            return Ok(());
        }
        let Some((last_time, writer, first_sequence)) = self.after.take() else { return Ok(()) };
        let select = "select last_time, writer, first_sequence, segments from decision_keys
             where kind = $1 and name = $2 and (last_time, writer, first_sequence) < ($3, $4, $5)
                 and last_time >= $6 and first_time <= $7
             order by last_time desc, writer desc, first_sequence desc limit $8";
        let (kind, name) = &self.key;
        let values = values![*kind, name, last_time, &writer, first_sequence, since, until, MAX_BATCHES];
        let found: Vec<BatchRow> = connection.query(select, &values).await?;
        if found.len() == MAX_BATCHES {
            self.after = found.last().map(|last| (last.last_time, last.writer.clone(), last.first_sequence));
        }
        self.batches.extend(found);
        Ok(())
    }

    /// The latest time of the newest batch that is left.
    fn latest(&self) -> Option<i64> {
        self.batches.front().map(|batch| batch.last_time)
    }
}

/// A scan of the segments that can contain decisions of some keys.
pub(super) struct ReverseSegmentScan {
    keys: Vec<BatchScan>,
    from: Position,
    since: i64,
    /// Segments that were found and not returned yet.
    queue: BTreeSet<Position>,
}

impl ReverseSegmentScan {
    /// Opens a scan from a position down to a time.
    pub(super) async fn open(
        connection: &mut Connection,
        keys: Vec<Key>,
        from: Position,
        since: i64,
    ) -> Result<Self, Error> {
        // A batch that begins at or before the position ends at most `MAX_SPAN_MICROS` after it.
        let start = (from.0.saturating_add(MAX_SPAN_MICROS).saturating_add(1), String::new(), 0);
        let scan = |key| BatchScan { key, batches: VecDeque::new(), after: Some(start.clone()) };
        let mut scan = Self { keys: keys.into_iter().map(scan).collect(), from, since, queue: BTreeSet::new() };
        let limit = i64::try_from(MAX_UNINDEXED).unwrap_or(i64::MAX);
        for (writer, indexed) in segment_table::unindexed_writers(connection).await? {
            let name: Arc<str> = writer.as_str().into();
            let tail = segment_table::segments_after(connection, &writer, indexed, limit).await?;
            if tail.len() == MAX_UNINDEXED {
                // Without the newest segments, the list would be incomplete.
                let cause = format!(
                    "decision list unavailable: {MAX_UNINDEXED} or more segments of one writer are not indexed; \
                     retry later"
                );
                return Err(Error::Unavailable(cause.into()));
            }
            for (first, _, last_time) in tail {
                scan.push((last_time, Arc::clone(&name), first));
            }
        }
        Ok(scan)
    }

    fn push(&mut self, position: Position) {
        if position <= self.from && position.0 >= self.since {
            self.queue.insert(position);
        }
    }

    /// Returns at most `limit` further segments with their bodies; none at the end of the scan.
    pub(super) async fn next(
        &mut self,
        connection: &mut Connection,
        limit: usize,
    ) -> Result<Vec<(Position, SegmentBody)>, Error> {
        let mut positions = Vec::new();
        while positions.len() < limit {
            for key in &mut self.keys {
                key.refill(connection, self.since, self.from.0).await?;
            }
            let newest = self.keys.iter_mut().max_by_key(|key| key.latest());
            let latest = newest.as_ref().and_then(|key| key.latest());
            if self.queue.last().is_some_and(|position| latest.is_none_or(|latest| position.0 > latest)) {
                positions.extend(self.queue.pop_last());
            } else if let Some(batch) = newest.and_then(|key| key.batches.pop_front()) {
                self.expand(connection, &batch).await?;
            } else {
                break;
            }
        }
        load_bodies(connection, positions).await
    }

    /// Adds the segments of a batch to the queue.
    async fn expand(&mut self, connection: &mut Connection, batch: &BatchRow) -> Result<(), Error> {
        let (first, writer): (_, Arc<str>) = (batch.first_sequence, batch.writer.as_str().into());
        let segments =
            segment_table::segments_after(connection, &writer, first.saturating_sub(1), i64::from(MAX_SEGMENTS))
                .await?;
        let mut next = first;
        // The last decision of the batch, once a segment was found to be lost: the bits then stand for others, so all are read.
        let mut end = None;
        for (index, (first, last, last_time)) in segments.into_iter().enumerate() {
            if first != next && end.is_none() {
                let within = u64::try_from(batch.first_sequence).unwrap_or_default();
                end = Some(segment_table::batch_end(connection, &writer, within).await?);
            }
            let is_of_key = match end {
                Some(end) => u64::try_from(first).is_ok_and(|first| first <= end),
                None => batch.segments >> index & 1 == 1,
            };
            if is_of_key {
                self.push((last_time, Arc::clone(&writer), first));
            }
            next = last.saturating_add(1);
        }
        Ok(())
    }
}

/// Loads the segments at positions, newest first.
async fn load_bodies(
    connection: &mut Connection,
    positions: Vec<Position>,
) -> Result<Vec<(Position, SegmentBody)>, Error> {
    let inputs: Vec<[Value<'_>; 2]> = positions.iter().map(|(_, writer, first)| values![&**writer, *first]).collect();
    let rows: Vec<Found> = connection.query_each(SELECT_BODIES, &inputs, &[]).await?;
    let position =
        |writer, segment: &SegmentBody| (segment.last_time, writer, i64::try_from(segment.first).unwrap_or(i64::MAX));
    let mut read: Vec<(Position, SegmentBody)> =
        rows.into_iter().map(|Found(writer, segment)| (position(writer, &segment), segment)).collect();
    read.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    Ok(read)
}
