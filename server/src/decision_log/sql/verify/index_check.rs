//! Verifies that index keys and idempotency keys match the decisions of the log.
//!
//! The chains do not cover either of them, but both can be derived from the chains.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;

use super::super::{
    blobs,
    index_batch::{MAX_SEGMENTS, MAX_SPAN_MICROS},
    index_terms,
    segment::StoredEntry,
    segment_table::{self, KeyRow, Segment, WriterRow},
};
use crate::{
    decision_log::{DecisionRecord, Hash, IndexTerms},
    idempotency::{
        MAX_WINDOW,
        sql::{self as requests, Kind, StoredRequest},
    },
    sql::{Connection, Error},
};

/// Maximum number of records whose terms are cached during verification.
const TERMS_CACHE_CAPACITY: u64 = 2_000;

/// A kind and a value.
type Key = (String, String);

/// A verifier of index and idempotency keys, which is fed with segments in the order of their chains.
pub(super) struct IndexVerifier {
    now: Timestamp,
    /// The idempotency keys that are not matched yet, by their decision.
    requests: BTreeMap<(String, u64), StoredRequest>,
    /// The callers and ids of all stored idempotency keys.
    request_ids: BTreeSet<(String, String)>,
    /// The ids of matched idempotency keys, by their decision.
    matched: BTreeMap<(String, u64), String>,
    /// The recent decisions whose idempotency key stands for a later one.
    superseded: BTreeSet<(String, u64)>,
    terms: Cache<Hash, IndexTerms>,
    /// The current index batch of the chain.
    batch: Option<BatchCheck>,
}

impl IndexVerifier {
    pub(super) async fn load(connection: &mut Connection) -> Result<Self, Error> {
        let requests = requests::load_all(connection, Kind::Decision).await?;
        Ok(Self {
            now: Timestamp::now(),
            request_ids: requests.iter().map(|request| (request.caller.clone(), request.id.clone())).collect(),
            requests: requests
                .into_iter()
                .map(|request| ((request.writer.clone(), request.sequence), request))
                .collect(),
            matched: BTreeMap::new(),
            superseded: BTreeSet::new(),
            terms: Cache::new(TERMS_CACHE_CAPACITY),
            batch: None,
        })
    }

    /// Checks the keys of consecutive segments; entries are `None` for an unreadable segment. Returns the defects.
    pub(super) async fn check_segments(
        &mut self,
        connection: &mut Connection,
        writer: &WriterRow,
        segments: &[(Segment, Option<Vec<StoredEntry>>)],
    ) -> Result<Vec<String>, Error> {
        let (Some((first, _)), Some((last, _))) = (segments.first(), segments.last()) else { return Ok(Vec::new()) };
        let entries = segments.iter().filter_map(|(_, entries)| entries.as_ref()).flatten();
        let records: BTreeSet<Hash> = entries.map(|entry| entry.record).collect();
        let terms = self.load_terms(connection, &records).await?;
        let name = &writer.name;
        let mut keys = segment_table::load_keys(connection, name, first.first, last.first).await?;
        let mut damage = Vec::new();
        for (segment, entries) in segments {
            if let Some(keys) = keys.remove(&segment.first) {
                damage.extend(self.finish_batch(name));
                self.batch = Some(BatchCheck::new(keys, segment));
            }
            damage.extend(self.check_keys(writer, segment, entries.as_deref(), &terms));
            for (sequence, entry) in (segment.first..).zip(entries.iter().flatten()) {
                damage.extend(self.check_request(name, sequence, entry));
            }
        }
        Ok(damage)
    }

