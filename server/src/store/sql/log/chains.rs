//! The SQL of chains: writers, segments, and the keys that find them.

use std::collections::{BTreeMap, BTreeSet};

use super::segment::Head;
use crate::{
    decisions::Hash,
    store::{
        Error,
        sql::{Connection, failed, many::Many},
    },
};

/// A chain as the database knows it.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) name: String,
    pub(super) head: Head,
    pub(super) pruned: Head,
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

/// Where a segment is found.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Found {
    pub(super) last_time: i64,
    pub(super) writer: String,
    pub(super) first_sequence: i64,
    pub(super) body: Vec<u8>,
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
        .map_err(failed)?;
    head.map(|(sequence, hash)| Ok(Head { sequence: number_in(writer, sequence)?, hash: hash_in(writer, hash)? }))
        .transpose()
}

/// Moves the head of a chain on; false where it is not where it was, so that the chain is not the one that it was.
pub(super) async fn move_head(
    connection: &mut Connection,
    writer: &str,
    from: &Head,
    to: &Head,
) -> Result<bool, Error> {
    let moved = if from.sequence == 0 {
        sqlx::query(
            "insert into decision_writers (writer, pruned_sequence, pruned_hash, sequence, hash)
             values ($1, $2, $3, $4, $5) on conflict (writer) do nothing",
        )
    } else {
        sqlx::query(
            "update decision_writers set sequence = $4, hash = $5 where writer = $1 and sequence = $2 and hash = $3",
        )
    };
    let moved = moved
        .bind(writer)
        .bind(number_out(from.sequence))
        .bind(from.hash.0.to_vec())
        .bind(number_out(to.sequence))
        .bind(to.hash.0.to_vec())
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(moved.rows_affected() == 1)
}

pub(super) async fn writers(connection: &mut Connection) -> Result<Vec<Writer>, Error> {
    type Row = (String, i64, Vec<u8>, i64, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(
        "select writer, sequence, hash, pruned_sequence, pruned_hash from decision_writers order by writer",
    )
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let writer = |(name, sequence, hash, pruned_sequence, pruned_hash): Row| {
        let head = Head { sequence: number_in(&name, sequence)?, hash: hash_in(&name, hash)? };
        let pruned = Head { sequence: number_in(&name, pruned_sequence)?, hash: hash_in(&name, pruned_hash)? };
        Ok(Writer { name, head, pruned })
    };
    rows.into_iter().map(writer).collect()
}

pub(super) async fn put_segment(connection: &mut Connection, writer: &str, segment: &Segment) -> Result<(), Error> {
    sqlx::query(
        "insert into decision_segments (writer, first_sequence, last_sequence, last_time, hash, body)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(writer)
    .bind(number_out(segment.first))
    .bind(number_out(segment.last))
    .bind(segment.last_time)
    .bind(segment.hash.0.to_vec())
    .bind(segment.body.clone())
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(failed)
}

pub(super) async fn put_keys(
    connection: &mut Connection,
    writer: &str,
    segment: &Segment,
    keys: &BTreeSet<(&'static str, String)>,
) -> Result<(), Error> {
    let insert = "insert into decision_keys (kind, name, last_time, writer, first_sequence)
        select value ->> 0, value ->> 1, $2, $3, $4 from {rows}";
    Many::of(connection, insert, keys)?
        .query()
        .bind(segment.last_time)
        .bind(writer.to_owned())
        .bind(number_out(segment.first))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// The keys of a writer's segments, from one to another, by the segment's first decision, each with its time.
pub(super) async fn keys_of(
    connection: &mut Connection,
    writer: &str,
    from: u64,
    to: u64,
) -> Result<BTreeMap<u64, BTreeSet<(String, String, i64)>>, Error> {
    let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(
        "select first_sequence, kind, name, last_time from decision_keys
         where writer = $1 and first_sequence >= $2 and first_sequence <= $3",
    )
    .bind(writer)
    .bind(number_out(from))
    .bind(number_out(to))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut keys: BTreeMap<u64, BTreeSet<_>> = BTreeMap::new();
    for (first, kind, name, last_time) in rows {
        keys.entry(number_in(writer, first)?).or_default().insert((kind, name, last_time));
    }
    Ok(keys)
}

/// The writers of segments, whether anybody knows how far their chains go or not.
pub(super) async fn segment_writers(connection: &mut Connection) -> Result<Vec<String>, Error> {
    sqlx::query_scalar("select distinct writer from decision_segments order by writer")
        .fetch_all(connection)
        .await
        .map_err(failed)
}

/// How many keys lead to no segment.
pub(super) async fn stray_keys(connection: &mut Connection) -> Result<i64, Error> {
    sqlx::query_scalar(
        "select count(*) from decision_keys k where not exists
             (select 1 from decision_segments s where s.writer = k.writer and s.first_sequence = k.first_sequence)",
    )
    .fetch_one(connection)
    .await
    .map_err(failed)
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
    .map_err(failed)?;
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
        .map_err(failed)?;
    let segment = |(first, last, last_time, hash, body): Row| {
        let (first, last) = (number_in(writer, first)?, number_in(writer, last)?);
        Ok(Segment { first, last, last_time, hash: hash_in(writer, hash)?, body })
    };
    rows.into_iter().map(segment).collect()
}

/// Segments with something of that name, newest first, from a place on.
pub(super) async fn found(
    connection: &mut Connection,
    (kind, name): (&str, &str),
    from: (i64, &str, i64),
    since: i64,
    limit: i64,
) -> Result<Vec<Found>, Error> {
    sqlx::query_as(
        "select k.last_time, k.writer, k.first_sequence, s.body from decision_keys k
         join decision_segments s on s.writer = k.writer and s.first_sequence = k.first_sequence
         where k.kind = $1 and k.name = $2 and (k.last_time, k.writer, k.first_sequence) <= ($3, $4, $5)
             and k.last_time >= $6
         order by k.last_time desc, k.writer desc, k.first_sequence desc limit $7",
    )
    .bind(kind)
    .bind(name)
    .bind(from.0)
    .bind(from.1)
    .bind(from.2)
    .bind(since)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(failed)
}

/// Cuts the beginning of a chain off, up to a head; false where somebody else has cut as much already.
pub(super) async fn cut(connection: &mut Connection, writer: &str, upto: &Head) -> Result<bool, Error> {
    // First, so that of two who cut at once the second waits here and finds that there is nothing left to do.
    let moved = sqlx::query(
        "update decision_writers set pruned_sequence = $1, pruned_hash = $2 where writer = $3 and pruned_sequence < $1",
    )
    .bind(number_out(upto.sequence))
    .bind(upto.hash.0.to_vec())
    .bind(writer)
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
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
            .map_err(failed)?;
    }
    Ok(true)
}
