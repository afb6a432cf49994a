//! The write of every commit: it advances a chain's head by compare-and-set and inserts the segment that leads there.

use sqlx::AssertSqlSafe;

use super::{
    segment::Head,
    segment_table::{Segment, from_u64},
};
use crate::sql::{Connection, Dialect, Error, query_error};

const BEGIN_CHAIN: &str = "insert into decision_writers (writer, pruned_sequence, pruned_hash, sequence, hash, indexed)
    values ($1, $2, $3, $4, $5, $2) on conflict (writer) do nothing";
const ADVANCE_HEAD: &str =
    "update decision_writers set sequence = $4, hash = $5 where writer = $1 and sequence = $2 and hash = $3";
const INSERT_SEGMENT: &str =
    "insert into decision_segments (writer, first_sequence, last_sequence, last_time, hash, body)
    select writer, $6, $4, $7, $5, $8 from";
const FROM_NEW_HEAD: &str = "decision_writers where writer = $1 and sequence = $4 and hash = $5";

/// The transaction that an append runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitMode {
    /// The caller's transaction.
    InTransaction,
    /// Its own transaction: the append is durable once it returns.
    Autocommit,
}

/// Appends a segment to a chain. Returns false, without a write, if the stored head is not `from`: the database has lost or
/// gained decisions.
pub(super) async fn append(
    connection: &mut Connection,
    mode: CommitMode,
    writer: &str,
    from: &Head,
    segment: Segment,
) -> Result<bool, Error> {
    let text = statement(Dialect::from_connection(connection), mode, from);
    let written = sqlx::query(AssertSqlSafe(text))
        .bind(writer)
        .bind(from_u64(from.sequence))
        .bind(from.hash.0.to_vec())
        .bind(from_u64(segment.last))
        .bind(segment.hash.0.to_vec())
        .bind(from_u64(segment.first))
        .bind(segment.last_time)
        .bind(segment.body)
        .fetch_all(connection)
        .await
        .map_err(query_error)?;
    Ok(!written.is_empty())
}

/// Builds one statement, to save round trips. PostgreSQL does both writes in one query; SQLite runs them in sequence, with the
/// transaction around them if needed.
fn statement(dialect: Dialect, mode: CommitMode, from: &Head) -> String {
    let advance = if from.sequence == 0 { BEGIN_CHAIN } else { ADVANCE_HEAD };
    match (dialect, mode) {
        (Dialect::Postgres, _) => {
            format!("with advanced as ({advance} returning writer) {INSERT_SEGMENT} advanced returning first_sequence")
        }
        (Dialect::Sqlite, CommitMode::InTransaction) => {
            format!("{advance}; {INSERT_SEGMENT} {FROM_NEW_HEAD} returning first_sequence")
        }
        (Dialect::Sqlite, CommitMode::Autocommit) => {
            // Selected after the commit, so that the row proves it.
            format!(
                "begin immediate; {advance}; {INSERT_SEGMENT} {FROM_NEW_HEAD}; commit;
                 select first_sequence from decision_segments where writer = $1 and first_sequence = $6 and hash = $5"
            )
        }
    }
}
