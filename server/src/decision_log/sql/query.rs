//! Lists: what a filter admits, newest first, page by page.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    SqlDecisionLog,
    index_terms::{self, DIGEST, ENVIRONMENT, Key, POLICY, REPOSITORY, VERDICT},
    read::entries_of,
    segment_scan::{Newest, Place},
};
use crate::{
    decision_log::{Cursor, Entry, Error, Filter, Page},
    sql::{Connection, query_error},
};

/// The most segments that are read at once.
const AT_ONCE: usize = 32;
/// Segments that one page may look through before it is given out as it is.
const MOST_SEGMENTS: usize = 512;
/// How much later than a decision its batch may have been committed.
const DELAY: SignedDuration = SignedDuration::from_mins(10);

impl SqlDecisionLog {
    pub(super) async fn read_page(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let mut connection = self.database.reader().await?;
        // In one state of the database: what goes from a tail into a chapter meanwhile is in either of them.
        let mut transaction = self.database.begin_read(&mut connection).await?;
        let page = self.fill_page(&mut transaction, filter, after, limit).await?;
        transaction.rollback().await.map_err(query_error)?;
        Ok(page)
    }

    async fn fill_page(
        &self,
        connection: &mut Connection,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let since = filter.start.map_or(i64::MIN, Timestamp::as_microsecond);
        let mut segments = Newest::open(connection, narrowest(filter), begin(filter, after), since).await?;
        let mut page = Page::default();
        let (mut looked_through, mut at_once) = (0, 1);
        loop {
            let some = segments.next(connection, at_once).await?;
            let Some((last, _)) = some.last() else { return Ok(page) };
            let whole = cursor(last, 0);
            looked_through += some.len();
            for (place, body) in some {
                for recorded in self.untold(connection, &place, &body, after).await? {
                    let cursor = cursor(&place, recorded.id.sequence);
                    if filter.admits(&recorded) {
                        page.decisions.push(recorded);
                    }
                    if page.decisions.len() == limit {
                        page.next = Some(cursor);
                        return Ok(page);
                    }
                }
            }
            if looked_through >= MOST_SEGMENTS {
                page.next = Some(whole);
                return Ok(page);
            }
            // The first few often fill a page.
            at_once = (at_once * 2).min(AT_ONCE);
        }
    }

    /// The decisions of a segment that no page before has told, newest first.
    async fn untold(
        &self,
        connection: &mut Connection,
        place: &Place,
        body: &[u8],
        after: Option<&Cursor>,
    ) -> Result<Vec<Entry>, Error> {
        let whole = cursor(place, 0);
        let mut entries = entries_of(&place.1, whole.first_sequence, body)?;
        entries.reverse();
        if let Some(told) = after.filter(|told| Cursor { sequence: 0, ..(*told).clone() } == whole) {
            entries.retain(|(id, _)| id.sequence < told.sequence);
        }
        self.recorded(connection, entries).await
    }
}

/// The place that a list begins at.
fn begin(filter: &Filter, after: Option<&Cursor>) -> Place {
    let latest =
        filter.end.map_or(i64::MAX, |end| end.saturating_add(DELAY).unwrap_or(Timestamp::MAX).as_microsecond());
    match after {
        Some(after) => {
            (after.last_time, Arc::clone(&after.writer), i64::try_from(after.first_sequence).unwrap_or(i64::MAX))
        }
        // Greater than any writer's name.
        None => (latest, "~".into(), i64::MAX),
    }
}

/// A decision of the segment at a place.
fn cursor((last_time, writer, first): &Place, sequence: u64) -> Cursor {
    let first_sequence = u64::try_from(*first).unwrap_or_default();
    Cursor { last_time: *last_time, writer: Arc::clone(writer), first_sequence, sequence }
}

/// What of a filter leaves fewest segments to look through, most likely.
fn narrowest(filter: &Filter) -> Key {
    let verdict = match filter.verdicts.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    None.or_else(|| filter.digest.as_ref().map(|digest| (DIGEST, digest.to_string())))
        .or_else(|| filter.repository.as_ref().map(|repository| (REPOSITORY, repository.to_string())))
        .or_else(|| filter.policy.as_ref().map(|policy| (POLICY, policy.to_string())))
        .or_else(|| filter.environment.as_ref().map(|environment| (ENVIRONMENT, environment.to_string())))
        .or_else(|| verdict.map(|verdict| (VERDICT, format!("{verdict:?}"))))
        .unwrap_or_else(index_terms::all)
}
