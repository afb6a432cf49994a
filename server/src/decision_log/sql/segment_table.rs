//! The SQL of chains: writers, segments, and the keys that find them.

use std::collections::BTreeMap;

use super::segment::Head;
use crate::{
    decision_log::Hash,
    sql::{Connection, Error, query_error},
};

/// A chain as the database knows it.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) name: String,
    pub(super) head: Head,
    pub(super) pruned: Head,
    /// The last decision that is in a chapter.
    pub(super) indexed: u64,
}

/// A segment to be written, or as it was.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) last_time: i64,
    pub(super) hash: Hash,
    pub(super) body: Vec<u8>,
}

/// Where a segment begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) first: u64,
    pub(super) head: Head,
    pub(super) last_time: i64,
}

/// A key of a chapter.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Key {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    pub(super) first_sequence: i64,
    pub(super) segments: i64,
}

fn corrupt(what: &str, why: &'static str) -> Error {
    Error::Corrupt { what: what.to_owned(), source: why.into() }
}

pub(super) fn number_out(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number_in(what: &str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| corrupt(what, "a number is negative"))
}

fn hash_in(what: &str, bytes: Vec<u8>) -> Result<Hash, Error> {
    bytes.try_into().map(Hash).map_err(|_| corrupt(what, "a hash is not 32 bytes long"))
}

pub(super) async fn head(connection: &mut Connection, writer: &str) -> Result<Option<Head>, Error> {
    let head: Option<(i64, Vec<u8>)> = sqlx::query_as("select sequence, hash from decision_writers where writer = $1")
        .bind(writer)
        .fetch_optional(connection)
        .await
        .map_err(query_error)?;
    head.map(|(sequence, hash)| Ok(Head { sequence: number_in(writer, sequence)?, hash: hash_in(writer, hash)? }))
        .transpose()
}

pub(super) async fn writers(connection: &mut Connection) -> Result<Vec<Writer>, Error> {
    type Row = (String, i64, Vec<u8>, i64, Vec<u8>, i64);
    let rows: Vec<Row> = sqlx::query_as(
        "select writer, sequence, hash, pruned_sequence, pruned_hash, indexed from decision_writers order by writer",
    )
    .fetch_all(connection)
    .await
    .map_err(query_error)?;
    let writer = |(name, sequence, hash, pruned_sequence, pruned_hash, indexed): Row| {
        let head = Head { sequence: number_in(&name, sequence)?, hash: hash_in(&name, hash)? };
        let pruned = Head { sequence: number_in(&name, pruned_sequence)?, hash: hash_in(&name, pruned_hash)? };
        let indexed = number_in(&name, indexed)?;
        Ok(Writer { name, head, pruned, indexed })
    };
    rows.into_iter().map(writer).collect()
}

/// The keys of a writer's chapters that begin from one decision to another, by the first decision of each.
pub(super) async fn keys_of(
    connection: &mut Connection,
    writer: &str,
    from: u64,
    to: u64,
) -> Result<BTreeMap<u64, Vec<Key>>, Error> {
    let rows: Vec<Key> = sqlx::query_as(
        "select kind, name, first_time, last_time, first_sequence, segments from decision_keys
         where writer = $1 and first_sequence >= $2 and first_sequence <= $3",
    )
    .bind(writer)
    .bind(number_out(from))
    .bind(number_out(to))
    .fetch_all(connection)
    .await
    .map_err(query_error)?;
    let mut keys: BTreeMap<u64, Vec<Key>> = BTreeMap::new();
    for key in rows {
        keys.entry(number_in(writer, key.first_sequence)?).or_default().push(key);
    }
    Ok(keys)
}

/// The last decision of a writer's last chapter, and the last one of all; `None`: it has recorded nothing.
pub(super) async fn indexed(connection: &mut Connection, writer: &str) -> Result<Option<(u64, u64)>, Error> {
    let indexed: Option<(i64, i64)> =
        sqlx::query_as("select indexed, sequence from decision_writers where writer = $1")
            .bind(writer)
            .fetch_optional(connection)
            .await
            .map_err(query_error)?;
    indexed.map(|(indexed, last)| Ok((number_in(writer, indexed)?, number_in(writer, last)?))).transpose()
}

/// The first decision of a writer's next chapter after a decision.
pub(super) async fn next_chapter(connection: &mut Connection, writer: &str, after: u64) -> Result<Option<u64>, Error> {
    let next: Option<i64> =
        sqlx::query_scalar("select min(first_sequence) from decision_keys where writer = $1 and first_sequence > $2")
            .bind(writer)
            .bind(number_out(after))
            .fetch_one(connection)
            .await
            .map_err(query_error)?;
    next.map(|next| number_in(writer, next)).transpose()
}

/// Writers with decisions that are in no chapter yet, and the last one that is.
pub(super) async fn unindexed(connection: &mut Connection) -> Result<Vec<(String, i64)>, Error> {
    sqlx::query_as("select writer, indexed from decision_writers where sequence > indexed")
        .fetch_all(connection)
        .await
        .map_err(query_error)
}

