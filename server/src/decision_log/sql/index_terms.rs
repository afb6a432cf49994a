//! Index keys: a kind and a value, from the terms of a decision.

use crate::decision_log::{Hash, IndexTerms};

pub(super) const ALL: &str = "all";
pub(super) const RECORD: &str = "case";
pub(super) const REPOSITORY: &str = "repository";
pub(super) const VERDICT: &str = "verdict";
pub(super) const DIGEST: &str = "digest";
pub(super) const ENVIRONMENT: &str = "environment";
pub(super) const POLICY: &str = "policy";
pub(super) const CALLER: &str = "caller";
const UNREADABLE: &str = "unreadable";

/// A kind and a value. Both are stored.
pub(super) type Key = (&'static str, String);

/// The key of every decision.
pub(super) fn all_key() -> Key {
    (ALL, String::new())
}

/// The key of every decision whose terms or caller its indexer could not read. Lists read it for every condition.
pub(super) fn unreadable_key() -> Key {
    (UNREADABLE, String::new())
}

/// Returns the key of a caller's decisions, or of those whose caller cannot be read.
pub(super) fn caller_key(caller: Option<&str>) -> Key {
    caller.map_or_else(unreadable_key, |caller| (CALLER, caller.to_owned()))
}

/// Returns the keys of a record's decisions, as far as the record and its terms can be read.
pub(super) fn keys_for(record: Option<Hash>, terms: Option<&IndexTerms>) -> Vec<Key> {
    let mut keys: Vec<Key> = record.iter().map(|record| (RECORD, record.to_string())).collect();
    if let Some(terms) = terms {
        keys.push((REPOSITORY, terms.repository.to_string()));
        keys.push((VERDICT, format!("{:?}", terms.verdict)));
        keys.extend(terms.digests.iter().map(|digest| (DIGEST, digest.to_string())));
        keys.extend(terms.environment.iter().map(|environment| (ENVIRONMENT, environment.to_string())));
        keys.extend(terms.policies.iter().map(|policy| (POLICY, policy.to_string())));
    } else {
        keys.push(unreadable_key());
    }
    keys
}
