//! The SQL of blobs: cases, and the parts that they rest on, by content.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decision_log::{Blob, Hash},
    sql::{Connection, Error, JsonRows, query_error},
};

/// Rows that one statement asks for.
const ROWS: usize = 500;

/// Stores blobs; of one that is there only notes that it was used.
pub(super) async fn put(
    connection: &mut Connection,
    blobs: &BTreeMap<Hash, (bool, &Blob)>,
    used: i64,
) -> Result<(), Error> {
    for (hash, (is_case, blob)) in blobs {
        sqlx::query(
            "insert into decision_blobs (hash, is_case, body, used) values ($1, $2, $3, $4)
             on conflict (hash) do update set used = excluded.used",
        )
        .bind(hash.to_string())
        .bind(i64::from(*is_case))
        .bind(blob.packed().to_vec())
        .bind(used)
        .execute(&mut *connection)
        .await
        .map_err(query_error)?;
    }
    Ok(())
}

pub(super) async fn put_parts(connection: &mut Connection, parts: &BTreeSet<(Hash, Hash)>) -> Result<(), Error> {
    if parts.is_empty() {
        return Ok(());
    }
    let insert = "insert into decision_parts (whole, part) select value ->> 0, value ->> 1 from {rows} where true
        on conflict (whole, part) do nothing";
    JsonRows::new(connection, insert, parts)?.query().execute(connection).await.map(|_| ()).map_err(query_error)
}

pub(super) async fn get(connection: &mut Connection, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error> {
    let mut found = BTreeMap::new();
    let select = "select hash, body from decision_blobs where hash in (select value ->> 0 from {rows})";
    for some in hashes.chunks(ROWS) {
        let select = JsonRows::new(connection, select, some.iter().map(|hash| [hash]))?;
        let rows: Vec<(String, Vec<u8>)> = select.query_as().fetch_all(&mut *connection).await.map_err(query_error)?;
        for (hash, body) in rows {
            let hash = Hash::try_from(hash)
                .map_err(|source| Error::Corrupt { what: "the name of a blob".to_owned(), source: source.into() })?;
            found.insert(hash, Blob::kept(hash, body));
        }
    }
    Ok(found)
}

/// Blobs in the order of their names, from after one on.
pub(super) async fn after(
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

/// Removes some of what nothing that is left rests on and nothing has used since, cases or their parts; returns how many.
pub(super) async fn sweep(connection: &mut Connection, are_cases: bool, unused_since: i64) -> Result<usize, Error> {
    // Only what has long not been used is looked at, by the index: most of what is kept is never touched.
    let unused = if are_cases {
        "select hash from decision_blobs b where is_case = 1 and used < $1 and not exists
             (select 1 from decision_keys k where k.kind = 'case' and k.name = b.hash) order by used limit $2"
    } else {
        "select hash from decision_blobs b where is_case = 0 and used < $1 and not exists
             (select 1 from decision_parts p where p.part = b.hash) order by used limit $2"
    };
    let unused: Vec<String> = sqlx::query_scalar(unused)
        .bind(unused_since)
        .bind(i64::try_from(ROWS).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await
        .map_err(query_error)?;
    if unused.is_empty() {
        return Ok(0);
    }
    // What somebody has used in the meantime stays: PostgreSQL waits for him and looks again at what he wrote.
    let delete =
        "delete from decision_blobs where hash in (select value ->> 0 from {rows}) and used < $2 returning hash";
    let delete = JsonRows::new(connection, delete, unused.iter().map(|hash| [hash]))?.query_as().bind(unused_since);
    let swept: Vec<(String,)> = delete.fetch_all(&mut *connection).await.map_err(query_error)?;
    let delete = "delete from decision_parts where whole in (select value ->> 0 from {rows})";
    let delete = JsonRows::new(connection, delete, &swept)?;
    delete.query().execute(connection).await.map_err(query_error)?;
    Ok(swept.len())
}
