//! The SQL of idempotency keys: a request that is sent again leads to the result of the first one. One table serves every kind of
//! request; each key has the window of its use.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::RequestKey;
use crate::sql::{Connection, Error, JsonRows, query_error};

/// Maximum number of expired keys that one transaction deletes. It adds at most as many, so that they cannot pile up.
const MAX_EXPIRED_BATCH_SIZE: i64 = 4_096;

/// A kind of request. Equal ids of two kinds are different requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A write of policies or waivers.
    Write,
    /// A decision.
    Decision,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Decision => "decision",
        }
    }
}

/// The result that a request leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The writer of a decision; empty for a write of policies or waivers.
    pub(crate) writer: String,
    /// The sequence number of a decision, or the revision of a write.
    pub(crate) sequence: u64,
}

/// A key to claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) key: &'a RequestKey,
    /// The writer and sequence number of the decision that the key may stand for so far.
    pub(crate) supersedes: Option<(&'a str, u64)>,
}

/// A stored key.
#[derive(Clone, Debug)]
pub(crate) struct StoredRequest {
    pub(crate) id: String,
    pub(crate) fingerprint: String,
    pub(crate) target: Target,
    pub(crate) expire_time: i64,
}

type Row = (String, String, String, i64, i64);

impl StoredRequest {
    fn from_row((id, fingerprint, writer, sequence, expire_time): Row) -> Result<Self, Error> {
        let sequence = u64::try_from(sequence)
            .map_err(|source| Error::Corrupt { what: format!("request {id:?}"), source: source.into() })?;
        Ok(Self { id, fingerprint, target: Target { writer, sequence }, expire_time })
    }
}

/// Claims keys and returns those that are taken, by their id. A key is free if it is unknown or expired, or if it stands for the
/// decision that the claim supersedes. Claims are made in the order of ids, so that two servers with the same keys cannot deadlock.
pub(crate) async fn claim(
    connection: &mut Connection,
    kind: Kind,
    claims: &BTreeMap<&str, Claim<'_>>,
    now: Timestamp,
) -> Result<BTreeMap<String, StoredRequest>, Error> {
    if claims.is_empty() {
        return Ok(BTreeMap::new());
    }
    // Until `set_targets`, a row holds the superseded decision. Sequence 0 is that of none.
    let insert = "insert into requests (kind, id, fingerprint, writer, sequence, expire_time)
        select $2, value ->> 0, value ->> 1, value ->> 2, cast(value ->> 3 as bigint), cast(value ->> 4 as bigint)
        from {rows} where true order by value ->> 0
        on conflict (kind, id) do update set fingerprint = excluded.fingerprint, expire_time = excluded.expire_time
            where requests.expire_time <= $3 or (requests.fingerprint = excluded.fingerprint
                and requests.writer = excluded.writer and requests.sequence = excluded.sequence)
        returning id";
    let rows = claims.values().map(|Claim { key, supersedes }| {
        let (writer, sequence) = supersedes.unwrap_or(("", 0));
        (&key.id, &key.fingerprint, writer, to_i64(sequence), key.expire_micros(now))
    });
    let now = now.as_microsecond();
    let claimed: Vec<(String,)> = JsonRows::new(connection, insert, rows)?
        .query_as()
        .bind(kind.name())
        .bind(now)
        .fetch_all(&mut *connection)
        .await
        .map_err(query_error)?;
    let claimed: BTreeSet<&str> = claimed.iter().map(|(id,)| id.as_str()).collect();
    let mut taken = BTreeMap::new();
    for id in claims.keys().filter(|id| !claimed.contains(**id)) {
        if let Some(request) = find(connection, kind, id, now).await? {
            taken.insert((*id).to_owned(), request);
        }
    }
    Ok(taken)
}

/// Stores the results of a writer that claimed keys now lead to, and deletes a batch of expired keys.
pub(crate) async fn set_targets(
    connection: &mut Connection,
    kind: Kind,
    writer: &str,
    sequences: &[(&str, u64)],
    now: Timestamp,
) -> Result<(), Error> {
    if !sequences.is_empty() {
        let update = "update requests set writer = $2, sequence = cast(value ->> 1 as bigint) from {rows}
            where requests.kind = $3 and requests.id = value ->> 0";
        let rows = sequences.iter().map(|(id, sequence)| (*id, to_i64(*sequence)));
        let update = JsonRows::new(connection, update, rows)?.query().bind(writer.to_owned()).bind(kind.name());
        update.execute(&mut *connection).await.map_err(query_error)?;
    }
    sqlx::query(
        "delete from requests where kind = $1 and id in
             (select id from requests where kind = $1 and expire_time <= $2 order by expire_time limit $3)",
    )
    .bind(kind.name())
    .bind(now.as_microsecond())
    .bind(MAX_EXPIRED_BATCH_SIZE)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(query_error)
}

/// Returns a key that has not expired at an instant, in microseconds.
pub(crate) async fn find(
    connection: &mut Connection,
    kind: Kind,
    id: &str,
    now: i64,
) -> Result<Option<StoredRequest>, Error> {
    let row: Option<Row> = sqlx::query_as(
        "select id, fingerprint, writer, sequence, expire_time from requests
         where kind = $1 and id = $2 and expire_time > $3",
    )
    .bind(kind.name())
    .bind(id)
    .bind(now)
    .fetch_optional(connection)
    .await
    .map_err(query_error)?;
    row.map(StoredRequest::from_row).transpose()
}

/// Loads every key of a kind, expired ones included.
pub(crate) async fn load_all(connection: &mut Connection, kind: Kind) -> Result<Vec<StoredRequest>, Error> {
    let rows: Vec<Row> =
        sqlx::query_as("select id, fingerprint, writer, sequence, expire_time from requests where kind = $1")
            .bind(kind.name())
            .fetch_all(connection)
            .await
            .map_err(query_error)?;
    // A damaged number is that of no decision, so that verification can report the key.
    let sanitise =
        |(id, fingerprint, writer, sequence, expire_time): Row| (id, fingerprint, writer, sequence.max(0), expire_time);
    rows.into_iter().map(sanitise).map(StoredRequest::from_row).collect()
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
