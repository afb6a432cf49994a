//! The SQL of blobs: records and the parts that they reference, by content hash.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decision_log::{Blob, Hash},
    sql::{Connection, Error, JsonRows, query_error},
};

/// Maximum number of rows that one statement reads or deletes.
const BATCH_SIZE: usize = 500;

/// The kind of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlobKind {
    /// A decision record, which index keys reference.
    Record,
    /// A part, which records reference.
    Part,
}

/// Stores blobs; for a stored blob, updates the time of its last use.
pub(super) async fn upsert(
    connection: &mut Connection,
    blobs: &BTreeMap<Hash, (BlobKind, &Blob)>,
    used: i64,
) -> Result<(), Error> {
    for (hash, (kind, blob)) in blobs {
        sqlx::query(
            "insert into decision_blobs (hash, is_case, body, used) values ($1, $2, $3, $4)
             on conflict (hash) do update set used = excluded.used",
        )
        .bind(hash.to_string())
        .bind(i64::from(*kind == BlobKind::Record))
        .bind(blob.compressed().to_vec())
        .bind(used)
        .execute(&mut *connection)
        .await
        .map_err(query_error)?;
    }
    Ok(())
}

pub(super) async fn insert_parts(connection: &mut Connection, parts: &BTreeSet<(Hash, Hash)>) -> Result<(), Error> {
    if parts.is_empty() {
        return Ok(());
    }
    let insert = "insert into decision_parts (whole, part) select value ->> 0, value ->> 1 from {rows} where true
        on conflict (whole, part) do nothing";
    JsonRows::new(connection, insert, parts)?.query().execute(connection).await.map(|_| ()).map_err(query_error)
}

pub(super) async fn load(connection: &mut Connection, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error> {
    let mut found = BTreeMap::new();
    let select = "select hash, body from decision_blobs where hash in (select value ->> 0 from {rows})";
    for chunk in hashes.chunks(BATCH_SIZE) {
        let select = JsonRows::new(connection, select, chunk.iter().map(|hash| [hash]))?;
        let rows: Vec<(String, Vec<u8>)> = select.query_as().fetch_all(&mut *connection).await.map_err(query_error)?;
        for (hash, body) in rows {
            let hash = Hash::try_from(hash)
                .map_err(|source| Error::Corrupt { what: "a blob's hash".to_owned(), source: source.into() })?;
            found.insert(hash, Blob::from_stored(hash, body));
        }
    }
    Ok(found)
}

/// Loads blobs in the order of their hashes, starting after one.
pub(super) async fn load_after(
    connection: &mut Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    sqlx::query_as("select hash, body from decision_blobs where hash > $1 order by hash limit $2")
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(query_error)
}

/// Deletes a batch of blobs that are unreferenced and were last used before a time; returns their number.
pub(super) async fn delete_unused(
    connection: &mut Connection,
    kind: BlobKind,
    unused_since: i64,
) -> Result<usize, Error> {
    // The index on `used` narrows this to blobs without recent use: most blobs are never examined.
    let unused = match kind {
        BlobKind::Record => {
            "select hash from decision_blobs b where is_case = 1 and used < $1 and not exists
                 (select 1 from decision_keys k where k.kind = 'case' and k.name = b.hash) order by used limit $2"
        }
        BlobKind::Part => {
            "select hash from decision_blobs b where is_case = 0 and used < $1 and not exists
                 (select 1 from decision_parts p where p.part = b.hash) order by used limit $2"
        }
    };
    let unused: Vec<String> = sqlx::query_scalar(unused)
        .bind(unused_since)
        .bind(i64::try_from(BATCH_SIZE).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await
        .map_err(query_error)?;
    if unused.is_empty() {
        return Ok(0);
    }
    // Checks `used` again: a concurrent transaction may have used the blob. PostgreSQL waits for it and re-reads the row.
    let delete =
        "delete from decision_blobs where hash in (select value ->> 0 from {rows}) and used < $2 returning hash";
    let delete = JsonRows::new(connection, delete, unused.iter().map(|hash| [hash]))?.query_as().bind(unused_since);
    let deleted: Vec<(String,)> = delete.fetch_all(&mut *connection).await.map_err(query_error)?;
    let delete = "delete from decision_parts where whole in (select value ->> 0 from {rows})";
    let delete = JsonRows::new(connection, delete, &deleted)?;
    delete.query().execute(connection).await.map_err(query_error)?;
    Ok(deleted.len())
}
