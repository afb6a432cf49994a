//! The schema of the store: its creation, its migrations, and the versions that this server accepts.

use sha2::{Digest as _, Sha256};

use super::{Connection, Dialect, OpenError, values};

/// The migrations in order. Each is applied once, so that it never changes after a release.
const MIGRATIONS: [&str; 2] =
    [include_str!("../../migrations/0001_store.sql"), include_str!("../../migrations/0002_related_ids.sql")];
/// The key of the advisory lock that admits one migrating server at a time.
const MIGRATION_LOCK: i64 = 0x7363_616e_6761_7465;
/// The applied migrations, with the SHA-256 of their text.
const CREATE_VERSIONS: &str =
    "create table schema_versions (version bigint not null primary key, checksum text not null)";

/// Applies the missing migrations in one transaction, one server at a time.
pub(super) async fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    connection.begin_write().await?;
    if connection.dialect() == Dialect::Postgres {
        // Released at the end of the transaction.
        connection.execute("select pg_advisory_xact_lock($1)", &values![MIGRATION_LOCK]).await?;
    }
    let applied = count_applied(connection).await?;
    if applied.is_none() {
        connection.execute(CREATE_VERSIONS, &[]).await?;
    }
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(applied.unwrap_or_default()) {
        connection.execute_script(migration).await?;
        let checksum = checksum(migration);
        connection
            .execute("insert into schema_versions (version, checksum) values ($1, $2)", &values![version, &checksum])
            .await?;
    }
    Ok(connection.commit().await?)
}

/// Succeeds if all migrations of this server are applied, and no others.
pub(super) async fn check(connection: &mut Connection) -> Result<(), OpenError> {
    let applied = count_applied(connection).await?;
    if applied == Some(MIGRATIONS.len()) { Ok(()) } else { Err(OpenError::NoStore) }
}

/// Returns the number of applied migrations; `None` for a database without a store.
async fn count_applied(connection: &mut Connection) -> Result<Option<usize>, OpenError> {
    if !has_table(connection, "schema_versions").await? {
        // Builds before this one recorded their migrations elsewhere.
        let is_other = has_table(connection, "store_revision").await?;
        return if is_other { Err(OpenError::OtherSchema) } else { Ok(None) };
    }
    let applied: Vec<(i64, String)> =
        connection.query("select version, checksum from schema_versions order by version", &[]).await?;
    let known = (1_i64..).zip(MIGRATIONS.map(checksum));
    if !applied.iter().cloned().zip(known).all(|(applied, known)| applied == known) {
        return Err(OpenError::OtherSchema);
    }
    match applied.last() {
        Some((newest, _)) if applied.len() > MIGRATIONS.len() => Err(OpenError::NewerSchema(*newest)),
        Some(_) | None => Ok(Some(applied.len())),
    }
}

async fn has_table(connection: &mut Connection, name: &str) -> Result<bool, OpenError> {
    let select = match connection.dialect() {
        Dialect::Sqlite => "select count(*) from sqlite_master where type = 'table' and name = $1",
        Dialect::Postgres => "select count(to_regclass($1))",
    };
    let (count,): (i64,) = connection.query_one(select, &values![name]).await?;
    Ok(count > 0)
}

fn checksum(migration: &str) -> String {
    hex::encode(Sha256::digest(migration))
}
