//! The SQL of blobs: records and the parts that they reference, by content hash.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decision_log::{Blob, Hash},
    sql::{Connection, Error, RowStatement, Value, row_statement, values},
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

const UPSERT: RowStatement = row_statement!(
    "insert into decision_blobs (hash, is_case, body, used) select hash, is_case, body, $4 from",
    (1 hash text, 2 is_case bigint, 3 body bytea),
    "where true on conflict (hash) do update set used = excluded.used"
);
const INSERT_PARTS: RowStatement = row_statement!(
    "insert into decision_parts (whole, part) select whole, part from",
    (1 whole text, 2 part text),
    "where true on conflict (whole, part) do nothing"
);
const SELECT: RowStatement = row_statement!(
    "select b.hash, b.body from",
    (1 hash text),
    "join decision_blobs b on b.hash = input.hash"
);
/// Checks `used` again: a concurrent transaction may have used the blob. PostgreSQL waits for it and re-reads the row.
const DELETE: RowStatement = row_statement!(
    "delete from decision_blobs where hash in (select hash from",
    (1 hash text),
    ") and used < $2 returning hash"
);
const DELETE_PARTS: RowStatement =
    row_statement!("delete from decision_parts where whole in (select hash from", (1 hash text), ")");

/// Stores blobs; for a stored blob, updates the time of its last use.
pub(super) async fn upsert(
    connection: &mut Connection,
    blobs: &BTreeMap<Hash, (BlobKind, &Blob)>,
    used: i64,
) -> Result<(), Error> {
    let rows: Vec<[Value<'_>; 3]> = blobs
        .iter()
        .map(|(hash, (kind, blob))| {
            values![hash.to_string(), i64::from(*kind == BlobKind::Record), &blob.compressed()[..]]
        })
        .collect();
    connection.execute_each(UPSERT, &rows, &values![used]).await?;
    Ok(())
}

pub(super) async fn insert_parts(connection: &mut Connection, parts: &BTreeSet<(Hash, Hash)>) -> Result<(), Error> {
    let rows: Vec<[Value<'_>; 2]> =
        parts.iter().map(|(whole, part)| values![whole.to_string(), part.to_string()]).collect();
    connection.execute_each(INSERT_PARTS, &rows, &[]).await?;
    Ok(())
}

pub(super) async fn load(connection: &mut Connection, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error> {
    let mut found = BTreeMap::new();
    for chunk in hashes.chunks(BATCH_SIZE) {
        let rows: Vec<[Value<'_>; 1]> = chunk.iter().map(|hash| values![hash.to_string()]).collect();
        let rows: Vec<(String, Vec<u8>)> = connection.query_each(SELECT, &rows, &[]).await?;
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
    let select = "select hash, body from decision_blobs where hash > $1 order by hash limit $2";
    connection.query(select, &values![after, limit]).await
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
    let unused: Vec<(String,)> = connection.query(unused, &values![unused_since, BATCH_SIZE]).await?;
    let deleted: Vec<(String,)> = connection.query_each(DELETE, &to_rows(&unused), &values![unused_since]).await?;
    connection.execute_each(DELETE_PARTS, &to_rows(&deleted), &[]).await?;
    Ok(deleted.len())
}

fn to_rows(hashes: &[(String,)]) -> Vec<[Value<'_>; 1]> {
    hashes.iter().map(|(hash,)| values![hash]).collect()
}
