//! The SQL, a statement each, in the words that SQLite and PostgreSQL share.

use super::{failed, row::PolicyRow, sqlite::Connection};
use crate::store::Error;

/// What a write needs to know of the policy that it replaces.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Present {
    pub(super) revision: i64,
    pub(super) create_time: i64,
}

/// A request that was answered before.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Answered {
    pub(super) fingerprint: String,
    pub(super) policy_id: String,
    pub(super) revision: i64,
}

/// The store's revision; `None` in a store that nobody has written to.
pub(super) async fn revision(connection: &mut Connection) -> Result<Option<i64>, Error> {
    sqlx::query_scalar("select revision from store_revision where id = 1")
        .fetch_optional(connection)
        .await
        .map_err(failed)
}

pub(super) async fn begin_revisions(connection: &mut Connection) -> Result<(), Error> {
    sqlx::query("insert into store_revision (id, revision) values (1, 0)")
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// Raises the store's revision by one, and returns it.
pub(super) async fn next_revision(connection: &mut Connection) -> Result<i64, Error> {
    sqlx::query_scalar("update store_revision set revision = revision + 1 where id = 1 returning revision")
        .fetch_one(connection)
        .await
        .map_err(failed)
}

pub(super) async fn policies(connection: &mut Connection) -> Result<Vec<PolicyRow>, Error> {
    sqlx::query_as("select id, revision, body, content_digest, create_time, update_time from policies order by id")
        .fetch_all(connection)
        .await
        .map_err(failed)
}

pub(super) async fn count(connection: &mut Connection) -> Result<i64, Error> {
    sqlx::query_scalar("select count(*) from policies").fetch_one(connection).await.map_err(failed)
}

pub(super) async fn present(connection: &mut Connection, id: &str) -> Result<Option<Present>, Error> {
    sqlx::query_as("select revision, create_time from policies where id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(failed)
}

/// Puts the policy into force, in place of the one that was.
pub(super) async fn put(connection: &mut Connection, row: &PolicyRow) -> Result<(), Error> {
    sqlx::query(
        "insert into policies (id, revision, body, content_digest, create_time, update_time)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (id) do update set revision = excluded.revision, body = excluded.body,
             content_digest = excluded.content_digest, update_time = excluded.update_time",
    )
    .bind(&row.id)
    .bind(row.revision)
    .bind(&row.body)
    .bind(&row.content_digest)
    .bind(row.create_time)
    .bind(row.update_time)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(failed)
}

pub(super) async fn remove(connection: &mut Connection, id: &str) -> Result<(), Error> {
    sqlx::query("delete from policies where id = $1").bind(id).execute(connection).await.map(|_| ()).map_err(failed)
}

pub(super) async fn record(connection: &mut Connection, row: &PolicyRow) -> Result<(), Error> {
    sqlx::query(
        "insert into policy_revisions (policy_id, revision, body, content_digest, create_time, write_time)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&row.id)
    .bind(row.revision)
    .bind(&row.body)
    .bind(&row.content_digest)
    .bind(row.create_time)
    .bind(row.update_time)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(failed)
}

pub(super) async fn record_removal(
    connection: &mut Connection,
    id: &str,
    revision: i64,
    create_time: i64,
    write_time: i64,
) -> Result<(), Error> {
    sqlx::query("insert into policy_revisions (policy_id, revision, create_time, write_time) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(revision)
        .bind(create_time)
        .bind(write_time)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// A revision of a policy; `None` where it was its removal.
pub(super) async fn recorded(connection: &mut Connection, id: &str, revision: i64) -> Result<Option<PolicyRow>, Error> {
    sqlx::query_as(
        "select policy_id as id, revision, body, content_digest, create_time, write_time as update_time
         from policy_revisions where policy_id = $1 and revision = $2 and body is not null",
    )
    .bind(id)
    .bind(revision)
    .fetch_optional(connection)
    .await
    .map_err(failed)
}

pub(super) async fn answered(connection: &mut Connection, id: &str, now: i64) -> Result<Option<Answered>, Error> {
    sqlx::query_as("select fingerprint, policy_id, revision from requests where id = $1 and expire_time > $2")
        .bind(id)
        .bind(now)
        .fetch_optional(connection)
        .await
        .map_err(failed)
}

/// Remembers a request; one of the same id that is still there has expired.
pub(super) async fn remember(
    connection: &mut Connection,
    id: &str,
    answered: &Answered,
    expire_time: i64,
) -> Result<(), Error> {
    sqlx::query(
        "insert into requests (id, fingerprint, policy_id, revision, expire_time) values ($1, $2, $3, $4, $5)
         on conflict (id) do update set fingerprint = excluded.fingerprint, policy_id = excluded.policy_id,
             revision = excluded.revision, expire_time = excluded.expire_time",
    )
    .bind(id)
    .bind(&answered.fingerprint)
    .bind(&answered.policy_id)
    .bind(answered.revision)
    .bind(expire_time)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(failed)
}

/// Forgets requests that have expired, at most so many, so that the write after a busy day does not pay for all of it.
pub(super) async fn forget(connection: &mut Connection, now: i64, most: i64) -> Result<(), Error> {
    sqlx::query(
        "delete from requests where id in
             (select id from requests where expire_time <= $1 order by expire_time limit $2)",
    )
    .bind(now)
    .bind(most)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(failed)
}
