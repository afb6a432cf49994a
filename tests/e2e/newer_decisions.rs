//! A rolling upgrade: a newer replica records decisions that an older one cannot read. They never hide the others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use scangate_client::{
    Refusal, prost_types,
    v1::{
        Decision, DecisionFilter, DecisionView, ListDecisionsRequest, Policy, PreviewPolicyRequest, Verdict,
        WatchDecisionsRequest, preview_policy_request::Draft, watch_decisions_response::Event,
    },
};
use scangate_core::{image::RepositoryName, name::PolicyId};
use scangate_ecr_simulator::World;
use scangate_server::{
    decision_log::{
        AppendRequest, AppendResult, Blob, DecisionLog as _, IndexTerms, PreparedRecord, sql::SqlDecisionLog,
    },
    sql::{Address, Database},
};
use scangate_test_fixtures::{digest, repository};
use scangate_test_postgres::Cluster;
use serde_json::{Value, json};

use crate::harness::{Gate, deny_findings_from, gate};

/// The parts of a decision that a newer replica records in its own form.
#[derive(Clone, Copy, Debug)]
enum Newer {
    /// The record has an unknown field.
    Record,
    /// The verdict is unknown.
    Verdict,
    /// The record is readable, its outcome is not.
    Outcome,
}

const NEWER: [Newer; 3] = [Newer::Record, Newer::Verdict, Newer::Outcome];

/// Records an ALLOW for `shop/new` as a newer replica does, and returns its name.
async fn record(log: &SqlDecisionLog, newer: Newer) -> String {
    let keys = IndexTerms {
        registry: repository("shop/new").registry,
        repository: RepositoryName::parse("shop/new").unwrap(),
        digests: vec![digest(7)],
        environment: None,
        verdict: scangate_core::Verdict::Allow,
        policies: vec![PolicyId::parse("default").unwrap()],
    };
    let (inputs, outcome) = (Blob::encode(&json!({"newer": "inputs"})), Blob::encode(&json!({"newer": "outcome"})));
    let (inputs, outcome) = (inputs.unwrap(), outcome.unwrap());
    let mut record = json!({"keys": keys, "inputs": inputs.hash(), "outcome": outcome.hash()});
    match newer {
        Newer::Record => record["caller"] = json!("pipeline"),
        Newer::Verdict => record["keys"]["verdict"] = json!("ALLOW_WITH_CONDITIONS"),
        Newer::Outcome => {}
    }
    let blob = Blob::encode::<Value>(&record).unwrap();
    let request = AppendRequest {
        caller: String::new(),
        record: Arc::new(PreparedRecord { keys, blob, parts: vec![inputs, outcome] }),
        evaluate_time: std::time::SystemTime::now().try_into().unwrap(),
        labels: BTreeMap::from([("pipeline".to_owned(), "release-7".to_owned())]),
        request_key: None,
        supersedes: None,
    };
    match log.append(request).await.unwrap() {
        AppendResult::Recorded(id) => format!("decisions/{id}"),
        AppendResult::Replayed(id) => panic!("replayed {id}"),
    }
}

/// An older replica, and the log of a newer one on the same store.
async fn replicas(cluster: &Cluster) -> (Gate, SqlDecisionLog) {
    let database = cluster.database();
    let older = gate(World::demo()).store(&database).start().await;
    let log = SqlDecisionLog::new(&Database::open(&Address::parse(&database)).await.unwrap());
    (older, log)
}

async fn list(gate: &Gate, view: DecisionView, filter: DecisionFilter) -> Vec<Decision> {
    let request = ListDecisionsRequest { view: view.into(), filter: Some(filter), ..Default::default() };
    gate.client.decisions().list_decisions(request).await.unwrap().into_inner().decisions
}

#[track_caller]
fn assert_partial(decision: &Decision) {
    assert!(decision.unreadable_detail.contains("newer server"), "{decision:?}");
    assert_eq!((decision.verdict(), decision.deploy_image.as_str()), (Verdict::Unspecified, ""));
    assert_eq!(decision.image.as_ref().unwrap().repository, "shop/new");
    assert_eq!(decision.labels["pipeline"], "release-7");
    assert!(decision.evaluate_time.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_decision_is_listed_in_part() {
    let cluster = Cluster::start();
    let (older, log) = replicas(&cluster).await;
    let own = older.decide("shop/api:2.0.0").await;
    let mut names = vec![own.name.clone()];
    for newer in NEWER {
        names.insert(0, record(&log, newer).await);
    }
    let shop_new = || DecisionFilter { repository: "shop/new".into(), ..Default::default() };
    let denied = DecisionFilter { verdicts: vec![Verdict::Deny.into()], ..shop_new() };

    for view in [DecisionView::Basic, DecisionView::Full] {
        let listed = list(&older, view, DecisionFilter::default()).await;

        let listed_names: Vec<&str> = listed.iter().map(|decision| decision.name.as_str()).collect();
        assert_eq!(listed_names, names, "{view:?}");
        listed[1..3].iter().for_each(assert_partial);
        assert_eq!((listed[3].verdict(), listed[3].unreadable_detail.as_str()), (Verdict::Allow, ""));
        assert_eq!(list(&older, view, shop_new()).await, listed[..3]);
    }
    let full = list(&older, DecisionView::Full, shop_new()).await.remove(0);
    assert_partial(&full);
    let refused = scangate_client::Decision::from(Decision { verdict: Verdict::Allow.into(), ..full });
    assert!(matches!(refused.require_allowed().unwrap_err().refusal, Refusal::Unreadable { .. }));
    // A condition on a part that cannot be read counts as met.
    let denied = list(&older, DecisionView::Basic, denied).await;
    assert_eq!(denied.iter().map(|decision| &decision.name).collect::<Vec<_>>(), [&names[1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_continues_past_newer_decisions() {
    let cluster = Cluster::start();
    let (older, log) = replicas(&cluster).await;
    let mut stream =
        older.client.decisions().watch_decisions(WatchDecisionsRequest::default()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap().event;
    assert!(matches!(first, Some(Event::Heartbeat(_))), "the stream begins with a heartbeat");

    let mut expected = Vec::new();
    for newer in NEWER {
        expected.push(record(&log, newer).await);
    }
    let own = older.decide("shop/api:2.0.0").await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap();
        if let Some(Event::Decision(decision)) = message.unwrap().unwrap().event {
            seen.push(decision);
        }
    }

    let (own_seen, newer): (Vec<Decision>, Vec<Decision>) = seen.into_iter().partition(|seen| seen.name == own.name);
    newer.iter().for_each(assert_partial);
    assert_eq!(newer.iter().map(|decision| decision.name.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(own_seen[0].deploy_image, own.deploy_image);
}

#[tokio::test(flavor = "multi_thread")]
async fn preview_counts_newer_decisions() {
    let cluster = Cluster::start();
    let (older, log) = replicas(&cluster).await;
    drop(older.decide("shop/api:2.0.0").await);
    for newer in NEWER {
        record(&log, newer).await;
    }
    let draft = Policy { name: "policies/strict".into(), ..deny_findings_from(scangate_client::v1::Severity::Low) };
    let window = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let request = PreviewPolicyRequest { draft: Some(Draft::Policy(draft)), window, ..Default::default() };

    let mut stream = older.client.policies().preview_policy(request).await.unwrap().into_inner();
    let mut last = stream.message().await.unwrap().unwrap();
    while let Some(message) = stream.message().await.unwrap() {
        last = message;
    }

    assert_eq!((last.evaluated_count, last.unreadable_count), (1, 3));
}
