//! Index batches: consecutive segments of a writer that are indexed together, so that they share one index key per term.
//!
//! A batch is written long after its segments. The segments that a writer has recorded since its last batch are its tail, which
//! lists scan directly. A tail that a killed writer leaves only costs time.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::index_terms::{self, Key};
use crate::decision_log::{Hash, IndexTerms};

/// Maximum number of segments in a batch: each index key stores one bit per segment in an `i64`; the sign bit is unused.
pub(super) const MAX_SEGMENTS: u32 = 63;
/// Approximate maximum number of decisions in a batch, which also bounds the tail that lists scan.
const MAX_DECISIONS: u64 = 16_384;
/// Approximate maximum number of records, and of callers, in a batch: it is written in one transaction, which a commit may wait for.
const MAX_RECORDS: usize = 500;
/// Maximum time span of a batch, in microseconds, by the times of its segments. A scan from time T must therefore also read batches
/// that end up to this long after T.
pub(super) const MAX_SPAN_MICROS: i64 = 10_000_000;
/// Maximum wait of a batch for more segments, and the delay before a failed write is retried.
const INDEX_DELAY: Duration = Duration::from_secs(10);
/// A bit per segment of a batch; the lowest bit is the first segment.
pub(super) type SegmentMask = i64;

/// Consecutive segments of a writer.
#[derive(Clone, Debug)]
pub(super) struct IndexBatch {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    started: Instant,
    segments: u32,
    /// The records with their terms; `None` for what cannot be read.
    records: HashMap<Option<Hash>, (Option<IndexTerms>, SegmentMask)>,
    /// The callers; `None` for those that cannot be read.
    callers: HashMap<Option<String>, SegmentMask>,
}

/// A decision as its index keys need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indexed<'a> {
    /// Its record; `None` if it cannot be read.
    pub(super) record: Option<Hash>,
    /// The terms of its record; `None` if they cannot be read.
    pub(super) terms: Option<&'a IndexTerms>,
    /// The caller's name; `None` if it cannot be read.
    pub(super) caller: Option<&'a str>,
}

impl IndexBatch {
    /// Creates an empty batch that starts with a decision.
    fn new(first: u64, time: i64) -> Self {
        let (started, records, callers) = (Instant::now(), HashMap::new(), HashMap::new());
        Self { first, last: first, first_time: time, last_time: time, started, segments: 0, records, callers }
    }

    fn add<'a>(&mut self, last: u64, time: i64, decisions: impl IntoIterator<Item = Indexed<'a>>) {
        let segment = 1 << self.segments;
        let (mut previous_record, mut previous_caller) = (None, None);
        for Indexed { record, terms, caller } in decisions {
            // Consecutive decisions often share a record or a caller.
            if previous_record.replace(record) != Some(record) {
                self.records.entry(record).or_insert_with(|| (terms.cloned(), 0)).1 |= segment;
            }
            if previous_caller.replace(caller) != Some(caller) {
                *self.callers.entry(caller.map(str::to_owned)).or_default() |= segment;
            }
        }
        self.last = last;
        self.first_time = self.first_time.min(time);
        self.last_time = self.last_time.max(time);
        self.segments += 1;
    }

    fn is_full(&self) -> bool {
        self.segments == MAX_SEGMENTS
            || self.last - self.first >= MAX_DECISIONS
            || self.records.len().max(self.callers.len()) >= MAX_RECORDS
    }

    /// Returns true if a segment of that time fits into the batch.
    fn has_room_for(&self, time: i64) -> bool {
        let span = self.last_time.max(time).saturating_sub(self.first_time.min(time));
        !self.is_full() && span <= MAX_SPAN_MICROS
    }

    /// Returns the batch's keys, each with the segments that it covers.
    pub(super) fn keys(&self) -> BTreeMap<Key, SegmentMask> {
        let mut keys = BTreeMap::from([(index_terms::all_key(), SegmentMask::MAX >> (MAX_SEGMENTS - self.segments))]);
        for (record, (terms, segments)) in &self.records {
            for key in index_terms::keys_for(*record, terms.as_ref()) {
                *keys.entry(key).or_default() |= segments;
            }
        }
        for (caller, segments) in &self.callers {
            *keys.entry(index_terms::caller_key(caller.as_deref())).or_default() |= segments;
        }
        keys
    }
}

/// The tail of a writer, in batches. The last batch is still open.
#[derive(Debug, Default)]
pub(super) struct PendingIndex {
    batches: VecDeque<IndexBatch>,
    /// Set if the tail is longer than the batches: the time from which it can be read from the database.
    reload_at: Option<Instant>,
}

impl PendingIndex {
    /// Adds a segment with its decisions.
    pub(super) fn add<'a>(
        &mut self,
        (first, last): (u64, u64),
        time: i64,
        decisions: impl IntoIterator<Item = Indexed<'a>>,
    ) {
        if self.reload_at.is_some() {
            return;
        }
        if !self.batches.back().is_some_and(|batch| batch.has_room_for(time)) {
            self.batches.push_back(IndexBatch::new(first, time));
        }
        if let Some(batch) = self.batches.back_mut() {
            batch.add(last, time, decisions);
        }
    }

    /// Removes and returns the next batch if it is due.
    pub(super) fn pop_due(&mut self) -> Option<IndexBatch> {
        let front = self.batches.front()?;
        let is_due = self.batches.len() > 1 || front.is_full() || front.started.elapsed() >= INDEX_DELAY;
        if is_due { self.batches.pop_front() } else { None }
    }

    /// Removes and returns the next batch, due or not.
    pub(super) fn pop(&mut self) -> Option<IndexBatch> {
        self.batches.pop_front()
    }

    /// Returns the time at which the next batch or a reload is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.reload_at.or_else(|| self.batches.front().map(|batch| batch.started + INDEX_DELAY))
    }

    /// Drops the batches: the tail must be read from the database.
    pub(super) fn discard(&mut self) {
        self.batches.clear();
        self.reload_at = Some(Instant::now() + INDEX_DELAY);
    }

    /// Returns true if the tail should be read from the database now.
    pub(super) fn needs_reload(&self) -> bool {
        self.reload_at.is_some_and(|time| time <= Instant::now())
    }
}
