//! Decisions kept: as long as nothing that a decision rests on has changed, deciding again would say the same.
//!
//! A kept decision serves for the same question, under the same revision of the store, on the same readings of the registry, and
//! until the first instant at which time alone changes anything in it. FirstSeenTimes of grace that another image has started since are
//! seen with the next reading: until then the answer is the stricter one.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use moka::sync::Cache;
use scangate_core::{
    image::{Image, Platform},
    name::{Environment, PolicyId},
    scan::Manifest,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::PreparedDecision;

/// The most bytes that all kept decisions take together.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// What one takes that shows nothing, about, and each finding that one shows: as it is, and as it was told.
const EACH: usize = 6 * 1024;
const EACH_FINDING: usize = 1536;
/// How long one is kept that nobody asks for.
const UNUSED: Duration = Duration::from_mins(10);

/// The most turns that are kept, and how long one is that nobody takes.
const MOST_TURNS: u64 = 20_000;
const IDLE: Duration = Duration::from_mins(1);
/// How long somebody else's turn is waited for. Where the store does not answer, nobody's turn is worth more: then everybody
/// tries for himself, and all learn of it at once instead of one after the other.
const WORTH_WAITING: Duration = Duration::from_secs(1);

/// A question, as far as the answer depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) image: Image,
    pub(super) platforms: Vec<Platform>,
    pub(super) environment: Option<Environment>,
    pub(super) policy: Option<PolicyId>,
}

/// A decision with what it rests on.
pub(super) struct CachedDecision {
    /// Every manifest of the image, as it was resolved.
    pub(super) manifests: Vec<Manifest>,
    /// When the readings began, in the order of what was examined.
    pub(super) readings: Vec<Timestamp>,
    pub(super) ready: PreparedDecision,
}

impl PreparedDecision {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let Self { case, judgement } = self;
        let packed = case.parts.iter().chain([&case.case]).map(|blob| blob.packed().len()).sum::<usize>();
        packed + judgement.shown() * EACH_FINDING + EACH
    }
}

impl CachedDecision {
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
pub(super) struct DecisionCache {
    kept: Cache<Key, Arc<CachedDecision>>,
    turns: Cache<Key, Arc<Mutex<()>>>,
}

impl DecisionCache {
    pub(super) fn new() -> Self {
        let weigher = |_: &Key, kept: &Arc<CachedDecision>| u32::try_from(kept.ready.bytes()).unwrap_or(u32::MAX);
        let kept = Cache::builder().max_capacity(MOST_BYTES).weigher(weigher).time_to_idle(UNUSED).build();
        // A turn that is forgotten too early costs a decision made twice.
        let turns = Cache::builder().max_capacity(MOST_TURNS).time_to_idle(IDLE).build();
        Self { kept, turns }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<CachedDecision>> {
        self.kept.get(key)
    }

    pub(super) fn keep(&self, key: Key, kept: Arc<CachedDecision>) {
        self.kept.insert(key, kept);
    }

    /// Whoever holds it is the one who decides on a question; `None`: whoever does takes too long.
    pub(super) async fn turn(&self, key: &Key) -> Option<OwnedMutexGuard<()>> {
        let turn = self.turns.get_with(key.clone(), Arc::default);
        tokio::time::timeout(WORTH_WAITING, turn.lock_owned()).await.ok()
    }
}

impl fmt::Debug for DecisionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
