//! Decisions kept: as long as nothing that a decision rests on has changed, deciding again would say the same.
//!
//! A kept decision serves for the same question, under the same revision of the store, on the same readings of the registry, and
//! until the first instant at which time alone changes anything in it.

use std::fmt;

use jiff::Timestamp;
use moka::sync::Cache;
use scangate_core::{
    image::{Image, Platform},
    name::{Environment, PolicyId},
    scan::Manifest,
};

use super::Ready;

/// The most decisions that are kept.
const MOST: u64 = 20_000;
/// The most findings that all of them together show.
const MOST_FINDINGS: u64 = 500_000;

/// A question, as far as the answer depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) image: Image,
    pub(super) platforms: Vec<Platform>,
    pub(super) environment: Option<Environment>,
    pub(super) policy: Option<PolicyId>,
}

/// A decision with what it rests on.
#[derive(Clone)]
pub(super) struct Kept {
    /// Every manifest of the image, as it was resolved.
    pub(super) manifests: Vec<Manifest>,
    /// When the readings began, in the order of what was examined.
    pub(super) readings: Vec<Timestamp>,
    pub(super) ready: Ready,
}

impl Kept {
    /// Whether it stands at an instant, the readings aside.
    pub(super) fn stands(&self, revision: u64, manifests: &[Manifest], now: Timestamp) -> bool {
        let decision = &self.ready.judgement.decision;
        decision.revision == revision
            && self.manifests == manifests
            // A clock that went back makes everything new.
            && decision.evaluated_at <= now
            && decision.unchanged_until.is_none_or(|end| now < end)
    }
}

/// Decisions by question.
pub(super) struct Memo(Cache<Key, Kept>);

impl Memo {
    pub(super) fn new() -> Self {
        // A decision weighs by what it shows; one that shows nothing still takes a place.
        let place = MOST_FINDINGS / MOST;
        let weigher = move |_: &Key, kept: &Kept| {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            kept.ready.judgement.shown().saturating_add(place)
        };
        Self(Cache::builder().max_capacity(MOST_FINDINGS).weigher(weigher).build())
    }

    pub(super) fn get(&self, key: &Key) -> Option<Kept> {
        self.0.get(key)
    }

    pub(super) fn keep(&self, key: Key, kept: Kept) {
        self.0.insert(key, kept);
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}
