//! A cache of encoded decisions: the protobuf bytes that all responses with the same decision share.
//!
//! The key is the address of the decision's `Arc`, so a lookup costs one hash of an integer. An address alone could be reused
//! for another decision once the first is dropped. Each entry therefore holds a [`Weak`] to its decision: it lets the decision be
//! dropped, but keeps the allocator from handing out the address again before the entry is gone. A hit still compares the two
//! allocations, so that correctness does not rest on the key.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use moka::sync::Cache;

use crate::decisions::EvaluatedDecision;

/// The memory limit of all entries, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes that an entry takes beside its encoded form: the cache's own node, and the allocation that a [`Weak`] keeps.
const ENTRY_OVERHEAD: usize = 256 + size_of::<EvaluatedDecision>();
/// An entry that is not read for this long is evicted.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);

/// The encoded form of one decision.
#[derive(Debug)]
pub(super) struct EncodedDecision {
    decision: Weak<EvaluatedDecision>,
    bytes: Vec<u8>,
}

impl EncodedDecision {
    /// The encoded fields.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn weight(&self) -> u32 {
        u32::try_from(self.bytes.len().saturating_add(ENTRY_OVERHEAD)).unwrap_or(u32::MAX)
    }
}

/// Encoded decisions by the address of their allocation.
pub(super) struct EncodedDecisions {
    cache: Cache<usize, Arc<EncodedDecision>>,
}

impl EncodedDecisions {
    /// An empty cache.
    pub(super) fn new() -> Self {
        Self::with_capacity(MAX_BYTES)
    }

    fn with_capacity(max_bytes: u64) -> Self {
        let weigher = |_: &usize, entry: &Arc<EncodedDecision>| entry.weight();
        Self { cache: Cache::builder().max_capacity(max_bytes).weigher(weigher).time_to_idle(IDLE_TIMEOUT).build() }
    }

    /// Returns the encoded form of a decision, and encodes it only on a miss.
    pub(super) fn get_or_encode(
        &self,
        decision: &Arc<EvaluatedDecision>,
        encode: impl FnOnce(&EvaluatedDecision) -> Vec<u8>,
    ) -> Arc<EncodedDecision> {
        let key = Arc::as_ptr(decision).addr();
        let hit = self
            .cache
            .get(&key)
            .filter(|entry| entry.decision.upgrade().is_some_and(|cached| Arc::ptr_eq(&cached, decision)));
        if let Some(entry) = hit {
            return entry;
        }
        let entry = Arc::new(EncodedDecision { decision: Arc::downgrade(decision), bytes: encode(decision) });
        // A decision that only this response holds is not encoded again, so it would only displace others.
        if Arc::strong_count(decision) > 1 {
            self.cache.insert(key, Arc::clone(&entry));
        }
        entry
    }
}

impl fmt::Debug for EncodedDecisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedDecisions").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use scangate_core::{Decision, Verdict, image::Image};
    use serde_json::{from_value, json};

    use super::*;
    use crate::decisions::Evaluation;

    fn decision(revision: u64) -> Arc<EvaluatedDecision> {
        let image: Image = from_value(json!({
            "registry": "123456789012/eu-west-1", "host": "host", "repository": "team/app", "tag": null,
            "digest": format!("sha256:{:064x}", 1), "push_time": null,
        }))
        .unwrap();
        let decision = Decision {
            verdict: Verdict::Allow,
            reasons: Vec::new(),
            manifests: Vec::new(),
            violations: Vec::new(),
            warnings: Vec::new(),
            waived: Vec::new(),
            waived_count: 0,
            remediation: None,
            policies: Vec::new(),
            revision,
            evaluate_time: Timestamp::UNIX_EPOCH,
            retry_after: None,
            next_change: None,
            unchanged_until: None,
        };
        let evaluation = Evaluation { image, environment: None, decision, inputs: Vec::new() };
        Arc::new(EvaluatedDecision { evaluation, deploy: None })
    }

    fn encode(decision: &EvaluatedDecision) -> Vec<u8> {
        decision.evaluation.decision.revision.to_be_bytes().to_vec()
    }

    fn encode_again(_: &EvaluatedDecision) -> Vec<u8> {
        b"encoded again".to_vec()
    }

    #[test]
    fn cached_decision_is_encoded_once() {
        let cache = EncodedDecisions::new();
        let decision = decision(1);
        let shared = Arc::clone(&decision);

        let first = cache.get_or_encode(&decision, encode);
        let second = cache.get_or_encode(&shared, encode_again);

        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn decisions_never_share_bytes() {
        let cache = EncodedDecisions::new();

        // Each decision is dropped before the next one is allocated, which invites the allocator to reuse its address.
        for revision in 0..1_000 {
            let decision = decision(revision);
            let held_elsewhere = Arc::clone(&decision);
            let encoded = cache.get_or_encode(&decision, encode);
            assert_eq!(encoded.bytes(), revision.to_be_bytes());
            drop(held_elsewhere);
        }
    }

    #[test]
    fn evicted_decision_is_encoded_again() {
        let cache = EncodedDecisions::with_capacity(0);
        let decision = decision(1);
        let _held_elsewhere = Arc::clone(&decision);
        cache.get_or_encode(&decision, encode);
        cache.cache.run_pending_tasks();

        let again = cache.get_or_encode(&decision, encode_again);

        assert_eq!(again.bytes(), b"encoded again");
    }

    #[test]
    fn decision_held_by_one_response_is_not_cached() {
        let cache = EncodedDecisions::new();
        let decision = decision(1);

        cache.get_or_encode(&decision, encode);
        cache.cache.run_pending_tasks();

        assert_eq!(cache.cache.entry_count(), 0);
    }
}
