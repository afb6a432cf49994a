//! Whether a chapter's keys are those of its segments.

use std::collections::BTreeSet;

use super::super::{
    index_batch::{SEGMENTS, SPAN},
    segment_table::{Key, Segment},
};

/// A chapter as its keys have it, while its segments go by.
pub(super) struct ChapterCheck {
    keys: Vec<Key>,
    first: u64,
    last: u64,
    first_time: i64,
    last_time: i64,
    segments: u32,
}

impl ChapterCheck {
    /// One that begins with a segment, which is still to go by.
    pub(super) fn begin(keys: Vec<Key>, segment: &Segment) -> Self {
        let (first, last, time) = (segment.first, segment.last, segment.last_time);
        Self { keys, first, last, first_time: time, last_time: time, segments: 0 }
    }

    /// What the next segment is found by.
    pub(super) fn next(&mut self, segment: &Segment) -> BTreeSet<(String, String)> {
        let this = 1_i64.checked_shl(self.segments).unwrap_or_default();
        let keys = self.keys.iter().filter(|key| key.segments & this != 0);
        let found: BTreeSet<_> = keys.map(|key| (key.kind.clone(), key.name.clone())).collect();
        if !found.is_empty() {
            self.last = segment.last;
            self.first_time = self.first_time.min(segment.last_time);
            self.last_time = self.last_time.max(segment.last_time);
        }
        self.segments = self.segments.saturating_add(1);
        found
    }

    /// What is wrong with it as a whole.
    pub(super) fn end(self, writer: &str) -> Option<String> {
        // Bits for segments that are not there.
        let beyond = i64::MAX.checked_shl(self.segments).filter(|_| self.segments < SEGMENTS).unwrap_or(i64::MIN);
        let is_whole = self.keys.iter().all(|key| {
            (key.first_time, key.last_time) == (self.first_time, self.last_time) && key.segments & beyond == 0
        });
        let is_wrong = !is_whole || self.last_time.saturating_sub(self.first_time) > SPAN;
        let Self { first, last, .. } = self;
        is_wrong.then(|| {
            format!("decisions {writer}-{first} to {writer}-{last} are not found by all that they are about, when they were made")
        })
    }
}
