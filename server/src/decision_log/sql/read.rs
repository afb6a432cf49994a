//! Reads of decisions by id, and by position in the chains.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use moka::sync::Cache;

use super::{
    blobs,
    group_commit::MAX_BATCH_SIZE,
    segment::{Line, SegmentBody, StoredEntry},
    segment_table,
};
use crate::{
    decision_log::{
        Blob, ChainCursor, Cursors, DecisionId, DecisionRecord, Entry, Error, Hash, Listed, Outline, Unreadable,
    },
    sql::Connection,
};

/// Maximum number of segments in one read.
const READ_BATCH_SIZE: u8 = 32;
/// The cause of decisions in the middle of a chain that are not stored.
const LOST: &str = "its segment of the decision log is missing";

/// A cache of records by hash.
pub(super) type RecordCache = Cache<Hash, Arc<DecisionRecord>>;

pub(super) async fn read_decision(
    connection: &mut Connection,
    cache: &RecordCache,
    id: &DecisionId,
) -> Result<Entry, Error> {
    let missing = || Error::NotFound(id.clone());
    let segment = segment_table::segment_with(connection, &id.writer, id.sequence).await?;
    let Some(segment) = segment else {
        let chain = segment_table::load_chain(connection, &id.writer).await?;
        let is_lost = chain.is_some_and(|chain| chain.trimmed < id.sequence && id.sequence <= chain.sequence);
        let lost = || Error::Corrupt { what: format!("decision {id}"), source: LOST.into() };
        return Err(if is_lost { lost() } else { missing() });
    };
    let entries = decode_entries(&id.writer, &segment)?;
    let entry = entries.into_iter().find(|(entry_id, _)| entry_id == id).ok_or_else(missing)?;
    match load_records(connection, cache, vec![entry]).await?.pop().ok_or_else(missing)? {
        Listed::Entry(entry) => Ok(entry),
        Listed::Unreadable(unreadable) => {
            Err(Error::Corrupt { what: format!("decision {id}"), source: unreadable.cause.into() })
        }
    }
}

/// Reads the chains in turn, beginning with the one after the last one read: no busy writer keeps others from being read.
pub(super) async fn read_next(
    connection: &mut Connection,
    cache: &RecordCache,
    cursors: &mut Cursors,
    limit: usize,
) -> Result<Vec<Listed>, Error> {
    let mut chains = segment_table::load_chains(connection).await?;
    chains.sort_unstable_by(|one, other| one.writer.cmp(&other.writer));
    let turn = chains.partition_point(|chain| *chain.writer <= *cursors.last_read);
    chains.rotate_left(turn);
    let mut entries = Vec::new();
    for chain in chains {
        let writer: Arc<str> = chain.writer.as_str().into();
        let cursor = cursors.chains.entry(Arc::clone(&writer)).or_default();
        cursor.head = chain.sequence;
        if cursor.sequence < chain.trimmed {
            return Err(Error::Trimmed);
        }
        let room = limit.saturating_sub(entries.len());
        if cursor.sequence < cursor.head && room > 0 {
            entries.extend(read_chain(connection, &writer, cursor, room).await?);
            cursors.last_read = writer;
        }
    }
    load_records(connection, cache, entries).await
}

/// Returns the next decisions of a chain, and advances its cursor. Lost decisions are unreadable ones, not skipped.
async fn read_chain(
    connection: &mut Connection,
    writer: &Arc<str>,
    cursor: &mut ChainCursor,
    limit: usize,
) -> Result<Vec<(DecisionId, Line)>, Error> {
    let mut next = cursor.sequence.saturating_add(1);
    let segments: Vec<SegmentBody> =
        segment_table::segments_from(connection, writer, next, i64::from(READ_BATCH_SIZE)).await?;
    let is_rest = segments.len() < usize::from(READ_BATCH_SIZE);
    let mut entries = Vec::new();
    let ends = segments.iter().skip(1).map(|following| following.first.saturating_sub(1)).chain([cursor.head]);
    // A damaged end would skip the decisions after it.
    for (segment, end) in segments.iter().zip(ends) {
        if entries.len() >= limit {
            break;
        }
        cursor.last_time = cursor.last_time.max(segment.last_time);
        entries.extend(unreadable_entries(writer, next..=segment.first.saturating_sub(1), LOST).take(limit));
        entries.extend(
            readable_entries(writer, segment).into_iter().filter(|(id, _)| (next..=end).contains(&id.sequence)),
        );
        next = entries.last().map_or(next, |(id, _)| id.sequence.saturating_add(1));
    }
    if is_rest || entries.is_empty() {
        entries.extend(unreadable_entries(writer, next..=cursor.head, LOST).take(limit));
    }
    entries.truncate(limit);
    if let Some((last, _)) = entries.last() {
        cursor.sequence = last.sequence;
    }
    Ok(entries)
}