    fn check_keys(
        &mut self,
        writer: &WriterRow,
        segment: &Segment,
        entries: Option<&[StoredEntry]>,
        terms: &BTreeMap<Hash, IndexTerms>,
    ) -> Vec<String> {
        let mut damage = Vec::new();
        let range = format!("decisions {0}-{1} to {0}-{2}", writer.name, segment.first, segment.last);
        let latest = entries.map(|entries| entries.iter().map(|entry| entry.evaluate_time.as_microsecond()).max());
        if latest.is_some_and(|latest| latest != Some(segment.last_time)) {
            damage.push(format!("{range}: the stored time is not that of their latest decision"));
        }
        let found = self.batch.as_mut().map(|batch| batch.next_keys(segment)).unwrap_or_default();
        let records = entries.and_then(|entries| {
            entries.iter().map(|entry| Some((entry, terms.get(&entry.record)?))).collect::<Option<Vec<_>>>()
        });
        // Unreadable segments and records are reported elsewhere.
        if let Some(records) = records {
            let expected = if segment.first <= writer.indexed { expected_keys(&records) } else { BTreeSet::new() };
            if !finds_all(&found, &expected) {
                damage.push(format!("{range}: index keys are missing, or do not match the decisions"));
            }
        }
        damage
    }

    /// Ends the current index batch, and returns its defect, if any.
    pub(super) fn finish_batch(&mut self, writer: &str) -> Option<String> {
        self.batch.take().and_then(|batch| batch.finish(writer))
    }

    fn check_request(&mut self, writer: &str, sequence: u64, entry: &StoredEntry) -> Option<String> {
        let decision = (writer.to_owned(), sequence);
        let stored = self.requests.remove(&decision);
        let name = format!("{writer}-{sequence}");
        let end = |window| entry.evaluate_time.saturating_add(window).unwrap_or(Timestamp::MAX);
        if let Some(superseded) = entry.supersedes.as_ref().filter(|_| self.now < end(MAX_WINDOW)) {
            self.superseded.insert((superseded.writer.to_string(), superseded.sequence));
        }
        match (&entry.request, stored) {
            (Some((id, fingerprint, _)), Some(stored))
                if (&entry.caller, id, fingerprint) == (&stored.caller, &stored.id, &stored.fingerprint) =>
            {
                self.matched.insert(decision, stored.id);
                None
            }
            (_, Some(StoredRequest { id, .. })) => {
                Some(format!("request {id:?} leads to decision {name}, which was not recorded for that request"))
            }
            // A key that is stored with another decision is checked there.
            (Some((id, _, window)), None) => {
                let is_kept = self.now < end(SignedDuration::from_secs(*window));
                let is_lost = is_kept && !self.request_ids.contains(&(entry.caller.clone(), id.clone()));
                is_lost.then(|| format!("request {id:?} no longer leads to decision {name}"))
            }
            (None, None) => None,
        }
    }

    /// Loads the terms of the readable records. The result owns them: the cache may evict any of them at any time.
    async fn load_terms(
        &self,
        connection: &mut Connection,
        records: &BTreeSet<Hash>,
    ) -> Result<BTreeMap<Hash, IndexTerms>, Error> {
        let mut terms: BTreeMap<Hash, IndexTerms> =
            records.iter().filter_map(|hash| Some((*hash, self.terms.get(hash)?))).collect();
        let missing: Vec<Hash> = records.iter().filter(|hash| !terms.contains_key(*hash)).copied().collect();
        for (hash, blob) in blobs::load(connection, &missing).await? {
            if let Ok(record) = blob.decode::<DecisionRecord>() {
                self.terms.insert(hash, record.keys.clone());
                terms.insert(hash, record.keys);
            }
        }
        Ok(terms)
    }

    /// Skips the idempotency keys of trimmed decisions, which may outlive them.
    pub(super) fn skip_trimmed(&mut self, writer: &str, upto: u64) {
        self.requests.retain(|(name, sequence), _| name != writer || *sequence > upto);
    }

