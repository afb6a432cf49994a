//! Index keys: a kind and a value, from the terms of a decision.

use crate::decision_log::{Hash, IndexTerms};

pub(super) const ALL: &str = "all";
pub(super) const RECORD: &str = "case";
pub(super) const REPOSITORY: &str = "repository";
pub(super) const VERDICT: &str = "verdict";
pub(super) const DIGEST: &str = "digest";
pub(super) const ENVIRONMENT: &str = "environment";
pub(super) const POLICY: &str = "policy";

/// A kind and a value. Both are stored.
pub(super) type Key = (&'static str, String);

/// The key of every decision.
pub(super) fn all_key() -> Key {
    (ALL, String::new())
}

/// Returns the keys of a record's decisions; only its hash if the terms are unreadable.
pub(super) fn keys_for(record: Hash, terms: Option<&IndexTerms>) -> Vec<Key> {
    let mut keys = vec![(RECORD, record.to_string())];
    if let Some(terms) = terms {
        keys.push((REPOSITORY, terms.repository.to_string()));
        keys.push((VERDICT, format!("{:?}", terms.verdict)));
        keys.extend(terms.digests.iter().map(|digest| (DIGEST, digest.to_string())));
        keys.extend(terms.environment.iter().map(|environment| (ENVIRONMENT, environment.to_string())));
        keys.extend(terms.policies.iter().map(|policy| (POLICY, policy.to_string())));
    }
    keys
}
