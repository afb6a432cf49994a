//! Lists of decisions that match a filter, newest first, in pages.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    index_terms::{self, CALLER, DIGEST, ENVIRONMENT, Key, POLICY, REPOSITORY, VERDICT},
    read::{RecordCache, load_records, readable_entries},
    segment::SegmentBody,
    segment_scan::{Position, ReverseSegmentScan},
};
use crate::{
    decision_log::{Cursor, Error, Filter, Listed, Page},
    sql::Connection,
};

/// Maximum number of segments in one read.
const READ_BATCH_SIZE: usize = 32;
/// Maximum number of segments that a page scans before it is returned short.
const MAX_SEGMENTS_PER_PAGE: usize = 512;
/// Maximum delay between a decision and the commit of its segment.
const MAX_COMMIT_DELAY: SignedDuration = SignedDuration::from_mins(10);

/// Reads a page, in the caller's transaction.
pub(super) async fn read_page(
    connection: &mut Connection,
    cache: &RecordCache,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page, Error> {
    let since = filter.start.map_or(i64::MIN, Timestamp::as_microsecond);
    let mut segments =
        ReverseSegmentScan::open(connection, keys_of(filter), start_position(filter, after), since).await?;
    let mut page = Page::default();
    let (mut scanned, mut batch_size) = (0, 1);
    loop {
        let batch = segments.next(connection, batch_size).await?;
        let Some((last, _)) = batch.last() else { return Ok(page) };
        let end = cursor(last, 0);
        scanned += batch.len();
        for (position, segment) in batch {
            for listed in remaining(connection, cache, &position, &segment, after).await? {
                let cursor = cursor(&position, listed.id().sequence);
                if filter.admits(&listed) {
                    page.decisions.push((listed, cursor.clone()));
                }
                if page.decisions.len() == limit {
                    page.next = Some(cursor);
                    return Ok(page);
                }
            }
        }
        if scanned >= MAX_SEGMENTS_PER_PAGE {
            page.next = Some(end);
            return Ok(page);
        }
        // Starts small: the first segments often fill a page.
        batch_size = (batch_size * 2).min(READ_BATCH_SIZE);
    }
}

/// Returns the decisions of a segment after the cursor, newest first.
async fn remaining(
    connection: &mut Connection,
    cache: &RecordCache,
    position: &Position,
    segment: &SegmentBody,
    after: Option<&Cursor>,
) -> Result<Vec<Listed>, Error> {
    let start = cursor(position, 0);
    let mut entries = readable_entries(&position.1, segment);
    entries.reverse();
    if let Some(after) = after.filter(|after| Cursor { sequence: 0, ..(*after).clone() } == start) {
        entries.retain(|(id, _)| id.sequence < after.sequence);
    }
    load_records(connection, cache, entries).await
}

/// Returns the position at which a page starts.
fn start_position(filter: &Filter, after: Option<&Cursor>) -> Position {
    let latest = filter
        .end
        .map_or(i64::MAX, |end| end.saturating_add(MAX_COMMIT_DELAY).unwrap_or(Timestamp::MAX).as_microsecond());
    match after {
        Some(after) => {
            (after.last_time, Arc::clone(&after.writer), i64::try_from(after.first_sequence).unwrap_or(i64::MAX))
        }
        // Greater than any writer's name.
        None => (latest, "~".into(), i64::MAX),
    }
}

/// Creates the cursor of a decision in the segment at a position.
fn cursor((last_time, writer, first): &Position, sequence: u64) -> Cursor {
    let first_sequence = u64::try_from(*first).unwrap_or_default();
    Cursor { last_time: *last_time, writer: Arc::clone(writer), first_sequence, sequence }
}

/// Returns the keys whose segments have every match: that of the condition which is likely to match the fewest segments, and that
/// of the decisions whose terms are unknown.
fn keys_of(filter: &Filter) -> Vec<Key> {
    match most_selective(filter) {
        None => vec![index_terms::all_key()],
        Some(key) => vec![key, index_terms::unreadable_key()],
    }
}

fn most_selective(filter: &Filter) -> Option<Key> {
    let verdict = match filter.verdicts.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    None.or_else(|| filter.digest.as_ref().map(|digest| (DIGEST, digest.to_string())))
        .or_else(|| filter.repository.as_ref().map(|repository| (REPOSITORY, repository.to_string())))
        .or_else(|| filter.caller.as_ref().map(|caller| (CALLER, caller.clone())))
        .or_else(|| filter.policy.as_ref().map(|policy| (POLICY, policy.to_string())))
        .or_else(|| filter.environment.as_ref().map(|environment| (ENVIRONMENT, environment.to_string())))
        .or_else(|| verdict.map(|verdict| (VERDICT, format!("{verdict:?}"))))
}
