//! Reads of decisions by id, and by position in the chains.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use moka::sync::Cache;

use super::{
    blobs,
    segment::{self, StoredEntry},
    segment_table,
};
use crate::{
    decision_log::{Cursors, DecisionId, DecisionRecord, Entry, Error, Hash},
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
    load_records(connection, cache, vec![entry]).await?.pop().ok_or_else(missing)
}

pub(super) async fn read_next(
    connection: &mut Connection,
    cache: &RecordCache,
    cursors: &mut Cursors,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let writers = segment_table::load_writers(connection).await?;
    let mut entries = Vec::new();
    for writer in writers {
        let name: Arc<str> = writer.name.as_str().into();
        let last_read = cursors.get(&name).copied().unwrap_or_default();
        if last_read >= writer.head.sequence || entries.len() >= limit {
            continue;
        }
        let next = last_read.saturating_add(1);
        let segments = segment_table::segments_from(connection, &name, next, READ_BATCH_SIZE).await?;
        for segment in segments {
            let more = decode_entries(&name, segment.first, &segment.body)?;
            let more = more.into_iter().filter(|(id, _)| id.sequence > last_read);
            entries.extend(more.take(limit.saturating_sub(entries.len())));
        }
        let last = entries.iter().rev().find(|(id, _)| id.writer == name).map(|(id, _)| id.sequence);
        cursors.insert(name, last.unwrap_or(writer.head.sequence));
    }
    load_records(connection, cache, entries).await
}

/// Loads the records of entries, in the same order.
pub(super) async fn load_records(
    connection: &mut Connection,
    cache: &RecordCache,
    entries: Vec<(DecisionId, StoredEntry)>,
) -> Result<Vec<Entry>, Error> {
    let hashes: BTreeSet<Hash> = entries.iter().map(|(_, entry)| entry.record).collect();
    let mut records: BTreeMap<Hash, Arc<DecisionRecord>> =
        hashes.iter().filter_map(|hash| Some((*hash, cache.get(hash)?))).collect();
    let missing: Vec<Hash> = hashes.into_iter().filter(|hash| !records.contains_key(hash)).collect();
    for (hash, blob) in blobs::load(connection, &missing).await? {
        let record: Arc<DecisionRecord> = blob
            .decode()
            .map(Arc::new)
            .map_err(|source| Error::Corrupt { what: format!("record {hash}"), source: source.into() })?;
        cache.insert(hash, Arc::clone(&record));
        records.insert(hash, record);
    }
    let with_record = |(id, entry): (DecisionId, StoredEntry)| {
        let record = records.get(&entry.record).map(Arc::clone).ok_or_else(|| Error::Corrupt {
            what: format!("decision {id}"),
            source: format!("its record {} is missing", entry.record).into(),
        })?;
        Ok(Entry { id, evaluate_time: entry.evaluate_time, labels: entry.labels, record })
    };
    entries.into_iter().map(with_record).collect()
}

/// Decodes the entries of a segment, with their ids.
pub(super) fn decode_entries(
    writer: &Arc<str>,
    first: u64,
    body: &[u8],
) -> Result<Vec<(DecisionId, StoredEntry)>, Error> {
    let entries = segment::decode(body).map_err(|source| Error::Corrupt {
        what: format!("the segment of decision {writer}-{first}"),
        source: source.into(),
    })?;
    let with_id = |(sequence, entry)| (DecisionId { writer: Arc::clone(writer), sequence }, entry);
    Ok((first..).zip(entries).map(with_id).collect())
}
