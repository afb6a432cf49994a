//! The one transaction that changes policies: the change, its history, the request that asked for it and the new revision,
//! all or nothing.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    name::PolicyId,
    policy::{Policy, Revised},
};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::{
    Error, Write, Written,
    row::{self, Stored, corrupt},
    unavailable,
};
use crate::store::{Change, Expected, MAX_POLICIES, Request};

/// How long a request is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// Gives a new store its first revision and the default policy.
pub(super) async fn seed(pool: &SqlitePool) -> Result<(), Error> {
    let mut transaction = begin(pool).await?;
    let seeded = sqlx::query("insert into store_revision (id, revision) values (1, 0) on conflict do nothing")
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    if seeded.rows_affected() == 0 {
        return Ok(());
    }
    let policy = Policy::built_in_default().map_err(|error| corrupt("the built-in default policy", error))?;
    change(&mut transaction, Change::Create(policy), Timestamp::now()).await?;
    transaction.commit().await.map_err(unavailable)
}

/// Applies a change; returns once it is on the disk.
pub(super) async fn apply(pool: &SqlitePool, write: Write) -> Result<Written, Error> {
    let mut transaction = begin(pool).await?;
    if let Some(request) = &write.request
        && let Some(before) = replay(&mut transaction, request, write.at).await?
    {
        return Ok(before);
    }
    let written = change(&mut transaction, write.change, write.at).await?;
    if let Some(request) = &write.request {
        remember(&mut transaction, request, written.revision, write.at).await?;
    }
    transaction.commit().await.map_err(unavailable)?;
    Ok(written)
}

/// Takes the right to write at once: a transaction that reads first and writes later could fail in between.
async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>, Error> {
    pool.begin_with("begin immediate").await.map_err(unavailable)
}

async fn change(connection: &mut SqliteConnection, change: Change, at: Timestamp) -> Result<Written, Error> {
    match change {
        Change::Create(policy) => {
            if find(connection, &policy.id).await?.is_some() {
                return Err(Error::AlreadyExists(policy.id));
            }
            check_room(connection).await?;
            let revision = next_revision(connection).await?;
            put(connection, &policy, revision, at, at).await
        }
        Change::Update { policy, expected } => {
            let old = expect(connection, &policy.id, expected).await?;
            let revision = next_revision(connection).await?;
            put(connection, &policy, revision, old.create_time, at).await
        }
        Change::Delete { id, .. } if id.is_default() => Err(Error::DefaultRequired),
        Change::Delete { id, expected } => {
            expect(connection, &id, expected).await?;
            let revision = next_revision(connection).await?;
            remove(connection, &id, revision, at).await
        }
    }
}

/// What the request was answered before, where it was.
async fn replay(connection: &mut SqliteConnection, request: &Request, at: Timestamp) -> Result<Option<Written>, Error> {
    sqlx::query("delete from requests where expire_time <= $1")
        .bind(at.as_microsecond())
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    let known: Option<(String, i64)> = sqlx::query_as("select fingerprint, revision from requests where id = $1")
        .bind(&request.id)
        .fetch_optional(&mut *connection)
        .await
        .map_err(unavailable)?;
    let Some((fingerprint, revision)) = known else { return Ok(None) };
    if fingerprint != request.fingerprint {
        return Err(Error::RequestIdReused);
    }
    let written: Option<Stored> = sqlx::query_as(
        "select policy_id as id, revision, body, content_digest, create_time, write_time as update_time \
         from policy_revisions where revision = $1 and body is not null",
    )
    .bind(revision)
    .fetch_optional(&mut *connection)
    .await
    .map_err(unavailable)?;
    let policy = written.map(Stored::read).transpose()?.map(Arc::new);
    Ok(Some(Written { revision: row::revision(revision)?, policy }))
}

async fn remember(
    connection: &mut SqliteConnection,
    request: &Request,
    revision: u64,
    at: Timestamp,
) -> Result<(), Error> {
    let expires = at.checked_add(REMEMBERED).unwrap_or(Timestamp::MAX);
    sqlx::query("insert into requests (id, fingerprint, revision, expire_time) values ($1, $2, $3, $4)")
        .bind(&request.id)
        .bind(&request.fingerprint)
        .bind(i64::try_from(revision).unwrap_or(i64::MAX))
        .bind(expires.as_microsecond())
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

async fn find(connection: &mut SqliteConnection, id: &PolicyId) -> Result<Option<Revised>, Error> {
    let found: Option<Stored> = sqlx::query_as(
        "select id, revision, body, content_digest, create_time, update_time from policies where id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *connection)
    .await
    .map_err(unavailable)?;
    found.map(Stored::read).transpose()
}

async fn expect(connection: &mut SqliteConnection, id: &PolicyId, expected: Expected) -> Result<Revised, Error> {
    let found = find(connection, id).await?.ok_or_else(|| Error::NotFound(id.clone()))?;
    match expected {
        Expected::Revision(revision) if revision != found.revision => {
            Err(Error::Conflict { id: id.clone(), actual: found.revision })
        }
        Expected::Revision(_) | Expected::Any => Ok(found),
    }
}

async fn check_room(connection: &mut SqliteConnection) -> Result<(), Error> {
    let held: i64 =
        sqlx::query_scalar("select count(*) from policies").fetch_one(&mut *connection).await.map_err(unavailable)?;
    if u64::try_from(held).is_ok_and(|held| held < MAX_POLICIES) { Ok(()) } else { Err(Error::TooManyPolicies) }
}

async fn next_revision(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let next = sqlx::query_scalar("update store_revision set revision = revision + 1 where id = 1 returning revision")
        .fetch_one(&mut *connection)
        .await
        .map_err(unavailable)?;
    row::revision(next)
}

async fn put(
    connection: &mut SqliteConnection,
    policy: &Policy,
    revision: u64,
    created: Timestamp,
    updated: Timestamp,
) -> Result<Written, Error> {
    let stored = Stored::new(policy, revision, created, updated)?;
    sqlx::query(
        "insert into policies (id, revision, body, content_digest, create_time, update_time) \
         values ($1, $2, $3, $4, $5, $6) \
         on conflict (id) do update set revision = excluded.revision, body = excluded.body, \
         content_digest = excluded.content_digest, update_time = excluded.update_time",
    )
    .bind(&stored.id)
    .bind(stored.revision)
    .bind(&stored.body)
    .bind(&stored.content_digest)
    .bind(stored.create_time)
    .bind(stored.update_time)
    .execute(&mut *connection)
    .await
    .map_err(unavailable)?;
    sqlx::query(
        "insert into policy_revisions (revision, policy_id, body, content_digest, create_time, write_time) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(stored.revision)
    .bind(&stored.id)
    .bind(&stored.body)
    .bind(&stored.content_digest)
    .bind(stored.create_time)
    .bind(stored.update_time)
    .execute(&mut *connection)
    .await
    .map_err(unavailable)?;
    Ok(Written { revision, policy: Some(Arc::new(stored.read()?)) })
}

async fn remove(
    connection: &mut SqliteConnection,
    id: &PolicyId,
    revision: u64,
    at: Timestamp,
) -> Result<Written, Error> {
    sqlx::query("delete from policies where id = $1")
        .bind(id.as_str())
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    sqlx::query("insert into policy_revisions (revision, policy_id, write_time) values ($1, $2, $3)")
        .bind(i64::try_from(revision).unwrap_or(i64::MAX))
        .bind(id.as_str())
        .bind(at.as_microsecond())
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    Ok(Written { revision, policy: None })
}
