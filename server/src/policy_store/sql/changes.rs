//! Reads pages of changes, and the current content.
//!
//! Rows are parsed after their transaction, on a thread for blocking work: a million waivers take seconds, and PostgreSQL ends a
//! transaction that is idle for long.

use super::{
    queries,
    row::{self, Row},
};
use crate::{
    policy_store::{CHANGES_PAGE_SIZE, ChangeSet, Error},
    sql::Connection,
};

/// The rows of a page of changes, or of the current content.
pub(super) struct Page {
    /// The revision of the store.
    current: i64,
    /// The revision up to which the page has the changes.
    upto: i64,
    write_time: i64,
    begin_time: Option<i64>,
    rows: Vec<Row>,
}

/// Reads a page of the changes after a revision; `None`: the current content.
pub(super) async fn read(connection: &mut Connection, after: Option<i64>) -> Result<Page, Error> {
    let current = row::required("the store's revision", queries::revision(connection).await?)?;
    let (begin_time, rows) = match after {
        Some(after) => {
            let size = i64::try_from(CHANGES_PAGE_SIZE).unwrap_or(i64::MAX);
            let begin_time = queries::write_time(connection, after).await?;
            (begin_time, queries::load_page(connection, after, current, size).await?)
        }
        None => (None, queries::load_current(connection).await?),
    };
    let is_cut = after.is_some() && rows.len() >= CHANGES_PAGE_SIZE;
    let upto = rows.last().filter(|_| is_cut).map_or(current, |last| last.revision);
    let write_time = row::required("the store's last write", queries::write_time(connection, upto).await?)?;
    Ok(Page { current, upto, write_time, begin_time, rows })
}

impl Page {
    pub(super) fn parse(self) -> Result<ChangeSet, Error> {
        let Self { current, upto, write_time, begin_time, rows } = self;
        let revision = row::to_revision(upto)?;
        Ok(ChangeSet {
            revision,
            has_more: upto < current,
            write_time: row::to_timestamp(write_time)?,
            begin_time: begin_time.map(row::to_timestamp).transpose()?,
            entries: row::into_entries(revision, rows)?,
        })
    }
}

/// Runs a parser on a thread for blocking work.
pub(super) async fn parse<T: Send + 'static>(
    parser: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(parser).await.unwrap_or_else(|lost| Err(Error::Unavailable(lost.into())))
}
