//! What a segment can be found by: one key for each thing that any of its decisions is about.

use std::collections::BTreeSet;

use crate::{decisions::Hash, log::Keys};

pub(super) const ALL: &str = "all";
pub(super) const CASE: &str = "case";
pub(super) const REPOSITORY: &str = "repository";
pub(super) const VERDICT: &str = "verdict";
pub(super) const DIGEST: &str = "digest";
pub(super) const ENVIRONMENT: &str = "environment";
pub(super) const POLICY: &str = "policy";

/// A kind of thing, and its name.
pub(super) type Key = (&'static str, String);

/// The keys of a segment with these cases.
pub(super) fn of<'a>(cases: impl Iterator<Item = (Hash, &'a Keys)>) -> BTreeSet<Key> {
    let mut seen = BTreeSet::new();
    let mut keys = BTreeSet::from([(ALL, String::new())]);
    for (case, of) in cases {
        // Many are about the same: once is enough.
        if !seen.insert(case) {
            continue;
        }
        keys.insert((CASE, case.to_string()));
        keys.insert((REPOSITORY, of.repository.to_string()));
        keys.insert((VERDICT, format!("{:?}", of.verdict)));
        keys.extend(of.digests.iter().map(|digest| (DIGEST, digest.to_string())));
        keys.extend(of.environment.iter().map(|environment| (ENVIRONMENT, environment.to_string())));
        keys.extend(of.policies.iter().map(|policy| (POLICY, policy.to_string())));
    }
    keys
}
