//! Finding decisions again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    SqlLog, blobs, chains,
    commit::of_store,
    segment::{self, Entry},
};
use crate::{
    decisions::Hash,
    log::{Case, DecisionId, Error, Followed, Recorded},
    store::sql::Connection,
};

/// Segments that are read at once.
const SEGMENTS: i64 = 32;

impl SqlLog {
    pub(super) async fn read_one(&self, id: &DecisionId) -> Result<Recorded, Error> {
        let missing = || Error::NotFound(id.clone());
        let mut connection = self.database.reader().await.map_err(of_store)?;
        let segment = chains::segment_of(&mut connection, &id.writer, id.sequence).await.map_err(of_store)?;
        let segment = segment.ok_or_else(missing)?;
        let entries = entries_of(&id.writer, segment.first, &segment.body)?;
        let entry = entries.into_iter().find(|(of, _)| of == id).ok_or_else(missing)?;
        self.recorded(&mut connection, vec![entry]).await?.pop().ok_or_else(missing)
    }

    pub(super) async fn read_on(&self, followed: &mut Followed, limit: usize) -> Result<Vec<Recorded>, Error> {
        let mut connection = self.database.reader().await.map_err(of_store)?;
        let heads = chains::writers(&mut connection).await.map_err(of_store)?;
        let mut entries = Vec::new();
        for writer in heads {
            let name: Arc<str> = writer.name.as_str().into();
            let seen = followed.get(&name).copied().unwrap_or_default();
            if seen >= writer.head.sequence || entries.len() >= limit {
                continue;
            }
            let next = seen.saturating_add(1);
            let segments = chains::segments_from(&mut connection, &name, next, SEGMENTS).await.map_err(of_store)?;
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
        entries: Vec<(DecisionId, Entry)>,
    ) -> Result<Vec<Recorded>, Error> {
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
            let blobs = blobs::get(connection, &missing).await.map_err(of_store)?;
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

/// The entries of a segment with their names.
pub(super) fn entries_of(writer: &Arc<str>, first: u64, body: &[u8]) -> Result<Vec<(DecisionId, Entry)>, Error> {
    let entries = segment::read(body).map_err(|source| Error::Corrupt {
        what: format!("the segment of decision {writer}-{first}"),
        source: source.into(),
    })?;
    let named = |(sequence, entry)| (DecisionId { writer: Arc::clone(writer), sequence }, entry);
    Ok((first..).zip(entries).map(named).collect())
}