/// Loads the records of entries, in the same order.
pub(super) async fn load_records(
    connection: &mut Connection,
    cache: &RecordCache,
    entries: Vec<(DecisionId, Line)>,
) -> Result<Vec<Listed>, Error> {
    let hashes: BTreeSet<Hash> = entries.iter().filter_map(|(_, entry)| entry.record()).collect();
    let mut records: BTreeMap<Hash, Record> =
        hashes.iter().filter_map(|hash| Some((*hash, Record::Whole(cache.get(hash)?)))).collect();
    let missing: Vec<Hash> = hashes.into_iter().filter(|hash| !records.contains_key(hash)).collect();
    for (hash, blob) in blobs::load(connection, &missing).await? {
        let record = Record::read(&blob);
        if let Record::Whole(record) = &record {
            cache.insert(hash, Arc::clone(record));
        }
        records.insert(hash, record);
    }
    Ok(entries.into_iter().map(|(id, line)| listed(id, line, &records)).collect())
}

/// The record of a decision, as far as it can be read.
#[derive(Clone, Debug)]
enum Record {
    Whole(Arc<DecisionRecord>),
    Partial(Outline, String),
}

impl Record {
    fn read(blob: &Blob) -> Self {
        match blob.decode() {
            Ok(record) => Self::Whole(Arc::new(record)),
            Err(error) => {
                let readable = blob.decode().unwrap_or_default();
                Self::Partial(readable, format!("record {}: {error}", blob.hash()))
            }
        }
    }

    fn missing(hash: Option<Hash>) -> Self {
        let cause = hash.map_or_else(|| "its record is unknown".to_owned(), |hash| format!("record {hash} is missing"));
        Self::Partial(Outline::default(), cause)
    }
}

fn listed(id: DecisionId, line: Line, records: &BTreeMap<Hash, Record>) -> Listed {
    let hash = line.record();
    let record = hash.and_then(|hash| records.get(&hash).cloned()).unwrap_or_else(|| Record::missing(hash));
    let (evaluate_time, caller, labels, entry_cause) = match line {
        Line::Whole(entry) => match record {
            Record::Whole(record) => {
                let StoredEntry { evaluate_time, caller, labels, .. } = entry;
                return Listed::Entry(Entry { id, evaluate_time, caller, labels, record });
            }
            Record::Partial(..) => (Some(entry.evaluate_time), Some(entry.caller), entry.labels, None),
        },
        Line::Partial(entry) => {
            (entry.evaluate_time, entry.caller, entry.labels.unwrap_or_default(), Some(entry.cause))
        }
    };
    let (outline, record_cause) = match record {
        Record::Whole(record) => (Outline::of(&record), None),
        Record::Partial(outline, cause) => (outline, Some(cause)),
    };
    let causes: Vec<String> = entry_cause.into_iter().chain(record_cause).collect();
    let cause = causes.join("; ");
    Listed::Unreadable(Box::new(Unreadable { id, evaluate_time, caller, labels, outline, cause }))
}

/// Decodes the decisions of a segment; those of a damaged one are unreadable.
pub(super) fn readable_entries(writer: &Arc<str>, segment: &SegmentBody) -> Vec<(DecisionId, Line)> {
    decode_entries(writer, segment).unwrap_or_else(|error| {
        let error: &dyn std::error::Error = &error;
        tracing::error!(error, "decisions of a damaged segment are unreadable; run verify-decisions");
        let cause = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        unreadable_entries(writer, segment.first..=segment.last, &cause).take(MAX_BATCH_SIZE).collect()
    })
}

fn unreadable_entries(
    writer: &Arc<str>,
    sequences: RangeInclusive<u64>,
    cause: &str,
) -> impl Iterator<Item = (DecisionId, Line)> {
    sequences
        .map(move |sequence| (DecisionId { writer: Arc::clone(writer), sequence }, Line::unreadable(cause.to_owned())))
}

/// Decodes the decisions of a segment, with their ids.
fn decode_entries(writer: &Arc<str>, segment: &SegmentBody) -> Result<Vec<(DecisionId, Line)>, Error> {
    let entries = segment.decode().map_err(|source| Error::Corrupt {
        what: format!("the segment of decision {writer}-{}", segment.first),
        source: source.into(),
    })?;
    let with_id = |(sequence, entry)| (DecisionId { writer: Arc::clone(writer), sequence }, entry);
    Ok((segment.first..).zip(entries).map(with_id).collect())
}
