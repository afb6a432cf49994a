//! Positions of readers: the end of the log, and the position that a bookmark stands for.

use super::segment_table::{self, Tail};
use crate::{
    decision_log::{Bookmark, ChainCursor, Cursors, Error},
    sql::Connection,
};

/// Returns the end of every chain.
pub(super) async fn tail(connection: &mut Connection) -> Result<Cursors, Error> {
    let tails = segment_table::load_tails(connection).await?;
    let end = |tail: Tail| (tail.writer.as_str().into(), end_of(&tail));
    Ok(Cursors { chains: tails.into_iter().map(end).collect(), ..Cursors::default() })
}

/// Returns the position of a bookmark, if every decision after it still exists.
pub(super) async fn resume(connection: &mut Connection, bookmark: &Bookmark) -> Result<Cursors, Error> {
    let mut listed = bookmark.chains.clone();
    let mut cursors = Cursors::default();
    for tail in segment_table::load_tails(connection).await? {
        let cursor = match listed.remove(tail.writer.as_str()) {
            Some(read) => listed_cursor(&tail, read)?,
            None => unlisted_cursor(connection, &tail, bookmark.settled).await?,
        };
        cursors.chains.insert(tail.writer.as_str().into(), cursor);
    }
    if listed.is_empty() { Ok(cursors) } else { Err(Error::OtherLog) }
}

fn listed_cursor(tail: &Tail, read: u64) -> Result<ChainCursor, Error> {
    if read > tail.sequence {
        return Err(Error::OtherLog);
    }
    if read < tail.trimmed {
        return Err(Error::Trimmed);
    }
    let last_time = if read == tail.sequence { tail.last_time } else { 0 };
    Ok(ChainCursor { sequence: read, last_time, head: tail.sequence })
}

async fn unlisted_cursor(connection: &mut Connection, tail: &Tail, settled: i64) -> Result<ChainCursor, Error> {
    if tail.trimmed_time >= settled {
        return Err(Error::Trimmed);
    }
    if tail.last_time < settled {
        return Ok(end_of(tail));
    }
    let read = segment_table::last_before(connection, &tail.writer, settled).await?;
    let sequence = read.unwrap_or_default().max(tail.trimmed);
    Ok(ChainCursor { sequence, last_time: 0, head: tail.sequence })
}

fn end_of(tail: &Tail) -> ChainCursor {
    ChainCursor { sequence: tail.sequence, last_time: tail.last_time, head: tail.sequence }
}