/// The first decision and the time of segments of a writer, in order, from after a decision on.
pub(super) async fn tail(
    connection: &mut Connection,
    writer: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, i64)>, Error> {
    sqlx::query_as(
        "select first_sequence, last_time from decision_segments
         where writer = $1 and first_sequence > $2 order by first_sequence limit $3",
    )
    .bind(writer)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

/// The writers of segments, whether anybody knows how far their chains go or not.
pub(super) async fn segment_writers(connection: &mut Connection) -> Result<Vec<String>, Error> {
    sqlx::query_scalar("select distinct writer from decision_segments order by writer")
        .fetch_all(connection)
        .await
        .map_err(query_error)
}

/// How many keys lead to no segment.
pub(super) async fn stray_keys(connection: &mut Connection) -> Result<i64, Error> {
    sqlx::query_scalar(
        "select count(*) from decision_keys k where not exists
             (select 1 from decision_segments s where s.writer = k.writer and s.first_sequence = k.first_sequence)",
    )
    .fetch_one(connection)
    .await
    .map_err(query_error)
}

/// The segment that has a decision of a writer, if any has.
pub(super) async fn segment_of(
    connection: &mut Connection,
    writer: &str,
    sequence: u64,
) -> Result<Option<Segment>, Error> {
    let segments = segments(
        connection,
        "select first_sequence, last_sequence, last_time, hash, body from decision_segments
         where writer = $1 and first_sequence <= $2 order by first_sequence desc limit $3",
        writer,
        sequence,
        1,
    );
    Ok(segments.await?.pop().filter(|segment| segment.last >= sequence))
}

/// Segments of a writer from a decision on, in order.
pub(super) async fn segments_from(
    connection: &mut Connection,
    writer: &str,
    sequence: u64,
    limit: i64,
) -> Result<Vec<Segment>, Error> {
    segments(
        connection,
        "select first_sequence, last_sequence, last_time, hash, body from decision_segments
         where writer = $1 and last_sequence >= $2
             -- The segment that it is in, found by the key: no index knows where segments end.
             and first_sequence >= coalesce((select max(first_sequence) from decision_segments
                                             where writer = $1 and first_sequence <= $2), 0)
         order by first_sequence limit $3",
        writer,
        sequence,
        limit,
    )
    .await
}

/// The segments at the beginning of a writer's chain, without what is in them.
pub(super) async fn ends(connection: &mut Connection, writer: &str, limit: i64) -> Result<Vec<End>, Error> {
    let rows: Vec<(i64, i64, Vec<u8>, i64)> = sqlx::query_as(
        "select first_sequence, last_sequence, hash, last_time from decision_segments where writer = $1 order by first_sequence limit $2",
    )
    .bind(writer)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(query_error)?;
    let end = |(first, last, hash, last_time): (i64, i64, Vec<u8>, i64)| {
        let head = Head { sequence: number_in(writer, last)?, hash: hash_in(writer, hash)? };
        Ok(End { first: number_in(writer, first)?, head, last_time })
    };
    rows.into_iter().map(end).collect()
}

async fn segments(
    connection: &mut Connection,
    select: &'static str,
    writer: &str,
    sequence: u64,
    limit: i64,
) -> Result<Vec<Segment>, Error> {
    type Row = (i64, i64, i64, Vec<u8>, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(select)
        .bind(writer)
        .bind(number_out(sequence))
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(query_error)?;
    let segment = |(first, last, last_time, hash, body): Row| {
        let (first, last) = (number_in(writer, first)?, number_in(writer, last)?);
        Ok(Segment { first, last, last_time, hash: hash_in(writer, hash)?, body })
    };
    rows.into_iter().map(segment).collect()
}

/// Cuts the beginning of a chain off, up to a head; false where somebody else has cut as much already.
pub(super) async fn cut(connection: &mut Connection, writer: &str, upto: &Head) -> Result<bool, Error> {
    // First, so that of two who cut at once the second waits here and finds that there is nothing left to do.
    let moved = sqlx::query(
        "update decision_writers set pruned_sequence = $1, pruned_hash = $2,
             indexed = case when indexed < $1 then $1 else indexed end
         where writer = $3 and pruned_sequence < $1",
    )
    .bind(number_out(upto.sequence))
    .bind(upto.hash.0.to_vec())
    .bind(writer)
    .execute(&mut *connection)
    .await
    .map_err(query_error)?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    for statement in [
        "delete from decision_keys where writer = $1 and first_sequence <= $2",
        "delete from decision_segments where writer = $1 and last_sequence <= $2",
    ] {
        sqlx::query(statement)
            .bind(writer)
            .bind(number_out(upto.sequence))
            .execute(&mut *connection)
            .await
            .map_err(query_error)?;
    }
    Ok(true)
}
