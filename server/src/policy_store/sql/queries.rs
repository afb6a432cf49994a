//! The SQL, a statement each, in the words that SQLite and PostgreSQL share.

use super::row::Row;
use crate::sql::{Connection, Error, query_error};

/// A request that was answered before.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Answered {
    pub(super) fingerprint: String,
    pub(super) revision: i64,
}

/// The store's revision; `None` in a store that nobody has written to.
pub(super) async fn revision(connection: &mut Connection) -> Result<Option<i64>, Error> {
    sqlx::query_scalar("select revision from store_revision where id = 1")
        .fetch_optional(connection)
        .await
        .map_err(query_error)
}

/// Begins to count revisions; true where nobody had.
pub(super) async fn begin_revisions(connection: &mut Connection) -> Result<bool, Error> {
    let begun = sqlx::query("insert into store_revision (id, revision) values (1, 0) on conflict (id) do nothing");
    begun.execute(connection).await.map(|begun| begun.rows_affected() > 0).map_err(query_error)
}

/// Waits until nobody else writes: what a write finds must still be so when it is committed.
pub(super) async fn take_turn(connection: &mut Connection) -> Result<(), Error> {
    let turn = sqlx::query("update store_revision set revision = revision where id = 1");
    turn.execute(connection).await.map(|_| ()).map_err(query_error)
}

/// Raises the store's revision by one, and returns it.
pub(super) async fn next_revision(connection: &mut Connection) -> Result<i64, Error> {
    sqlx::query_scalar("update store_revision set revision = revision + 1 where id = 1 returning revision")
        .fetch_one(connection)
        .await
        .map_err(query_error)
}

/// When a revision was written; `None`: there is none of that number.
pub(super) async fn written_at(connection: &mut Connection, revision: i64) -> Result<Option<i64>, Error> {
    sqlx::query_scalar("select max(write_time) from document_revisions where revision = $1")
        .bind(revision)
        .fetch_one(connection)
        .await
        .map_err(query_error)
}

/// All that is in force.
pub(super) async fn in_force(connection: &mut Connection) -> Result<Vec<Row>, Error> {
    sqlx::query_as(
        "select kind, id, revision, body, content_digest, create_time, write_time from documents order by kind, id",
    )
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

/// All that was in force at a revision.
pub(super) async fn in_force_at(connection: &mut Connection, revision: i64) -> Result<Vec<Row>, Error> {
    sqlx::query_as(
        "select r.kind, r.id, r.revision, r.body, r.content_digest, r.create_time, r.write_time
         from document_revisions r
         join (select kind, id, max(revision) as revision from document_revisions
               where revision <= $1 group by kind, id) latest
           on latest.kind = r.kind and latest.id = r.id and latest.revision = r.revision
         where r.body is not null order by r.kind, r.id",
    )
    .bind(revision)
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

/// What was written after a revision and up to another.
pub(super) async fn between(connection: &mut Connection, after: i64, upto: i64) -> Result<Vec<Row>, Error> {
    sqlx::query_as(
        "select kind, id, revision, body, content_digest, create_time, write_time from document_revisions
         where revision > $1 and revision <= $2 order by revision, kind, id",
    )
    .bind(after)
    .bind(upto)
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

/// The content digest of a policy as of a revision.
pub(super) async fn policy_digest(
    connection: &mut Connection,
    id: &str,
    revision: i64,
) -> Result<Option<String>, Error> {
    let digest: Option<Option<String>> = sqlx::query_scalar(
        "select content_digest from document_revisions where kind = 'policies' and id = $1 and revision = $2",
    )
    .bind(id)
    .bind(revision)
    .fetch_optional(connection)
    .await
    .map_err(query_error)?;
    Ok(digest.flatten())
}

/// What one write wrote, and left.
pub(super) async fn written(connection: &mut Connection, revision: i64) -> Result<Vec<Row>, Error> {
    sqlx::query_as(
        "select kind, id, revision, body, content_digest, create_time, write_time from document_revisions
         where revision = $1 and body is not null order by kind, id",
    )
    .bind(revision)
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

/// The history of a policy, newest first.
pub(super) async fn history(connection: &mut Connection, id: &str, before: i64, limit: i64) -> Result<Vec<Row>, Error> {
    sqlx::query_as(
        "select kind, id, revision, body, content_digest, create_time, write_time from document_revisions
         where kind = 'policies' and id = $1 and revision < $2 order by revision desc limit $3",
    )
    .bind(id)
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

pub(super) async fn count(connection: &mut Connection, kind: &str) -> Result<i64, Error> {
    sqlx::query_scalar("select count(*) from documents where kind = $1")
        .bind(kind)
        .fetch_one(connection)
        .await
        .map_err(query_error)
}

pub(super) async fn present(connection: &mut Connection, kind: &str, id: &str) -> Result<Option<Row>, Error> {
    sqlx::query_as(
        "select kind, id, revision, body, content_digest, create_time, write_time from documents
         where kind = $1 and id = $2",
    )
    .bind(kind)
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(query_error)
}

/// Puts the document into force, in place of the one that was.
pub(super) async fn put(connection: &mut Connection, row: &Row) -> Result<(), Error> {
    sqlx::query(
        "insert into documents (kind, id, revision, body, content_digest, create_time, write_time)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (kind, id) do update set revision = excluded.revision, body = excluded.body,
             content_digest = excluded.content_digest, write_time = excluded.write_time",
    )
    .bind(&row.kind)
    .bind(&row.id)
    .bind(row.revision)
    .bind(&row.body)
    .bind(&row.content_digest)
    .bind(row.create_time)
    .bind(row.write_time)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(query_error)
}

pub(super) async fn remove(connection: &mut Connection, kind: &str, id: &str) -> Result<(), Error> {
    sqlx::query("delete from documents where kind = $1 and id = $2")
        .bind(kind)
        .bind(id)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(query_error)
}

pub(super) async fn record(connection: &mut Connection, row: &Row) -> Result<(), Error> {
    sqlx::query(
        "insert into document_revisions (kind, id, revision, body, content_digest, create_time, write_time)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&row.kind)
    .bind(&row.id)
    .bind(row.revision)
    .bind(&row.body)
    .bind(&row.content_digest)
    .bind(row.create_time)
    .bind(row.write_time)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(query_error)
}

pub(super) async fn answered(connection: &mut Connection, id: &str, now: i64) -> Result<Option<Answered>, Error> {
    sqlx::query_as("select fingerprint, revision from requests where id = $1 and expire_time > $2")
        .bind(id)
        .bind(now)
        .fetch_optional(connection)
        .await
        .map_err(query_error)
}

/// Remembers a request; one of the same id that is still there has expired.
pub(super) async fn remember(
    connection: &mut Connection,
    id: &str,
    answered: &Answered,
    expire_time: i64,
) -> Result<(), Error> {
    sqlx::query(
        "insert into requests (id, fingerprint, revision, expire_time) values ($1, $2, $3, $4)
         on conflict (id) do update set fingerprint = excluded.fingerprint, revision = excluded.revision,
             expire_time = excluded.expire_time",
    )
    .bind(id)
    .bind(&answered.fingerprint)
    .bind(answered.revision)
    .bind(expire_time)
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(query_error)
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
    .map_err(query_error)
}
