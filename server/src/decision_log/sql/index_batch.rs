//! Chapters: consecutive segments of a writer that are indexed together, so that what many of them are about costs one key, and
//! not one for each of them.
//!
//! A segment is recorded long before its chapter is: what a writer has recorded since its last chapter is its tail, which lists look
//! through themselves. A chapter that never comes to be, since its writer was killed, costs them time and nothing else.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::index_terms::{self, Key};
use crate::decision_log::{Hash, IndexTerms};

/// The most segments of a chapter: a key has a bit for each, and no sign.
pub(super) const SEGMENTS: u32 = 63;
/// About how many decisions a chapter has at most: as many are looked through where a tail is.
const DECISIONS: u64 = 16_384;
/// About how many cases it has at most: it is written at once, and a commit may wait for that.
const CASES: usize = 500;
/// The longest that a chapter lasts, by the times of its segments, in microseconds: where to begin to look for a time depends on it.
pub(super) const SPAN: i64 = 10_000_000;
/// The longest that a chapter waits for more segments, and how long it takes to try again what has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Which segments of a chapter: the lowest bit is the first.
pub(super) type Segments = i64;

/// Segments of a writer, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Chapter {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    began: Instant,
    segments: u32,
    cases: HashMap<Hash, (Option<IndexTerms>, Segments)>,
}

impl Chapter {
    /// One of a single segment.
    pub(super) fn of<'a>(
        (first, last): (u64, u64),
        time: i64,
        cases: impl IntoIterator<Item = (Hash, Option<&'a IndexTerms>)>,
    ) -> Self {
        let (began, cases_of) = (Instant::now(), HashMap::new());
        let mut chapter = Self { first, last, first_time: time, last_time: time, began, segments: 0, cases: cases_of };
        chapter.add(last, time, cases);
        chapter
    }

    fn add<'a>(&mut self, last: u64, time: i64, cases: impl IntoIterator<Item = (Hash, Option<&'a IndexTerms>)>) {
        let this = 1 << self.segments;
        let mut previous = None;
        for (case, keys) in cases {
            // JsonRows are about the same, and follow each other.
            if previous != Some(case) {
                self.cases.entry(case).or_insert_with(|| (keys.cloned(), 0)).1 |= this;
                previous = Some(case);
            }
        }
        self.last = last;
        self.first_time = self.first_time.min(time);
        self.last_time = self.last_time.max(time);
        self.segments += 1;
    }

    fn is_full(&self) -> bool {
        self.segments == SEGMENTS || self.last - self.first >= DECISIONS || self.cases.len() >= CASES
    }

    /// Whether a segment of that time can be one of it.
    fn admits(&self, time: i64) -> bool {
        let span = self.last_time.max(time).saturating_sub(self.first_time.min(time));
        !self.is_full() && span <= SPAN
    }

    /// What it is found by, and which of its segments are.
    pub(super) fn keys(&self) -> BTreeMap<Key, Segments> {
        let mut found = BTreeMap::from([(index_terms::all(), Segments::MAX >> (SEGMENTS - self.segments))]);
        for (case, (keys, segments)) in &self.cases {
            for key in index_terms::of(*case, keys.as_ref()) {
                *found.entry(key).or_default() |= segments;
            }
        }
        found
    }
}

/// What a writer has recorded since its last chapter, as far as it remembers: the last chapter is still open.
#[derive(Debug, Default)]
pub(super) struct Tail {
    chapters: VecDeque<Chapter>,
    /// There is more than it remembers, to be read from then on.
    lost: Option<Instant>,
}

impl Tail {
    /// Adds a segment.
    pub(super) fn add<'a>(
        &mut self,
        (first, last): (u64, u64),
        time: i64,
        cases: impl IntoIterator<Item = (Hash, Option<&'a IndexTerms>)>,
    ) {
        if self.lost.is_some() {
            return;
        }
        match self.chapters.back_mut().filter(|chapter| chapter.admits(time)) {
            Some(chapter) => chapter.add(last, time, cases),
            None => self.chapters.push_back(Chapter::of((first, last), time, cases)),
        }
    }

    /// The next chapter to be written, if it is time.
    pub(super) fn take_ready(&mut self) -> Option<Chapter> {
        let front = self.chapters.front()?;
        let is_ready = self.chapters.len() > 1 || front.is_full() || front.began.elapsed() >= PATIENCE;
        if is_ready { self.chapters.pop_front() } else { None }
    }

    /// The next chapter, whether it is time or not.
    pub(super) fn take(&mut self) -> Option<Chapter> {
        self.chapters.pop_front()
    }

    /// When there will be something to do, if nothing comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lost.or_else(|| self.chapters.front().map(|chapter| chapter.began + PATIENCE))
    }

    /// Remembers nothing any more: what there is has to be read.
    pub(super) fn lose(&mut self) {
        self.chapters.clear();
        self.lost = Some(Instant::now() + PATIENCE);
    }

    /// Whether it is time to read what there is.
    pub(super) fn is_to_be_read(&self) -> bool {
        self.lost.is_some_and(|from| from <= Instant::now())
    }
}
