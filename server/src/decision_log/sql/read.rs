//! Finding decisions again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    SqlDecisionLog, blobs,
    segment::{self, StoredEntry},
    segment_table,
};
use crate::{
    decision_log::{Cursors, DecisionId, DecisionRecord, Entry, Error, Hash},
    sql::Connection,
};

/// Segments that are read at once.
const SEGMENTS: i64 = 32;

impl SqlDecisionLog {
    pub(super) async fn read_one(&self, id: &DecisionId) -> Result<Entry, Error> {
        let missing = || Error::NotFound(id.clone());
        let mut connection = self.database.reader().await?;
        let segment = segment_table::segment_of(&mut connection, &id.writer, id.sequence).await?;
        let segment = segment.ok_or_else(missing)?;
        let entries = entries_of(&id.writer, segment.first, &segment.body)?;
        let entry = entries.into_iter().find(|(of, _)| of == id).ok_or_else(missing)?;
        self.recorded(&mut connection, vec![entry]).await?.pop().ok_or_else(missing)
    }

    pub(super) async fn read_on(&self, followed: &mut Cursors, limit: usize) -> Result<Vec<Entry>, Error> {
        let mut connection = self.database.reader().await?;
        let heads = segment_table::writers(&mut connection).await?;
        let mut entries = Vec::new();
        for writer in heads {
            let name: Arc<str> = writer.name.as_str().into();
            let seen = followed.get(&name).copied().unwrap_or_default();
            if seen >= writer.head.sequence || entries.len() >= limit {
                continue;
            }
            let next = seen.saturating_add(1);
            let segments = segment_table::segments_from(&mut connection, &name, next, SEGMENTS).await?;
            for segment in segments {
                let more = entries_of(&name, segment.first, &segment.body)?;
                let more = more.into_iter().filter(|(id, _)| id.sequence > seen);
                entries.extend(more.take(limit.saturating_sub(entries.len())));
            }
            let last = entries.iter().rev().find(|(id, _)| id.writer == name).map(|(id, _)| id.sequence);
            followed.insert(name, last.unwrap_or(writer.head.sequence));
        }
        self.recorded(&mut connection, entries).await
    }

    /// The entries with their cases, in the same order.
    pub(super) async fn recorded(
        &self,
        connection: &mut Connection,
        entries: Vec<(DecisionId, StoredEntry)>,
    ) -> Result<Vec<Entry>, Error> {
        let mut cases: BTreeMap<Hash, Arc<DecisionRecord>> = BTreeMap::new();
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
            let blobs = blobs::get(connection, &missing).await?;
            for (hash, blob) in blobs {
                let case: Arc<DecisionRecord> = blob
                    .read()
                    .map(Arc::new)
                    .map_err(|source| Error::Corrupt { what: format!("case {hash}"), source: source.into() })?;
                self.cases.insert(hash, Arc::clone(&case));
                cases.insert(hash, case);
            }
        }
        let recorded = |(id, entry): (DecisionId, StoredEntry)| {
            let case = cases.get(&entry.case).map(Arc::clone).ok_or_else(|| Error::Corrupt {
                what: format!("decision {id}"),
                source: format!("its case {} is missing", entry.case).into(),
            })?;
            Ok(Entry { id, evaluated_at: entry.evaluated_at, labels: entry.labels, case })
        };
        entries.into_iter().map(recorded).collect()
    }
}

/// The entries of a segment with their names.
pub(super) fn entries_of(writer: &Arc<str>, first: u64, body: &[u8]) -> Result<Vec<(DecisionId, StoredEntry)>, Error> {
    let entries = segment::read(body).map_err(|source| Error::Corrupt {
        what: format!("the segment of decision {writer}-{first}"),
        source: source.into(),
    })?;
    let named = |(sequence, entry)| (DecisionId { writer: Arc::clone(writer), sequence }, entry);
    Ok((first..).zip(entries).map(named).collect())
}
