//! The SQL of idempotency keys: a request that is sent again gets the decision recorded for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::segment_table::{from_u64, to_u64};
use crate::{
    decision_log::DecisionId,
    idempotency::RequestKey,
    sql::{Connection, Error, JsonRows, query_error},
};

/// Maximum number of expired keys that one batch deletes.
const MAX_EXPIRED_BATCH_SIZE: i64 = 4_096;

/// A key to claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) key: &'a RequestKey,
    /// The decision that the key may stand for so far.
    pub(super) supersedes: Option<&'a DecisionId>,
}

/// A key claimed before and the decision that it stands for.
#[derive(Clone, Debug)]
pub(super) struct ClaimedRequest {
    pub(super) fingerprint: String,
    pub(super) writer: String,
    pub(super) sequence: u64,
}

/// A stored key.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct RequestRow {
    pub(super) id: String,
    pub(super) fingerprint: String,
    pub(super) writer: String,
    pub(super) sequence: i64,
    pub(super) expire_time: i64,
}

/// Claims keys and returns those that are taken, by their id. A key is free if it is unknown or expired, or if it stands for the
/// decision that the claim supersedes. Claims are made in the order of ids, so that two servers with the same keys cannot deadlock.
pub(super) async fn claim(
    connection: &mut Connection,
    claims: &BTreeMap<&str, Claim<'_>>,
    now: Timestamp,
) -> Result<BTreeMap<String, ClaimedRequest>, Error> {
    if claims.is_empty() {
        return Ok(BTreeMap::new());
    }
    // Until `set_decisions`, a row holds the superseded decision. Sequence 0 is that of none.
    let insert = "insert into decision_requests (id, fingerprint, writer, sequence, expire_time)
        select value ->> 0, value ->> 1, value ->> 2, cast(value ->> 3 as bigint), cast(value ->> 4 as bigint)
        from {rows} where true order by value ->> 0
        on conflict (id) do update set fingerprint = excluded.fingerprint, expire_time = excluded.expire_time
            where decision_requests.expire_time <= $2 or (decision_requests.fingerprint = excluded.fingerprint
                and decision_requests.writer = excluded.writer and decision_requests.sequence = excluded.sequence)
        returning id";
    let rows = claims.values().map(|Claim { key, supersedes }| {
        let (writer, sequence) = supersedes.map_or(("", 0), |id| (&*id.writer, from_u64(id.sequence)));
        (&key.id, &key.fingerprint, writer, sequence, key.expire_micros(now))
    });
    let now = now.as_microsecond();
    let claimed: Vec<(String,)> = JsonRows::new(connection, insert, rows)?
        .query_as()
        .bind(now)
        .fetch_all(&mut *connection)
        .await
        .map_err(query_error)?;
    let claimed: BTreeSet<&str> = claimed.iter().map(|(id,)| id.as_str()).collect();
    let mut stored = BTreeMap::new();
    for id in claims.keys().filter(|id| !claimed.contains(**id)) {
        if let Some(request) = find(connection, id, now).await? {
            stored.insert((*id).to_owned(), request);
        }
    }
    Ok(stored)
}

/// Stores the decisions of a writer that claimed keys now stand for.
pub(super) async fn set_decisions(
    connection: &mut Connection,
    writer: &str,
    sequences: &[(&str, u64)],
) -> Result<(), Error> {
    if sequences.is_empty() {
        return Ok(());
    }
    let update = "update decision_requests set writer = $2, sequence = cast(value ->> 1 as bigint) from {rows}
        where decision_requests.id = value ->> 0";
    let rows = sequences.iter().map(|(id, sequence)| (*id, from_u64(*sequence)));
    let update = JsonRows::new(connection, update, rows)?.query().bind(writer.to_owned());
    update.execute(connection).await.map(|_| ()).map_err(query_error)
}

pub(super) async fn find(connection: &mut Connection, id: &str, now: i64) -> Result<Option<ClaimedRequest>, Error> {
    let row: Option<(String, String, i64)> = sqlx::query_as(
        "select fingerprint, writer, sequence from decision_requests where id = $1 and expire_time > $2",
    )
    .bind(id)
    .bind(now)
    .fetch_optional(connection)
    .await
    .map_err(query_error)?;
    row.map(|(fingerprint, writer, sequence)| {
        Ok(ClaimedRequest { fingerprint, writer, sequence: to_u64("a request", sequence)? })
    })
    .transpose()
}

/// Deletes a batch of expired keys, to bound the cost of one commit.
pub(super) async fn delete_expired(connection: &mut Connection, now: i64) -> Result<(), Error> {
    sqlx::query(
        "delete from decision_requests where id in
             (select id from decision_requests where expire_time <= $1 order by expire_time limit $2)",
    )
    .bind(now)
    .bind(MAX_EXPIRED_BATCH_SIZE)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(query_error)
}

pub(super) async fn load_all(connection: &mut Connection) -> Result<Vec<RequestRow>, Error> {
    sqlx::query_as("select id, fingerprint, writer, sequence, expire_time from decision_requests")
        .fetch_all(connection)
        .await
        .map_err(query_error)
}
