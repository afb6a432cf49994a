//! The SQL of idempotency keys: a request that is sent again leads to the result of the first one. One table serves every kind of
//! request; each key has the window of its use.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Key, RequestKey};
use crate::sql::{Connection, Dialect, Error, FromRow, Row, RowStatement, Value, row_statement, values};

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
    pub(crate) caller: String,
    pub(crate) id: String,
    pub(crate) fingerprint: String,
    /// The writer of the decision that it leads to; empty for a write of policies or waivers.
    pub(crate) writer: String,
    /// The sequence number of the decision, or the revision of the write.
    pub(crate) sequence: u64,
    pub(crate) expire_time: i64,
}

impl FromRow for StoredRequest {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        let sequence: i64 = row.get(4)?;
        // A damaged number is that of no decision.
        let sequence = u64::try_from(sequence).unwrap_or_default();
        let (caller, id, fingerprint, writer) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Self { caller, id, fingerprint, writer, sequence, expire_time: row.get(5)? })
    }
}

/// Until [`set_targets`], a row holds the superseded decision. Sequence 0 is that of none.
const CLAIM: RowStatement = row_statement!(
    "insert into requests (kind, caller, id, fingerprint, writer, sequence, expire_time)
     select $7, caller, id, fingerprint, writer, sequence, expire_time from",
    (1 caller text, 2 id text, 3 fingerprint text, 4 writer text, 5 sequence bigint, 6 expire_time bigint),
    "where true
     on conflict (id, caller, kind) do update set fingerprint = excluded.fingerprint, expire_time = excluded.expire_time
         where requests.expire_time <= $8 or (requests.fingerprint = excluded.fingerprint
             and requests.writer = excluded.writer and requests.sequence = excluded.sequence)
     returning caller, id"
);
/// Updates claimed rows. An insertion with a conflict finds them by the index for certain: the plan of an update with a join can
/// date from when the table was small, and then reads the whole table. The conflict is certain: until the transaction ends, no
/// other one deletes a row that [`CLAIM`] has inserted or found, since PostgreSQL locks both, and SQLite has one writer.
const SET_TARGETS: RowStatement = row_statement!(
    "insert into requests (kind, caller, id, fingerprint, writer, sequence, expire_time)
     select $4, caller, id, '', $5, sequence, 0 from",
    (1 caller text, 2 id text, 3 sequence bigint),
    "where true on conflict (id, caller, kind) do update set writer = excluded.writer, sequence = excluded.sequence"
);

/// Deletes a batch of expired keys.
const DELETE_EXPIRED: &str = "delete from requests where rowid in
    (select rowid from requests where kind = $1 and expire_time <= $2 order by expire_time limit $3)";
/// PostgreSQL skips the rows that another server claims or deletes: two servers could wait for each other, and a key that was
/// claimed meanwhile would be deleted.
const DELETE_EXPIRED_UNLOCKED: &str = "delete from requests where ctid = any (array(
    select ctid from requests where kind = $1 and expire_time <= $2 order by expire_time limit $3 for update skip locked))";

/// Claims keys and returns those that are taken. A key is free if it is unknown or expired, or if it stands for the decision that
/// the claim supersedes. Claims are made in the order of keys, so that two servers with the same keys cannot deadlock.
pub(crate) async fn claim<'a>(
    connection: &mut Connection,
    kind: Kind,
    claims: &BTreeMap<Key<'a>, Claim<'a>>,
    now: Timestamp,
) -> Result<BTreeMap<Key<'a>, StoredRequest>, Error> {
    let rows: Vec<[Value<'_>; 6]> = claims
        .values()
        .map(|Claim { key, supersedes }| {
            let (writer, sequence) = supersedes.unwrap_or(("", 0));
            values![&key.caller, &key.id, &key.fingerprint, writer, sequence, key.expire_micros(now)]
        })
        .collect();
    let now = now.as_microsecond();
    let claimed: Vec<(String, String)> = connection.query_each(CLAIM, &rows, &values![kind.name(), now]).await?;
    let claimed: BTreeSet<Key<'_>> = claimed.iter().map(|(caller, id)| (caller.as_str(), id.as_str())).collect();
    let mut taken = BTreeMap::new();
    for key in claims.keys().filter(|key| !claimed.contains(*key)) {
        if let Some(request) = find(connection, kind, *key, now).await? {
            taken.insert(*key, request);
        }
    }
    Ok(taken)
}

/// Stores the results of a writer that claimed keys now lead to, and deletes a batch of expired keys.
pub(crate) async fn set_targets(
    connection: &mut Connection,
    kind: Kind,
    writer: &str,
    sequences: &[(Key<'_>, u64)],
    now: Timestamp,
) -> Result<(), Error> {
    let rows: Vec<[Value<'_>; 3]> =
        sequences.iter().map(|((caller, id), sequence)| values![*caller, *id, *sequence]).collect();
    connection.execute_each(SET_TARGETS, &rows, &values![kind.name(), writer]).await?;
    let delete = match connection.dialect() {
        Dialect::Sqlite => DELETE_EXPIRED,
        Dialect::Postgres => DELETE_EXPIRED_UNLOCKED,
    };
    connection.execute(delete, &values![kind.name(), now.as_microsecond(), MAX_EXPIRED_BATCH_SIZE]).await?;
    Ok(())
}

/// Returns a key that has not expired at an instant, in microseconds.
pub(crate) async fn find(
    connection: &mut Connection,
    kind: Kind,
    (caller, id): Key<'_>,
    now: i64,
) -> Result<Option<StoredRequest>, Error> {
    let select = "select caller, id, fingerprint, writer, sequence, expire_time from requests
        where kind = $1 and caller = $2 and id = $3 and expire_time > $4";
    connection.query_optional(select, &values![kind.name(), caller, id, now]).await
}

/// Loads every key of a kind, expired ones included.
pub(crate) async fn load_all(connection: &mut Connection, kind: Kind) -> Result<Vec<StoredRequest>, Error> {
    let select = "select caller, id, fingerprint, writer, sequence, expire_time from requests where kind = $1";
    connection.query(select, &values![kind.name()]).await
}
