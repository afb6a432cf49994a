//! The SQL of writers, segments and index keys.

use std::collections::BTreeMap;

use super::segment::{Head, SegmentBody};
use crate::{
    decision_log::Hash,
    sql::{self, Connection, Error, FromRow, values},
};

/// The positions of a writer's chain, as readers need them. Its hashes are for verification only.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) writer: String,
    /// The last decision.
    pub(super) sequence: u64,
    /// The last removed decision.
    pub(super) trimmed: u64,
    /// The last indexed decision.
    pub(super) indexed: u64,
}

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

/// The end of a writer's chain, and the part that retention has removed.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) writer: String,
    /// The last decision.
    pub(super) sequence: u64,
    /// The time of the last segment, in microseconds.
    pub(super) last_time: i64,
    /// The last removed decision.
    pub(super) trimmed: u64,
    /// The latest time of a removed segment, in microseconds.
    pub(super) trimmed_time: i64,
}

/// A stored index key.
#[derive(Clone, Debug)]
pub(super) struct KeyRow {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    pub(super) first_sequence: u64,
    pub(super) segments: i64,
}

impl FromRow for KeyRow {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            kind: row.get(0)?,
            name: row.get(1)?,
            first_time: row.get(2)?,
            last_time: row.get(3)?,
            first_sequence: get_u64(row, 4)?,
            segments: row.get(5)?,
        })
    }
}

impl FromRow for Chain {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            writer: row.get(0)?,
            sequence: get_u64(row, 1)?,
            trimmed: get_u64(row, 2)?,
            indexed: get_u64(row, 3)?,
        })
    }
}

impl FromRow for WriterRow {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        Ok(Self { name: row.get(0)?, head: get_head(row, 1)?, trimmed: get_head(row, 3)?, indexed: get_u64(row, 5)? })
    }
}

impl FromRow for Tail {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        let (trimmed_time, last_time): (i64, Option<i64>) = (row.get(3)?, row.get(4)?);
        Ok(Self {
            writer: row.get(0)?,
            sequence: get_u64(row, 1)?,
            last_time: last_time.unwrap_or(trimmed_time),
            trimmed: get_u64(row, 2)?,
            trimmed_time,
        })
    }
}

/// A sequence number.
struct Sequence(u64);

impl FromRow for Sequence {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        get_u64(row, 0).map(Sequence)
    }
}

impl FromRow for Segment {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        let Head { sequence: last, hash } = get_head(row, 1)?;
        Ok(Self { first: get_u64(row, 0)?, last, last_time: row.get(3)?, hash, body: row.get(4)? })
    }
}

/// A segment without its hash.
impl FromRow for SegmentBody {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        let first = get_u64(row, 0)?;
        // An impossible end: the segment then has one decision, which its body contradicts.
        let last = u64::try_from(row.get::<i64>(1)?).unwrap_or(first).max(first);
        Ok(Self { first, last, last_time: row.get(3)?, body: row.get(4)? })
    }
}

impl FromRow for Head {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, Error> {
        get_head(row, 0)
    }
}

/// Returns the sequence number at an index, and the hash after it.
fn get_head(row: &sql::Row<'_>, index: usize) -> Result<Head, Error> {
    let hash: Vec<u8> = row.get(index + 1)?;
    let hash = hash.try_into().map_err(|_| corrupt("a hash is not 32 bytes long"))?;
    Ok(Head { sequence: get_u64(row, index)?, hash: Hash(hash) })
}

fn get_u64(row: &sql::Row<'_>, index: usize) -> Result<u64, Error> {
    row.get::<i64>(index)?.try_into().map_err(|_| corrupt("a number is negative"))
}

fn corrupt(cause: &'static str) -> Error {
    Error::Corrupt { what: "a row of the decision log".to_owned(), source: cause.into() }
}

/// Loads and locks the head of a chain. On PostgreSQL it waits for an abandoned commit that may still advance the head.
pub(super) async fn lock_head(connection: &mut Connection, writer: &str) -> Result<Option<Head>, Error> {
    let lock = "update decision_writers set writer = writer where writer = $1 returning sequence, hash";
    connection.query_optional(lock, &values![writer]).await
}

pub(super) async fn load_writers(connection: &mut Connection) -> Result<Vec<WriterRow>, Error> {
    let select = "select writer, sequence, hash, pruned_sequence, pruned_hash, indexed from decision_writers
         order by writer";
    connection.query(select, &[]).await
}

/// Loads the positions of every chain.
pub(super) async fn load_chains(connection: &mut Connection) -> Result<Vec<Chain>, Error> {
    connection.query("select writer, sequence, pruned_sequence, indexed from decision_writers", &[]).await
}

/// Loads the positions of a writer's chain; `None` if it has recorded nothing.
pub(super) async fn load_chain(connection: &mut Connection, writer: &str) -> Result<Option<Chain>, Error> {
    let select = "select writer, sequence, pruned_sequence, indexed from decision_writers where writer = $1";
    connection.query_optional(select, &values![writer]).await
}

/// Loads the end of every chain.
pub(super) async fn load_tails(connection: &mut Connection) -> Result<Vec<Tail>, Error> {
    let select = "select writer, sequence, pruned_sequence, pruned_time,
             (select s.last_time from decision_segments s where s.writer = w.writer order by s.first_sequence desc limit 1)
         from decision_writers w order by writer";
    connection.query(select, &[]).await
}

