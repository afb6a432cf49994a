//! The SQL of requests: a decision is given once for each.

use std::collections::{BTreeMap, BTreeSet};

use super::segment_table::{number_in, number_out};
use crate::idempotency::RequestKey;
use crate::sql::{Connection, Error, JsonRows, query_error};

/// Requests that one batch forgets.
const FORGOTTEN_AT_ONCE: i64 = 4_096;

/// A request that was answered before.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) fingerprint: String,
    pub(super) writer: String,
    pub(super) sequence: u64,
}

/// A request as it is remembered.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Remembered {
    pub(super) id: String,
    pub(super) fingerprint: String,
    pub(super) writer: String,
    pub(super) sequence: i64,
    pub(super) expire_time: i64,
}

/// Claims requests, each once and in the order of their ids, so that two servers that claim the same ones do not wait for each
/// other; returns those that are taken, and by what.
pub(super) async fn claim(
    connection: &mut Connection,
    requests: &BTreeMap<&str, &RequestKey>,
    writer: &str,
    expire_time: i64,
    now: i64,
) -> Result<BTreeMap<String, Request>, Error> {
    if requests.is_empty() {
        return Ok(BTreeMap::new());
    }
    let insert = "insert into decision_requests (id, fingerprint, writer, sequence, expire_time)
        select value ->> 0, value ->> 1, $2, 0, $3 from {rows} where true order by value ->> 0
        on conflict (id) do update set fingerprint = excluded.fingerprint, writer = excluded.writer, sequence = 0,
            expire_time = excluded.expire_time where decision_requests.expire_time <= $4
        returning id";
    let rows = requests.values().map(|request| (&request.id, &request.fingerprint));
    let claimed: Vec<(String,)> = JsonRows::new(connection, insert, rows)?
        .query_as()
        .bind(writer.to_owned())
        .bind(expire_time)
        .bind(now)
        .fetch_all(&mut *connection)
        .await
        .map_err(query_error)?;
    let claimed: BTreeSet<&str> = claimed.iter().map(|(id,)| id.as_str()).collect();
    let mut taken = BTreeMap::new();
    for id in requests.keys().filter(|id| !claimed.contains(**id)) {
        if let Some(by) = answered(connection, id, now).await? {
            taken.insert((*id).to_owned(), by);
        }
    }
    Ok(taken)
}

/// Notes which decisions claimed requests got.
pub(super) async fn number(connection: &mut Connection, numbered: &[(&str, u64)]) -> Result<(), Error> {
    if numbered.is_empty() {
        return Ok(());
    }
    let update = "update decision_requests set sequence = cast(value ->> 1 as bigint) from {rows} where decision_requests.id = value ->> 0";
    let rows = numbered.iter().map(|(id, sequence)| (*id, number_out(*sequence)));
    JsonRows::new(connection, update, rows)?.query().execute(connection).await.map(|_| ()).map_err(query_error)
}

pub(super) async fn answered(connection: &mut Connection, id: &str, now: i64) -> Result<Option<Request>, Error> {
    let row: Option<(String, String, i64)> = sqlx::query_as(
        "select fingerprint, writer, sequence from decision_requests where id = $1 and expire_time > $2",
    )
    .bind(id)
    .bind(now)
    .fetch_optional(connection)
    .await
    .map_err(query_error)?;
    row.map(|(fingerprint, writer, sequence)| {
        Ok(Request { fingerprint, writer, sequence: number_in("a request", sequence)? })
    })
    .transpose()
}

/// Forgets requests that have expired, at most so many, so that the batch after a busy day does not pay for all of it.
pub(super) async fn forget(connection: &mut Connection, now: i64) -> Result<(), Error> {
    sqlx::query(
        "delete from decision_requests where id in
             (select id from decision_requests where expire_time <= $1 order by expire_time limit $2)",
    )
    .bind(now)
    .bind(FORGOTTEN_AT_ONCE)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(query_error)
}

pub(super) async fn remembered(connection: &mut Connection) -> Result<Vec<Remembered>, Error> {
    sqlx::query_as("select id, fingerprint, writer, sequence, expire_time from decision_requests")
        .fetch_all(connection)
        .await
        .map_err(query_error)
}
