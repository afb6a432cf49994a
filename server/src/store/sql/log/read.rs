//! Finding decisions again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    SqlLog, blobs, chains,
    commit::of_store,
    keys::{ALL, DIGEST, ENVIRONMENT, POLICY, REPOSITORY, VERDICT},
    segment::{self, Entry},
};
use crate::{
    decisions::Hash,
    log::{Case, Cursor, DecisionId, Error, Filter, Followed, Page, Recorded},
};

/// Segments that are read at once.
const SEGMENTS: i64 = 32;
/// Segments that one page may look through before it is given out as it is.
const MOST_SEGMENTS: usize = 512;
/// How much later than a decision its batch may have been committed.
const DELAY: SignedDuration = SignedDuration::from_mins(10);

impl SqlLog {
    pub(super) async fn read_one(&self, id: &DecisionId) -> Result<Recorded, Error> {
        let missing = || Error::NotFound(id.clone());
        let mut connection = self.database.reader().await.map_err(of_store)?;
        let segment = chains::segment_of(&mut connection, &id.writer, id.sequence).await.map_err(of_store)?;
        drop(connection);
        let segment = segment.ok_or_else(missing)?;
        let entries = entries_of(&id.writer, segment.first, &segment.body)?;
        let entry = entries.into_iter().find(|(of, _)| of == id).ok_or_else(missing)?;
        self.recorded(vec![entry]).await?.pop().ok_or_else(missing)
    }

    pub(super) async fn read_page(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let key = narrowest(filter);
        let since = filter.start.map_or(i64::MIN, Timestamp::as_microsecond);
        let latest =
            filter.end.map_or(i64::MAX, |end| end.saturating_add(DELAY).unwrap_or(Timestamp::MAX).as_microsecond());
        // Greater than any writer's name.
        let mut from = (latest, Arc::<str>::from("~"), i64::MAX);
        // All of that segment that is no older than this has been told.
        let mut told = None;
        if let Some(after) = after {
            let first = i64::try_from(after.first_sequence).unwrap_or(i64::MAX);
            from = (after.last_time, Arc::clone(&after.writer), first);
            told = Some(after.clone());
        }
        let mut page = Page::default();
        let mut looked_through = 0;
        loop {
            let mut connection = self.database.reader().await.map_err(of_store)?;
            let place = (from.0, &*from.1, from.2);
            let segments = chains::found(&mut connection, (key.0, &key.1), place, since, SEGMENTS).await;
            drop(connection);
            let segments = segments.map_err(of_store)?;
            let is_last = segments.len() < usize::try_from(SEGMENTS).unwrap_or(usize::MAX);
            for segment in &segments {
                let first = u64::try_from(segment.first_sequence).unwrap_or_default();
                let writer: Arc<str> = segment.writer.as_str().into();
                let mut entries = entries_of(&writer, first, &segment.body)?;
                entries.reverse();
                let is_told = |told: &Cursor, id: &DecisionId| {
                    (told.last_time, &told.writer, told.first_sequence) == (segment.last_time, &writer, first)
                        && id.sequence >= told.sequence
                };
                entries.retain(|(id, _)| told.as_ref().is_none_or(|told| !is_told(told, id)));
                for recorded in self.recorded(entries).await? {
                    let cursor = Cursor {
                        last_time: segment.last_time,
                        writer: Arc::clone(&writer),
                        first_sequence: first,
                        sequence: recorded.id.sequence,
                    };
                    if filter.admits(&recorded) {
                        page.decisions.push(recorded);
                        if page.decisions.len() == limit {
                            page.next = Some(cursor);
                            return Ok(page);
                        }
                    }
                }
                let whole = Cursor { last_time: segment.last_time, writer, first_sequence: first, sequence: 0 };
                from = (whole.last_time, Arc::clone(&whole.writer), segment.first_sequence);
                told = Some(whole);
            }
            looked_through += segments.len();
            // The segment that the last look ended with is the one that the next begins with.
            if is_last || segments.len() <= 1 {
                return Ok(page);
            }
            if looked_through >= MOST_SEGMENTS {
                page.next = told;
                return Ok(page);
            }
        }
    }

