//! Reads of decisions by id, and by position in the chains.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use moka::sync::Cache;

use super::{
    blobs,
    segment::{self, Line, StoredEntry},
    segment_table,
};
use crate::{
    decision_log::{Blob, Cursors, DecisionId, DecisionRecord, Entry, Error, Hash, Listed, Outline, Unreadable},
    sql::Connection,
};

/// Maximum number of segments in one read.
const READ_BATCH_SIZE: i64 = 32;

/// A cache of records by hash.
pub(super) type RecordCache = Cache<Hash, Arc<DecisionRecord>>;

pub(super) async fn read_decision(
    connection: &mut Connection,
    cache: &RecordCache,
    id: &DecisionId,
) -> Result<Entry, Error> {
    let missing = || Error::NotFound(id.clone());
    let segment = segment_table::segment_with(connection, &id.writer, id.sequence).await?;
    let segment = segment.ok_or_else(missing)?;
    let entries = decode_entries(&id.writer, segment.first, &segment.body)?;
    let entry = entries.into_iter().find(|(entry_id, _)| entry_id == id).ok_or_else(missing)?;
    match load_records(connection, cache, vec![entry]).await?.pop().ok_or_else(missing)? {
        Listed::Entry(entry) => Ok(entry),
        Listed::Unreadable(unreadable) => {
            Err(Error::Corrupt { what: format!("decision {id}"), source: unreadable.cause.into() })
        }
    }
}

pub(super) async fn read_next(
    connection: &mut Connection,
    cache: &RecordCache,
    cursors: &mut Cursors,
    limit: usize,
) -> Result<Vec<Listed>, Error> {
    let writers = segment_table::load_writers(connection).await?;
    let mut entries = Vec::new();
    for writer in writers {
        let name: Arc<str> = writer.name.as_str().into();
        let cursor = cursors.chains.entry(Arc::clone(&name)).or_default();
        cursor.head = writer.head.sequence;
        let last_read = cursor.sequence;
        if last_read >= writer.head.sequence || entries.len() >= limit {
            continue;
        }
        let next = last_read.saturating_add(1);
        let segments = segment_table::segments_from(connection, &name, next, READ_BATCH_SIZE).await?;
        for segment in segments {
            cursor.last_time = cursor.last_time.max(segment.last_time);
            let more = decode_entries(&name, segment.first, &segment.body)?;
            let more = more.into_iter().filter(|(id, _)| id.sequence > last_read);
            entries.extend(more.take(limit.saturating_sub(entries.len())));
        }
        // Without an entry, retention has removed the rest of the chain.
        let last = entries.last().filter(|(id, _)| id.writer == name);
        cursor.sequence = last.map_or(writer.head.sequence, |(id, _)| id.sequence);
    }
    load_records(connection, cache, entries).await
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
    let (evaluate_time, labels, entry_cause) = match line {
        Line::Whole(entry) => match record {
            Record::Whole(record) => {
                let StoredEntry { evaluate_time, caller, labels, .. } = entry;
                return Listed::Entry(Entry { id, evaluate_time, caller, labels, record });
            }
            Record::Partial(..) => (Some(entry.evaluate_time), entry.labels, None),
        },
        Line::Partial(entry) => (entry.evaluate_time, entry.labels.unwrap_or_default(), Some(entry.cause)),
    };
    let (outline, record_cause) = match record {
        Record::Whole(record) => (Outline::of(&record), None),
        Record::Partial(outline, cause) => (outline, Some(cause)),
    };
    let causes: Vec<String> = entry_cause.into_iter().chain(record_cause).collect();
    Listed::Unreadable(Box::new(Unreadable { id, evaluate_time, labels, outline, cause: causes.join("; ") }))
}

/// Decodes the entries of a segment, with their ids.
pub(super) fn decode_entries(writer: &Arc<str>, first: u64, body: &[u8]) -> Result<Vec<(DecisionId, Line)>, Error> {
    let entries = segment::decode(body).map_err(|source| Error::Corrupt {
        what: format!("the segment of decision {writer}-{first}"),
        source: source.into(),
    })?;
    let with_id = |(sequence, entry)| (DecisionId { writer: Arc::clone(writer), sequence }, entry);
    Ok((first..).zip(entries).map(with_id).collect())
}
