//! The SQL of writers, segments and index keys.

use std::collections::BTreeMap;

use super::segment::Head;
use crate::{
    decision_log::Hash,
    sql::{self, Connection, Error, FromRow, values},
};

/// The stored state of a writer's chain.
#[derive(Clone, Debug)]
pub(super) struct WriterRow {
    pub(super) name: String,
    pub(super) head: Head,
    pub(super) trimmed: Head,
    /// The last indexed decision.
    pub(super) indexed: u64,
}

/// A stored segment, or one to store.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) last_time: i64,
    pub(super) hash: Hash,
    pub(super) body: Vec<u8>,
}

/// The first decision and the last position of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentBounds {
    pub(super) first: u64,
    pub(super) head: Head,
    pub(super) last_time: i64,
}

/// A stored index key.
#[derive(Clone, Debug)]
pub(super) struct KeyRow {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    pub(super) first_sequence: i64,
    pub(super) segments: i64,
}

impl FromRow for KeyRow {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            kind: row.get(0)?,
            name: row.get(1)?,
            first_time: row.get(2)?,
            last_time: row.get(3)?,
            first_sequence: row.get(4)?,
            segments: row.get(5)?,
        })
    }
}

fn corrupt(what: &str, cause: &'static str) -> Error {
    Error::Corrupt { what: what.to_owned(), source: cause.into() }
}

pub(super) fn from_u64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn to_u64(what: &str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| corrupt(what, "a number is negative"))
}

fn to_hash(what: &str, bytes: Vec<u8>) -> Result<Hash, Error> {
    bytes.try_into().map(Hash).map_err(|_| corrupt(what, "a hash is not 32 bytes long"))
}

/// Loads and locks the head of a chain. On PostgreSQL it waits for an abandoned commit that may still advance the head.
pub(super) async fn lock_head(connection: &mut Connection, writer: &str) -> Result<Option<Head>, Error> {
    let lock = "update decision_writers set writer = writer where writer = $1 returning sequence, hash";
    let head: Option<(i64, Vec<u8>)> = connection.query_optional(lock, &values![writer]).await?;
    head.map(|(sequence, hash)| Ok(Head { sequence: to_u64(writer, sequence)?, hash: to_hash(writer, hash)? }))
        .transpose()
}

pub(super) async fn load_writers(connection: &mut Connection) -> Result<Vec<WriterRow>, Error> {
    type Row = (String, i64, Vec<u8>, i64, Vec<u8>, i64);
    let rows: Vec<Row> = connection.query("select writer, sequence, hash, pruned_sequence, pruned_hash, indexed from decision_writers order by writer", &[]).await?;
    let writer = |(name, sequence, hash, pruned_sequence, pruned_hash, indexed): Row| {
        let head = Head { sequence: to_u64(&name, sequence)?, hash: to_hash(&name, hash)? };
        let trimmed = Head { sequence: to_u64(&name, pruned_sequence)?, hash: to_hash(&name, pruned_hash)? };
        let indexed = to_u64(&name, indexed)?;
        Ok(WriterRow { name, head, trimmed, indexed })
    };
    rows.into_iter().map(writer).collect()
}

/// Loads the keys of a writer's index batches that start within a range, by the first decision of each batch.
pub(super) async fn load_keys(
    connection: &mut Connection,
    writer: &str,
    from: u64,
    to: u64,
) -> Result<BTreeMap<u64, Vec<KeyRow>>, Error> {
    let rows: Vec<KeyRow> = connection
        .query(
            "select kind, name, first_time, last_time, first_sequence, segments from decision_keys
         where writer = $1 and first_sequence >= $2 and first_sequence <= $3",
            &values![writer, from_u64(from), from_u64(to)],
        )
        .await?;
    let mut keys: BTreeMap<u64, Vec<KeyRow>> = BTreeMap::new();
    for key in rows {
        keys.entry(to_u64(writer, key.first_sequence)?).or_default().push(key);
    }
    Ok(keys)
}

/// Returns a writer's last indexed decision and its last decision; `None` if it has recorded nothing.
pub(super) async fn index_progress(connection: &mut Connection, writer: &str) -> Result<Option<(u64, u64)>, Error> {
    let indexed: Option<(i64, i64)> = connection
        .query_optional("select indexed, sequence from decision_writers where writer = $1", &values![writer])
        .await?;
    indexed.map(|(indexed, last)| Ok((to_u64(writer, indexed)?, to_u64(writer, last)?))).transpose()
}

/// Returns the first decision of a writer's next index batch after a decision.
pub(super) async fn next_batch(connection: &mut Connection, writer: &str, after: u64) -> Result<Option<u64>, Error> {
    let (next,): (Option<i64>,) = connection
        .query_one(
            "select min(first_sequence) from decision_keys where writer = $1 and first_sequence > $2",
            &values![writer, from_u64(after)],
        )
        .await?;
    next.map(|next| to_u64(writer, next)).transpose()
}