/// Returns the last decision of a writer's segments from before a time, in microseconds.
pub(super) async fn last_before(connection: &mut Connection, writer: &str, time: i64) -> Result<Option<u64>, Error> {
    let select = "select last_sequence from decision_segments where writer = $1 and last_time < $2
         order by first_sequence desc limit 1";
    let last: Option<Sequence> = connection.query_optional(select, &values![writer, time]).await?;
    Ok(last.map(|Sequence(last)| last))
}

/// Loads the keys of a writer's index batches that start within a range, by the first decision of each batch.
pub(super) async fn load_keys(
    connection: &mut Connection,
    writer: &str,
    from: u64,
    to: u64,
) -> Result<BTreeMap<u64, Vec<KeyRow>>, Error> {
    let select = "select kind, name, first_time, last_time, first_sequence, segments from decision_keys
         where writer = $1 and first_sequence >= $2 and first_sequence <= $3";
    let mut keys: BTreeMap<u64, Vec<KeyRow>> = BTreeMap::new();
    for key in connection.query::<KeyRow>(select, &values![writer, from, to]).await? {
        keys.entry(key.first_sequence).or_default().push(key);
    }
    Ok(keys)
}

/// Returns the last decision of the index batch that a decision is in.
pub(super) async fn batch_end(connection: &mut Connection, writer: &str, within: u64) -> Result<u64, Error> {
    let select = "select min(first_sequence) from decision_keys where writer = $1 and first_sequence > $2";
    let (next,): (Option<i64>,) = connection.query_one(select, &values![writer, within]).await?;
    if let Some(next) = next {
        return Ok(next.unsigned_abs().saturating_sub(1));
    }
    Ok(load_chain(connection, writer).await?.map(|chain| chain.indexed).unwrap_or_default())
}

/// Returns the writers with a tail, each with its last indexed decision.
pub(super) async fn unindexed_writers(connection: &mut Connection) -> Result<Vec<(String, i64)>, Error> {
    connection.query("select writer, indexed from decision_writers where sequence > indexed", &[]).await
}

/// Returns the first and the last decision, and the time, of a writer's segments after a decision, in order.
pub(super) async fn segments_after(
    connection: &mut Connection,
    writer: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, i64, i64)>, Error> {
    let select = "select first_sequence, last_sequence, last_time from decision_segments
         where writer = $1 and first_sequence > $2 order by first_sequence limit $3";
    connection.query(select, &values![writer, after, limit]).await
}

/// Returns the writers of all segments, including those without a stored chain.
pub(super) async fn segment_writers(connection: &mut Connection) -> Result<Vec<String>, Error> {
    let select = "select distinct writer from decision_segments order by writer";
    let writers: Vec<(String,)> = connection.query(select, &[]).await?;
    Ok(writers.into_iter().map(|(writer,)| writer).collect())
}

/// Counts the keys without a segment.
pub(super) async fn count_orphan_keys(connection: &mut Connection) -> Result<i64, Error> {
    let select = "select count(*) from decision_keys k where not exists
         (select 1 from decision_segments s where s.writer = k.writer and s.first_sequence = k.first_sequence)";
    let (count,) = connection.query_one(select, &[]).await?;
    Ok(count)
}

/// Loads the segment that contains a decision.
pub(super) async fn segment_with(
    connection: &mut Connection,
    writer: &str,
    sequence: u64,
) -> Result<Option<SegmentBody>, Error> {
    let select = "select first_sequence, last_sequence, hash, last_time, body from decision_segments
         where writer = $1 and first_sequence <= $2 order by first_sequence desc limit 1";
    let segment: Option<SegmentBody> = connection.query_optional(select, &values![writer, sequence]).await?;
    Ok(segment.filter(|segment| segment.last >= sequence))
}

/// Loads a writer's segments in order, starting with the one that contains a decision.
pub(super) async fn segments_from<T: FromRow>(
    connection: &mut Connection,
    writer: &str,
    sequence: u64,
    limit: i64,
) -> Result<Vec<T>, Error> {
    let select = "select first_sequence, last_sequence, hash, last_time, body from decision_segments
         where writer = $1 and last_sequence >= $2
             -- Finds the first segment by the primary key: there is no index on last_sequence.
             and first_sequence >= coalesce((select max(first_sequence) from decision_segments
                                             where writer = $1 and first_sequence <= $2), 0)
         order by first_sequence limit $3";
    connection.query(select, &values![writer, sequence, limit]).await
}

/// Returns the position in the chain after the segment that begins with a decision.
pub(super) async fn head_after(connection: &mut Connection, writer: &str, first: i64) -> Result<Head, Error> {
    let select = "select last_sequence, hash from decision_segments where writer = $1 and first_sequence = $2";
    connection.query_one(select, &values![writer, first]).await
}

/// Trims a chain up to and including a position, whose segments are not later than `last_time`; false if another server has
/// already done so.
pub(super) async fn trim(
    connection: &mut Connection,
    writer: &str,
    upto: &Head,
    last_time: i64,
) -> Result<bool, Error> {
    // First, so that a concurrent trim waits for this row lock and then finds nothing to do.
    let advance = "update decision_writers set pruned_sequence = $1, pruned_hash = $2, pruned_time = $4,
             indexed = case when indexed < $1 then $1 else indexed end
         where writer = $3 and pruned_sequence < $1";
    let advanced = connection.execute(advance, &values![upto.sequence, &upto.hash.0[..], writer, last_time]).await?;
    if advanced == 0 {
        return Ok(false);
    }
    for statement in [
        "delete from decision_keys where writer = $1 and first_sequence <= $2",
        "delete from decision_segments where writer = $1 and last_sequence <= $2",
    ] {
        connection.execute(statement, &values![writer, upto.sequence]).await?;
    }
    Ok(true)
}
