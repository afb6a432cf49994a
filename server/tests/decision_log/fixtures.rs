//! Records for tests to begin with.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use scangate_core::{Verdict, image::Digest, image::RepositoryName, name::PolicyId, registry::Registry};
use scangate_server::{
    decision_log::Blob,
    decision_log::{AppendRequest, AppendResult, DecisionId, DecisionRecord, IndexTerms, PreparedRecord},
    idempotency::RequestKey,
    registry::Repository,
};

pub(crate) fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn repository(name: &str) -> Repository {
    Repository {
        registry: Registry::parse("123456789012/eu-west-1").unwrap(),
        name: RepositoryName::parse(name).unwrap(),
    }
}

pub(crate) fn digest(number: u64) -> Digest {
    Digest::parse(&format!("sha256:{number:064x}")).unwrap()
}

/// A case about an image of that number; its blobs are of no meaning, but its own.
pub(crate) fn case(number: u64, verdict: Verdict) -> Arc<PreparedRecord> {
    let keys = IndexTerms {
        registry: repository("team/app").registry,
        repository: RepositoryName::parse(if number.is_multiple_of(2) { "team/even" } else { "team/odd" }).unwrap(),
        digests: vec![digest(number)],
        environment: None,
        verdict,
        policies: vec![PolicyId::parse("default").unwrap()],
    };
    let (inputs, outcome) =
        (Blob::of(&format!("inputs {number}")).unwrap(), Blob::of(&format!("{verdict:?}")).unwrap());
    let case =
        Blob::of(&DecisionRecord { keys: keys.clone(), inputs: inputs.hash(), outcome: outcome.hash() }).unwrap();
    Arc::new(PreparedRecord { keys, case, parts: vec![inputs, outcome] })
}

/// The decision of that number: one a second from noon on, every third a DENY.
pub(crate) fn record(number: u64) -> AppendRequest {
    let verdict = if number.is_multiple_of(3) { Verdict::Deny } else { Verdict::Allow };
    AppendRequest {
        case: case(number, verdict),
        evaluated_at: noon() + SignedDuration::from_secs(i64::try_from(number).unwrap()),
        labels: BTreeMap::from([("number".to_owned(), number.to_string())]),
        request: None,
    }
}

/// The record as a request asks for it.
pub(crate) fn requested(id: &str, fingerprint: &str, record: AppendRequest) -> AppendRequest {
    AppendRequest { request: Some(RequestKey { id: id.to_owned(), fingerprint: fingerprint.to_owned() }), ..record }
}

/// The name of what was recorded now.
#[track_caller]
pub(crate) fn recorded(appended: AppendResult) -> DecisionId {
    match appended {
        AppendResult::Recorded(id) => id,
        AppendResult::Replayed(id) => panic!("replayed {id}"),
    }
}