/// Returns the writers with a tail, each with its last indexed decision.
pub(super) async fn unindexed_writers(connection: &mut Connection) -> Result<Vec<(String, i64)>, Error> {
    connection.query("select writer, indexed from decision_writers where sequence > indexed", &[]).await
}

/// Returns the first decision and the time of a writer's segments after a decision, in order.
pub(super) async fn segments_after(
    connection: &mut Connection,
    writer: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, i64)>, Error> {
    connection
        .query(
            "select first_sequence, last_time from decision_segments
         where writer = $1 and first_sequence > $2 order by first_sequence limit $3",
            &values![writer, after, limit],
        )
        .await
}

/// Returns the writers of all segments, including those without a stored chain.
pub(super) async fn segment_writers(connection: &mut Connection) -> Result<Vec<String>, Error> {
    let select = "select distinct writer from decision_segments order by writer";
    let writers: Vec<(String,)> = connection.query(select, &[]).await?;
    Ok(writers.into_iter().map(|(writer,)| writer).collect())
}

/// Counts the keys without a segment.
pub(super) async fn count_orphan_keys(connection: &mut Connection) -> Result<i64, Error> {
    let (count,) = connection
        .query_one(
            "select count(*) from decision_keys k where not exists
             (select 1 from decision_segments s where s.writer = k.writer and s.first_sequence = k.first_sequence)",
            &[],
        )
        .await?;
    Ok(count)
}

/// Loads the segment that contains a decision.
pub(super) async fn segment_with(
    connection: &mut Connection,
    writer: &str,
    sequence: u64,
) -> Result<Option<Segment>, Error> {
    let segments = load_segments(
        connection,
        "select first_sequence, last_sequence, last_time, hash, body from decision_segments
         where writer = $1 and first_sequence <= $2 order by first_sequence desc limit $3",
        writer,
        sequence,
        1,
    );
    Ok(segments.await?.pop().filter(|segment| segment.last >= sequence))
}

/// Loads a writer's segments in order, starting with the one that contains a decision.
pub(super) async fn segments_from(
    connection: &mut Connection,
    writer: &str,
    sequence: u64,
    limit: i64,
) -> Result<Vec<Segment>, Error> {
    load_segments(
        connection,
        "select first_sequence, last_sequence, last_time, hash, body from decision_segments
         where writer = $1 and last_sequence >= $2
             -- Finds the first segment by the primary key: there is no index on last_sequence.
             and first_sequence >= coalesce((select max(first_sequence) from decision_segments
                                             where writer = $1 and first_sequence <= $2), 0)
         order by first_sequence limit $3",
        writer,
        sequence,
        limit,
    )
    .await
}

/// Returns the bounds of a writer's first segments.
pub(super) async fn segment_bounds(
    connection: &mut Connection,
    writer: &str,
    limit: i64,
) -> Result<Vec<SegmentBounds>, Error> {
    let rows: Vec<(i64, i64, Vec<u8>, i64)> = connection.query("select first_sequence, last_sequence, hash, last_time from decision_segments where writer = $1 order by first_sequence limit $2", &values![writer, limit]).await?;
    let end = |(first, last, hash, last_time): (i64, i64, Vec<u8>, i64)| {
        let head = Head { sequence: to_u64(writer, last)?, hash: to_hash(writer, hash)? };
        Ok(SegmentBounds { first: to_u64(writer, first)?, head, last_time })
    };
    rows.into_iter().map(end).collect()
}

async fn load_segments(
    connection: &mut Connection,
    select: &'static str,
    writer: &str,
    sequence: u64,
    limit: i64,
) -> Result<Vec<Segment>, Error> {
    type Row = (i64, i64, i64, Vec<u8>, Vec<u8>);
    let rows: Vec<Row> = connection.query(select, &values![writer, from_u64(sequence), limit]).await?;
    let segment = |(first, last, last_time, hash, body): Row| {
        let (first, last) = (to_u64(writer, first)?, to_u64(writer, last)?);
        Ok(Segment { first, last, last_time, hash: to_hash(writer, hash)?, body })
    };
    rows.into_iter().map(segment).collect()
}

/// Trims a chain up to and including a position; false if another server has already done so.
pub(super) async fn trim(connection: &mut Connection, writer: &str, upto: &Head) -> Result<bool, Error> {
    // First, so that a concurrent trim waits for this row lock and then finds nothing to do.
    let advanced = connection
        .execute(
            "update decision_writers set pruned_sequence = $1, pruned_hash = $2,
             indexed = case when indexed < $1 then $1 else indexed end
         where writer = $3 and pruned_sequence < $1",
            &values![from_u64(upto.sequence), &upto.hash.0[..], writer],
        )
        .await?;
    if advanced == 0 {
        return Ok(false);
    }
    for statement in [
        "delete from decision_keys where writer = $1 and first_sequence <= $2",
        "delete from decision_segments where writer = $1 and last_sequence <= $2",
    ] {
        connection.execute(statement, &values![writer, from_u64(upto.sequence)]).await?;
    }
    Ok(true)
}
