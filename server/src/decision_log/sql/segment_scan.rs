//! A scan of segments, newest first: a merge of the index batches of a key and the unindexed tails.
//!
//! The times of the batches of several writers overlap. So a segment waits in a queue until it is newer than every batch that is
//! not expanded yet.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    index_batch::{MAX_SEGMENTS, MAX_SPAN_MICROS},
    index_terms::Key,
    segment_table,
};
use crate::sql::{self, Connection, Error, FromRow, RowStatement, Value, row_statement, values};

/// Maximum number of index batches in one read.
const MAX_BATCHES: usize = 32;
/// Number of segments of a tail from which lists fail. A working indexer keeps tails far below it.
const MAX_UNINDEXED: usize = 20_000;

/// The position of a segment in the order of all: its time, its writer, and its first decision.
pub(super) type Position = (i64, Arc<str>, i64);

/// An index batch of the key.
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

const SELECT_BODIES: RowStatement = row_statement!(
    "select s.last_time, s.writer, s.first_sequence, s.body from",
    (1 writer text, 2 first_sequence bigint),
    "join decision_segments s on s.writer = input.writer and s.first_sequence = input.first_sequence"
);

/// A scan of the segments that can contain decisions of a key.
pub(super) struct ReverseSegmentScan {
    key: Key,
    from: Position,
    since: i64,
    /// Segments that were found and not returned yet.
    queue: BTreeSet<Position>,
    /// Batches that were loaded and not expanded yet.
    batches: VecDeque<BatchRow>,
    /// The batch after which the next read starts; `None` after the last read.
    after: Option<(i64, String, i64)>,
}

impl ReverseSegmentScan {
    /// Opens a scan from a position down to a time.
    pub(super) async fn open(connection: &mut Connection, key: Key, from: Position, since: i64) -> Result<Self, Error> {
        // A batch that begins at or before the position ends at most `MAX_SPAN_MICROS` after it.
        let after = Some((from.0.saturating_add(MAX_SPAN_MICROS).saturating_add(1), String::new(), 0));
        let mut scan = Self { key, from, since, queue: BTreeSet::new(), batches: VecDeque::new(), after };
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
            for (first, last_time) in tail {
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
    ) -> Result<Vec<(Position, Vec<u8>)>, Error> {
        let mut positions = Vec::new();
        while positions.len() < limit {
            if self.batches.is_empty() {
                self.load_batches(connection).await?;
            }
            let next_batch = self.batches.front().map_or(i64::MIN, |batch| batch.last_time);
            let is_newest = |position: &Position| self.batches.is_empty() || position.0 > next_batch;
            if self.queue.last().is_some_and(is_newest) {
                positions.extend(self.queue.pop_last());
            } else if let Some(batch) = self.batches.pop_front() {
                self.expand(connection, &batch).await?;
            } else {
                break;
            }
        }
        load_bodies(connection, positions).await
    }

    /// Loads more index batches of the key.
    async fn load_batches(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let Some((last_time, writer, first_sequence)) = self.after.take() else { return Ok(()) };
        let select = "select last_time, writer, first_sequence, segments from decision_keys
             where kind = $1 and name = $2 and (last_time, writer, first_sequence) < ($3, $4, $5)
                 and last_time >= $6 and first_time <= $7
             order by last_time desc, writer desc, first_sequence desc limit $8";
        let (kind, name) = &self.key;
        let values = values![*kind, name, last_time, &writer, first_sequence, self.since, self.from.0, MAX_BATCHES];
        let found: Vec<BatchRow> = connection.query(select, &values).await?;
        if found.len() == MAX_BATCHES {
            self.after = found.last().map(|last| (last.last_time, last.writer.clone(), last.first_sequence));
        }
        self.batches.extend(found);
        Ok(())
    }

    async fn expand(&mut self, connection: &mut Connection, batch: &BatchRow) -> Result<(), Error> {
        let before = batch.first_sequence.saturating_sub(1);
        let segments =
            segment_table::segments_after(connection, &batch.writer, before, i64::from(MAX_SEGMENTS)).await?;
        let writer: Arc<str> = batch.writer.as_str().into();
        for (index, (first, last_time)) in segments.into_iter().enumerate() {
            if batch.segments >> index & 1 == 1 {
                self.push((last_time, Arc::clone(&writer), first));
            }
        }
        Ok(())
    }
}

/// Loads the segments at positions, newest first.
async fn load_bodies(connection: &mut Connection, positions: Vec<Position>) -> Result<Vec<(Position, Vec<u8>)>, Error> {
    let inputs: Vec<[Value<'_>; 2]> = positions.iter().map(|(_, writer, first)| values![&**writer, *first]).collect();
    let rows: Vec<(i64, String, i64, Vec<u8>)> = connection.query_each(SELECT_BODIES, &inputs, &[]).await?;
    let mut read: Vec<(Position, Vec<u8>)> =
        rows.into_iter().map(|(time, writer, first, body)| ((time, Arc::from(writer), first), body)).collect();
    read.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    Ok(read)
}
