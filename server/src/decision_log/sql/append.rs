//! The one write of every commit: a chain's head moves on, from where it was, and the segment that leads there is added.

use sqlx::AssertSqlSafe;

use super::{
    segment::Head,
    segment_table::{Segment, number_out},
};
use crate::sql::{Connection, Dialect, Error, query_error};

const BEGIN_CHAIN: &str = "insert into decision_writers (writer, pruned_sequence, pruned_hash, sequence, hash, indexed)
    values ($1, $2, $3, $4, $5, $2) on conflict (writer) do nothing";
const MOVE_HEAD: &str =
    "update decision_writers set sequence = $4, hash = $5 where writer = $1 and sequence = $2 and hash = $3";
const PUT_SEGMENT: &str = "insert into decision_segments (writer, first_sequence, last_sequence, last_time, hash, body)
    select writer, $6, $4, $7, $5, $8 from";
const AT_HEAD: &str = "decision_writers where writer = $1 and sequence = $4 and hash = $5";

/// Where a commit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// In a transaction with more.
    Transaction,
    /// Alone: it is its own transaction, and durable once it returns.
    Nothing,
}

/// Moves a chain on by a segment; false where its head is not where it was, so that the chain is not the one that it was, and nothing
/// is written.
pub(super) async fn append(
    connection: &mut Connection,
    within: Within,
    writer: &str,
    from: &Head,
    segment: Segment,
) -> Result<bool, Error> {
    let text = statement(Dialect::from_connection(connection), within, from);
    let written = sqlx::query(AssertSqlSafe(text))
        .bind(writer)
        .bind(number_out(from.sequence))
        .bind(from.hash.0.to_vec())
        .bind(number_out(segment.last))
        .bind(segment.hash.0.to_vec())
        .bind(number_out(segment.first))
        .bind(segment.last_time)
        .bind(segment.body)
        .fetch_all(connection)
        .await
        .map_err(query_error)?;
    Ok(!written.is_empty())
}

/// Everything in one statement, since each is a journey to the database and back. PostgreSQL takes both writes as one; SQLite takes
/// them one after the other, and the transaction around them, too.
fn statement(dialect: Dialect, within: Within, from: &Head) -> String {
    let moved = if from.sequence == 0 { BEGIN_CHAIN } else { MOVE_HEAD };
    match (dialect, within) {
        (Dialect::Postgres, _) => {
            format!("with moved as ({moved} returning writer) {PUT_SEGMENT} moved returning first_sequence")
        }
        (Dialect::Sqlite, Within::Transaction) => format!("{moved}; {PUT_SEGMENT} {AT_HEAD} returning first_sequence"),
        (Dialect::Sqlite, Within::Nothing) => {
            // Read after the commit, so that the row is proof of it.
            format!(
                "begin immediate; {moved}; {PUT_SEGMENT} {AT_HEAD}; commit;
                 select first_sequence from decision_segments where writer = $1 and first_sequence = $6 and hash = $5"
            )
        }
    }
}
