//! Records and append requests for tests.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use rusqlite::Connection;
use scangate_core::{Verdict, image::RepositoryName, name::PolicyId};
use scangate_server::{
    decision_log::{
        AppendRequest, AppendResult, Blob, DecisionId, DecisionRecord, Entry, IndexTerms, Listed, PreparedRecord,
    },
    idempotency::RequestKey,
};
use scangate_test_fixtures::{digest, noon, repository};

/// Prepares the record of an image with that number, with placeholder blobs of its own.
pub(crate) fn prepared_record(number: u64, verdict: Verdict) -> Arc<PreparedRecord> {
    let keys = IndexTerms {
        registry: repository("team/app").registry,
        repository: RepositoryName::parse(if number.is_multiple_of(2) { "team/even" } else { "team/odd" }).unwrap(),
        digests: vec![digest(number)],
        environment: None,
        verdict,
        policies: vec![PolicyId::parse("default").unwrap()],
    };
    let (inputs, outcome) =
        (Blob::encode(&format!("inputs {number}")).unwrap(), Blob::encode(&format!("{verdict:?}")).unwrap());
    let blob = Blob::encode(&DecisionRecord {
        keys: keys.clone(),
        tag: None,
        summary: String::new(),
        inputs: inputs.hash(),
        outcome: outcome.hash(),
    })
    .unwrap();
    Arc::new(PreparedRecord { keys, blob, parts: vec![inputs, outcome] })
}

/// Returns the decision of that number: one per second from noon on, every third a DENY.
pub(crate) fn append_request(number: u64) -> AppendRequest {
    let verdict = if number.is_multiple_of(3) { Verdict::Deny } else { Verdict::Allow };
    AppendRequest {
        record: prepared_record(number, verdict),
        evaluate_time: noon() + SignedDuration::from_secs(i64::try_from(number).unwrap()),
        caller: format!("caller-{}", number % 2),
        labels: BTreeMap::from([("number".to_owned(), number.to_string())]),
        request_key: None,
        supersedes: None,
    }
}

/// Adds an idempotency key of one caller.
pub(crate) fn with_request_key(id: &str, fingerprint: &str, request: AppendRequest) -> AppendRequest {
    let window = SignedDuration::from_hours(24);
    let key = RequestKey { caller: String::new(), id: id.to_owned(), fingerprint: fingerprint.to_owned(), window };
    by("ci", AppendRequest { request_key: Some(key), ..request })
}

/// Makes a decision, and its request, another caller's.
pub(crate) fn by(caller: &str, request: AppendRequest) -> AppendRequest {
    let caller = caller.to_owned();
    let request_key = request.request_key.map(|key| RequestKey { caller: caller.clone(), ..key });
    AppendRequest { caller, request_key, ..request }
}

/// Replaces text in a stored segment, by its first decision.
pub(crate) fn rewrite_segment(shell: &Connection, first: u64, from: &str, to: &str) {
    let select = format!("select body from decision_segments where first_sequence = {first}");
    let body: Vec<u8> = shell.query_row(&select, [], |row| row.get(0)).unwrap();
    let lines = String::from_utf8(zstd::stream::decode_all(&*body).unwrap()).unwrap();
    assert!(lines.contains(from), "{lines}");
    let body = zstd::bulk::compress(lines.replace(from, to).as_bytes(), 1).unwrap();
    let update = format!("update decision_segments set body = ?1 where first_sequence = {first}");
    assert_eq!(shell.execute(&update, [body]).unwrap(), 1);
}

/// Returns the id of a new decision; panics if it was replayed.
#[track_caller]
pub(crate) fn recorded(result: AppendResult) -> DecisionId {
    match result {
        AppendResult::Recorded(id) => id,
        AppendResult::Replayed(id) => panic!("replayed {id}"),
    }
}

/// Returns the entry of a listed decision; panics if it is unreadable.
#[track_caller]
pub(crate) fn entry(listed: &Listed) -> &Entry {
    match listed {
        Listed::Entry(entry) => entry,
        Listed::Unreadable(unreadable) => panic!("unreadable: {unreadable:?}"),
    }
}
