//! The write of every commit: it advances a chain's head by compare-and-set and inserts the segment that leads there.

use super::{segment::Head, segment_table::Segment};
use crate::sql::{Connection, Dialect, Error, values};

/// The start of a chain, and a step of it. PostgreSQL executes them together with the insertion, to save round trips.
macro_rules! begin_chain {
    () => {
        "insert into decision_writers (writer, pruned_sequence, pruned_hash, sequence, hash, indexed)
         values ($1, $2, $3, $4, $5, $2) on conflict (writer) do nothing"
    };
}
macro_rules! advance_head {
    () => {
        "update decision_writers set sequence = $4, hash = $5 where writer = $1 and sequence = $2 and hash = $3"
    };
}
macro_rules! with_segment {
    ($advance:expr) => {
        concat!(
            "with advanced as (",
            $advance,
            " returning writer)
             insert into decision_segments (writer, first_sequence, last_sequence, last_time, hash, body)
             select writer, $6, $4, $7, $5, $8 from advanced"
        )
    };
}

const INSERT_SEGMENT: &str =
    "insert into decision_segments (writer, first_sequence, last_sequence, last_time, hash, body)
     values ($1, $2, $3, $4, $5, $6)";

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
    segment: &Segment,
) -> Result<bool, Error> {
    if connection.dialect() == Dialect::Postgres {
        return append_at_once(connection, writer, from, segment).await;
    }
    if mode == CommitMode::Autocommit {
        connection.begin_write().await?;
    }
    let Segment { first, last, last_time, hash, body } = segment;
    let advance = if from.sequence == 0 { begin_chain!() } else { advance_head!() };
    let head = values![writer, from.sequence, &from.hash.0[..], *last, &hash.0[..]];
    let is_advanced = connection.execute(advance, &head).await? > 0;
    if is_advanced {
        let row = values![writer, *first, *last, *last_time, &hash.0[..], &body[..]];
        connection.execute(INSERT_SEGMENT, &row).await?;
    }
    if mode == CommitMode::Autocommit {
        connection.commit().await?;
    }
    Ok(is_advanced)
}

async fn append_at_once(
    connection: &mut Connection,
    writer: &str,
    from: &Head,
    segment: &Segment,
) -> Result<bool, Error> {
    let Segment { first, last, last_time, hash, body } = segment;
    let insert = if from.sequence == 0 { with_segment!(begin_chain!()) } else { with_segment!(advance_head!()) };
    let head = values![writer, from.sequence, &from.hash.0[..], *last, &hash.0[..]];
    let values = [&head[..], &values![*first, *last_time, &body[..]]].concat();
    Ok(connection.execute(insert, &values).await? > 0)
}