    /// Returns the defects that show after all chains: idempotency keys and index keys without a decision.
    pub(super) async fn finish(&self, connection: &mut Connection) -> Result<Vec<String>, Error> {
        let now = self.now.as_microsecond();
        let dangling = self.requests.values().filter(|request| request.expire_time > now);
        let mut damage: Vec<String> = dangling
            .map(|StoredRequest { id, writer, sequence, .. }| {
                format!("request {id:?} leads to decision {writer}-{sequence}, which does not exist")
            })
            .collect();
        for decision in &self.superseded {
            if let Some(id) = self.matched.get(decision) {
                let (writer, sequence) = decision;
                damage.push(format!("request {id:?} leads to decision {writer}-{sequence}, which was superseded"));
            }
        }
        let orphans = segment_table::count_orphan_keys(connection).await?;
        if orphans > 0 {
            damage.push(format!("{orphans} index keys lead to decisions that do not exist"));
        }
        Ok(damage)
    }
}

fn expected_keys(decisions: &[(&StoredEntry, &IndexTerms)]) -> BTreeSet<Key> {
    let keys = decisions.iter().flat_map(|(entry, terms)| index_terms::keys_for(Some(entry.record), Some(*terms)));
    let callers = decisions.iter().map(|(entry, _)| index_terms::caller_key(Some(&entry.caller)));
    keys.chain(callers).chain([index_terms::all_key()]).map(owned).collect()
}

fn owned((kind, name): index_terms::Key) -> Key {
    (kind.to_owned(), name)
}

/// True if lists find the decisions of a segment by its keys, and by no others. An indexer that could not read some terms, such as
/// that of an older server, has left them out: its key for such decisions stands for all of them.
fn finds_all(found: &BTreeSet<Key>, expected: &BTreeSet<Key>) -> bool {
    let unreadable = owned(index_terms::unreadable_key());
    let is_term = |kind: &str| ![index_terms::ALL, index_terms::RECORD].contains(&kind);
    let mut missing = expected.difference(found);
    let mut added = found.difference(expected);
    added.all(|key| *key == unreadable) && missing.all(|(kind, _)| found.contains(&unreadable) && is_term(kind))
}

/// An index batch as its stored keys describe it, compared with its segments one by one.
struct BatchCheck {
    keys: Vec<KeyRow>,
    first: u64,
    last: u64,
    first_time: i64,
    last_time: i64,
    segments: u32,
}

impl BatchCheck {
    /// Creates the check of a batch that starts with a segment, which [`Self::next_keys`] must still visit.
    fn new(keys: Vec<KeyRow>, segment: &Segment) -> Self {
        let (first, last, time) = (segment.first, segment.last, segment.last_time);
        Self { keys, first, last, first_time: time, last_time: time, segments: 0 }
    }

    /// Returns the keys of the next segment.
    fn next_keys(&mut self, segment: &Segment) -> BTreeSet<Key> {
        let bit = 1_i64.checked_shl(self.segments).unwrap_or_default();
        let keys = self.keys.iter().filter(|key| key.segments & bit != 0);
        let keys: BTreeSet<_> = keys.map(|key| (key.kind.clone(), key.name.clone())).collect();
        if !keys.is_empty() {
            self.last = segment.last;
            self.first_time = self.first_time.min(segment.last_time);
            self.last_time = self.last_time.max(segment.last_time);
        }
        self.segments = self.segments.saturating_add(1);
        keys
    }

    /// Returns the defect of the batch as a whole, if any.
    fn finish(self, writer: &str) -> Option<String> {
        // Bits of segments that do not exist.
        let beyond = i64::MAX.checked_shl(self.segments).filter(|_| self.segments < MAX_SEGMENTS).unwrap_or(i64::MIN);
        let is_consistent = self.keys.iter().all(|key| {
            (key.first_time, key.last_time) == (self.first_time, self.last_time) && key.segments & beyond == 0
        });
        let is_damaged = !is_consistent || self.last_time.saturating_sub(self.first_time) > MAX_SPAN_MICROS;
        let Self { first, last, .. } = self;
        is_damaged.then(|| {
            format!("decisions {writer}-{first} to {writer}-{last}: index keys do not match the times or the segments")
        })
    }
}
