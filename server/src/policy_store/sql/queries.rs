//! The SQL of the policy store, one statement per function, in the dialect that SQLite and PostgreSQL share.

use super::row::{Row, kind_and_id};
use crate::{
    policy_store::ResourceName,
    sql::{Connection, Error, values},
};

/// Returns the store's revision; `None` for a store without writes.
pub(super) async fn revision(connection: &mut Connection) -> Result<Option<i64>, Error> {
    let revision = connection.query_optional("select revision from store_revision where id = 1", &[]).await?;
    Ok(revision.map(|(revision,)| revision))
}

/// Initialises the revision counter; true if it was missing.
pub(super) async fn init_revision(connection: &mut Connection) -> Result<bool, Error> {
    let insert = "insert into store_revision (id, revision) values (1, 0) on conflict (id) do nothing";
    Ok(connection.execute(insert, &[]).await? > 0)
}

/// Locks the store against other writers until the transaction ends: the rows that a write reads must not change before its commit.
pub(super) async fn lock_for_write(connection: &mut Connection) -> Result<(), Error> {
    connection.execute("update store_revision set revision = revision where id = 1", &[]).await?;
    Ok(())
}

/// Increments the store's revision and returns it.
pub(super) async fn next_revision(connection: &mut Connection) -> Result<i64, Error> {
    let increment = "update store_revision set revision = revision + 1 where id = 1 returning revision";
    let (revision,) = connection.query_one(increment, &[]).await?;
    Ok(revision)
}

/// Returns the write time of a revision; `None` if the store lacks the revision.
pub(super) async fn write_time(connection: &mut Connection, revision: i64) -> Result<Option<i64>, Error> {
    let select = "select max(write_time) from document_revisions where revision = $1";
    let (time,) = connection.query_one(select, &values![revision]).await?;
    Ok(time)
}

/// Loads the current resources.
pub(super) async fn load_current(connection: &mut Connection) -> Result<Vec<Row>, Error> {
    let select = "select kind, id, revision, body, content_digest, create_time, write_time, author from documents order by kind, id";
    connection.query(select, &[]).await
}

/// Loads the resources that were current at a revision.
pub(super) async fn load_current_at(connection: &mut Connection, revision: i64) -> Result<Vec<Row>, Error> {
    let select = "select r.kind, r.id, r.revision, r.body, r.content_digest, r.create_time, r.write_time, r.author
         from document_revisions r
         join (select kind, id, max(revision) as revision from document_revisions
               where revision <= $1 group by kind, id) latest
           on latest.kind = r.kind and latest.id = r.id and latest.revision = r.revision
         where r.body is not null order by r.kind, r.id";
    connection.query(select, &values![revision]).await
}

/// Loads the history entries after a revision, up to and including another.
pub(super) async fn load_between(connection: &mut Connection, after: i64, upto: i64) -> Result<Vec<Row>, Error> {
    let select =
        "select kind, id, revision, body, content_digest, create_time, write_time, author from document_revisions
         where revision > $1 and revision <= $2 order by revision, kind, id";
    connection.query(select, &values![after, upto]).await
}

/// Loads a page of the history entries after a revision, up to and including another. The page ends with a whole revision.
pub(super) async fn load_page(
    connection: &mut Connection,
    after: i64,
    upto: i64,
    size: i64,
) -> Result<Vec<Row>, Error> {
    let select =
        "select kind, id, revision, body, content_digest, create_time, write_time, author from document_revisions
         where revision > $1 and revision <= (select max(revision) from (select revision from document_revisions
             where revision > $1 and revision <= $2 order by revision limit $3) as page)
         order by revision, kind, id";
    connection.query(select, &values![after, upto, size]).await
}

/// Returns the content digest of a policy at a revision.
pub(super) async fn policy_digest(
    connection: &mut Connection,
    id: &str,
    revision: i64,
) -> Result<Option<String>, Error> {
    let select = "select content_digest from document_revisions where kind = 'policies' and id = $1 and revision = $2";
    let digest: Option<(Option<String>,)> = connection.query_optional(select, &values![id, revision]).await?;
    Ok(digest.and_then(|(digest,)| digest))
}

/// Loads what a revision wrote.
pub(super) async fn load_written(connection: &mut Connection, revision: i64) -> Result<Vec<Row>, Error> {
    let select =
        "select kind, id, revision, body, content_digest, create_time, write_time, author from document_revisions
         where revision = $1 order by kind, id";
    connection.query(select, &values![revision]).await
}

/// Loads the history entry of a resource before another one.
pub(super) async fn find_previous(connection: &mut Connection, row: &Row) -> Result<Option<Row>, Error> {
    let select =
        "select kind, id, revision, body, content_digest, create_time, write_time, author from document_revisions
         where kind = $1 and id = $2 and revision < $3 order by revision desc limit 1";
    connection.query_optional(select, &values![&row.kind, &row.id, row.revision]).await
}

/// Loads the history of a resource, newest first.
pub(super) async fn load_history(
    connection: &mut Connection,
    name: &ResourceName,
    before: i64,
    limit: i64,
) -> Result<Vec<Row>, Error> {
    let select =
        "select kind, id, revision, body, content_digest, create_time, write_time, author from document_revisions
         where kind = $1 and id = $2 and revision < $3 order by revision desc limit $4";
    let (kind, id) = kind_and_id(name);
    connection.query(select, &values![kind, id, before, limit]).await
}

pub(super) async fn count_current(connection: &mut Connection, kind: &str) -> Result<i64, Error> {
    let (count,) = connection.query_one("select count(*) from documents where kind = $1", &values![kind]).await?;
    Ok(count)
}

pub(super) async fn find_current(connection: &mut Connection, name: &ResourceName) -> Result<Option<Row>, Error> {
    let (kind, id) = kind_and_id(name);
    let select = "select kind, id, revision, body, content_digest, create_time, write_time, author from documents
         where kind = $1 and id = $2";
    connection.query_optional(select, &values![kind, id]).await
}

/// Inserts or replaces a current resource.
pub(super) async fn upsert_current(connection: &mut Connection, row: &Row) -> Result<(), Error> {
    let upsert = "insert into documents (kind, id, revision, body, content_digest, create_time, write_time, author)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (kind, id) do update set revision = excluded.revision, body = excluded.body,
             content_digest = excluded.content_digest, write_time = excluded.write_time, author = excluded.author";
    connection.execute(upsert, &row.values()).await?;
    Ok(())
}

pub(super) async fn delete_current(connection: &mut Connection, name: &ResourceName) -> Result<(), Error> {
    let (kind, id) = kind_and_id(name);
    connection.execute("delete from documents where kind = $1 and id = $2", &values![kind, id]).await?;
    Ok(())
}

pub(super) async fn insert_revision(connection: &mut Connection, row: &Row) -> Result<(), Error> {
    let insert =
        "insert into document_revisions (kind, id, revision, body, content_digest, create_time, write_time, author)
         values ($1, $2, $3, $4, $5, $6, $7, $8)";
    connection.execute(insert, &row.values()).await?;
    Ok(())
}
