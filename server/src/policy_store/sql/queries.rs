//! The SQL of the policy store, one statement per function, in the dialect that SQLite and PostgreSQL share.

use super::row::Row;
use crate::sql::{Connection, Error, query_error};

/// Returns the store's revision; `None` for a store without writes.
pub(super) async fn revision(connection: &mut Connection) -> Result<Option<i64>, Error> {
    sqlx::query_scalar("select revision from store_revision where id = 1")
        .fetch_optional(connection)
        .await
        .map_err(query_error)
}

/// Initialises the revision counter; true if it was missing.
pub(super) async fn init_revision(connection: &mut Connection) -> Result<bool, Error> {
    let inserted = sqlx::query("insert into store_revision (id, revision) values (1, 0) on conflict (id) do nothing");
    inserted.execute(connection).await.map(|inserted| inserted.rows_affected() > 0).map_err(query_error)
}

/// Locks the store against other writers until the transaction ends: the rows that a write reads must not change before its commit.
pub(super) async fn lock_for_write(connection: &mut Connection) -> Result<(), Error> {
    let lock = sqlx::query("update store_revision set revision = revision where id = 1");
    lock.execute(connection).await.map(|_| ()).map_err(query_error)
}

/// Increments the store's revision and returns it.
pub(super) async fn next_revision(connection: &mut Connection) -> Result<i64, Error> {
    sqlx::query_scalar("update store_revision set revision = revision + 1 where id = 1 returning revision")
        .fetch_one(connection)
        .await
        .map_err(query_error)
}

/// Returns the write time of a revision; `None` if the store lacks the revision.
pub(super) async fn write_time(connection: &mut Connection, revision: i64) -> Result<Option<i64>, Error> {
    sqlx::query_scalar("select max(write_time) from document_revisions where revision = $1")
        .bind(revision)
        .fetch_one(connection)
        .await
        .map_err(query_error)
}

/// Loads the current resources.
pub(super) async fn load_current(connection: &mut Connection) -> Result<Vec<Row>, Error> {
    sqlx::query_as(
        "select kind, id, revision, body, content_digest, create_time, write_time from documents order by kind, id",
    )
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

/// Loads the resources that were current at a revision.
pub(super) async fn load_current_at(connection: &mut Connection, revision: i64) -> Result<Vec<Row>, Error> {
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

/// Loads the history entries after a revision, up to and including another.
pub(super) async fn load_between(connection: &mut Connection, after: i64, upto: i64) -> Result<Vec<Row>, Error> {
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

/// Returns the content digest of a policy at a revision.
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

/// Loads the resources that a revision wrote, without deletions.
pub(super) async fn load_written(connection: &mut Connection, revision: i64) -> Result<Vec<Row>, Error> {
    sqlx::query_as(
        "select kind, id, revision, body, content_digest, create_time, write_time from document_revisions
         where revision = $1 and body is not null order by kind, id",
    )
    .bind(revision)
    .fetch_all(connection)
    .await
    .map_err(query_error)
}

/// Loads a policy's history, newest first.
pub(super) async fn load_history(
    connection: &mut Connection,
    id: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<Row>, Error> {
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

pub(super) async fn count_current(connection: &mut Connection, kind: &str) -> Result<i64, Error> {
    sqlx::query_scalar("select count(*) from documents where kind = $1")
        .bind(kind)
        .fetch_one(connection)
        .await
        .map_err(query_error)
}

pub(super) async fn find_current(connection: &mut Connection, kind: &str, id: &str) -> Result<Option<Row>, Error> {
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

/// Inserts or replaces a current resource.
pub(super) async fn upsert_current(connection: &mut Connection, row: &Row) -> Result<(), Error> {
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

pub(super) async fn delete_current(connection: &mut Connection, kind: &str, id: &str) -> Result<(), Error> {
    sqlx::query("delete from documents where kind = $1 and id = $2")
        .bind(kind)
        .bind(id)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(query_error)
}

pub(super) async fn insert_revision(connection: &mut Connection, row: &Row) -> Result<(), Error> {
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