    pub(super) async fn read_on(&self, followed: &mut Followed, limit: usize) -> Result<Vec<Recorded>, Error> {
        let heads = {
            let mut connection = self.database.reader().await.map_err(of_store)?;
            chains::writers(&mut connection).await.map_err(of_store)?
        };
        let mut entries = Vec::new();
        for writer in heads {
            let name: Arc<str> = writer.name.as_str().into();
            let seen = followed.get(&name).copied().unwrap_or_default();
            if seen >= writer.head.sequence || entries.len() >= limit {
                continue;
            }
            let mut connection = self.database.reader().await.map_err(of_store)?;
            let next = seen.saturating_add(1);
            let segments = chains::segments_from(&mut connection, &name, next, SEGMENTS).await.map_err(of_store)?;
            drop(connection);
            for segment in segments {
                let more = entries_of(&name, segment.first, &segment.body)?;
                let more = more.into_iter().filter(|(id, _)| id.sequence > seen);
                entries.extend(more.take(limit.saturating_sub(entries.len())));
            }
            let last = entries.iter().rev().find(|(id, _)| id.writer == name).map(|(id, _)| id.sequence);
            followed.insert(name, last.unwrap_or(writer.head.sequence));
        }
        self.recorded(entries).await
    }

    /// The entries with their cases, in the same order.
    async fn recorded(&self, entries: Vec<(DecisionId, Entry)>) -> Result<Vec<Recorded>, Error> {
        let mut cases: BTreeMap<Hash, Arc<Case>> = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for (_, entry) in &entries {
            match self.cases.get(&entry.case) {
                Some(case) => {
                    cases.insert(entry.case, case);
                }
                None => {
                    missing.insert(entry.case);
                }
            }
        }
        if !missing.is_empty() {
            let missing: Vec<Hash> = missing.into_iter().collect();
            let mut connection = self.database.reader().await.map_err(of_store)?;
            let blobs = blobs::get(&mut connection, &missing).await.map_err(of_store)?;
            for (hash, blob) in blobs {
                let case: Arc<Case> = blob
                    .read()
                    .map(Arc::new)
                    .map_err(|source| Error::Corrupt { what: format!("case {hash}"), source: source.into() })?;
                self.cases.insert(hash, Arc::clone(&case));
                cases.insert(hash, case);
            }
        }
        let recorded = |(id, entry): (DecisionId, Entry)| {
            let case = cases.get(&entry.case).map(Arc::clone).ok_or_else(|| Error::Corrupt {
                what: format!("decision {id}"),
                source: format!("its case {} is missing", entry.case).into(),
            })?;
            Ok(Recorded { id, evaluated_at: entry.evaluated_at, labels: entry.labels, case })
        };
        entries.into_iter().map(recorded).collect()
    }
}

/// What of a filter leaves fewest segments to look through, most likely.
fn narrowest(filter: &Filter) -> (&'static str, String) {
    let verdict = match filter.verdicts.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    None.or_else(|| filter.digest.as_ref().map(|digest| (DIGEST, digest.to_string())))
        .or_else(|| filter.repository.as_ref().map(|repository| (REPOSITORY, repository.to_string())))
        .or_else(|| filter.policy.as_ref().map(|policy| (POLICY, policy.to_string())))
        .or_else(|| filter.environment.as_ref().map(|environment| (ENVIRONMENT, environment.to_string())))
        .or_else(|| verdict.map(|verdict| (VERDICT, format!("{verdict:?}"))))
        .unwrap_or_else(|| (ALL, String::new()))
}

/// The entries of a segment with their names.
fn entries_of(writer: &Arc<str>, first: u64, body: &[u8]) -> Result<Vec<(DecisionId, Entry)>, Error> {
    let entries = segment::read(body).map_err(|source| Error::Corrupt {
        what: format!("the segment of decision {writer}-{first}"),
        source: source.into(),
    })?;
    let named = |(sequence, entry)| (DecisionId { writer: Arc::clone(writer), sequence }, entry);
    Ok((first..).zip(entries).map(named).collect())
}
