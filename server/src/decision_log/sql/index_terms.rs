//! What a decision can be found by.

use crate::decision_log::{Hash, IndexTerms};

pub(super) const ALL: &str = "all";
pub(super) const CASE: &str = "case";
pub(super) const REPOSITORY: &str = "repository";
pub(super) const VERDICT: &str = "verdict";
pub(super) const DIGEST: &str = "digest";
pub(super) const ENVIRONMENT: &str = "environment";
pub(super) const POLICY: &str = "policy";

/// A kind of thing, and its name.
pub(super) type Key = (&'static str, String);

/// What every decision is found by.
pub(super) fn all() -> Key {
    (ALL, String::new())
}

/// What the decisions of a case are found by; without what the case says, by its hash only.
pub(super) fn of(case: Hash, keys: Option<&IndexTerms>) -> Vec<Key> {
    let mut of = vec![(CASE, case.to_string())];
    if let Some(keys) = keys {
        of.push((REPOSITORY, keys.repository.to_string()));
        of.push((VERDICT, format!("{:?}", keys.verdict)));
        of.extend(keys.digests.iter().map(|digest| (DIGEST, digest.to_string())));
        of.extend(keys.environment.iter().map(|environment| (ENVIRONMENT, environment.to_string())));
        of.extend(keys.policies.iter().map(|policy| (POLICY, policy.to_string())));
    }
    of
}
