//! WatchPolicies and WatchDecisions: resume tokens, over restarts and replicas, and the end of streams at shutdown.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use scangate_client::{
    Client, Code, ConnectOptions, Rejection, Watch, prost_types,
    v1::{
        DecisionFilter, DeletePolicyRequest, EvaluateGateRequest, ImportWaiversRequest, Policy, Severity,
        UpdatePolicyRequest, Verdict, WaiverTemplate, WaiverTemplateScope, WatchDecisionsRequest, WatchPoliciesRequest,
        WatchScanRequest, import_waivers_request::Document, watch_decisions_response, watch_policies_response::Event,
    },
};
use scangate_ecr_simulator::{ImageSpec, ScanScript, World};
use scangate_test_postgres::Cluster;
use tonic::Status;

use crate::harness::{Gate, deny_findings_from, evaluate_request, gate, status_rejection, tools::free_address};

/// The longest time until a message arrives.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A decision or, for a heartbeat, none; with the token after it.
type Received = (Option<String>, String);

async fn open_decisions(gate: &Gate, resume_token: &str) -> Watch<WatchDecisionsRequest> {
    let request = WatchDecisionsRequest { resume_token: resume_token.to_owned(), ..Default::default() };
    gate.client.watch(request).await.unwrap()
}

async fn next_decision(watch: &mut Watch<WatchDecisionsRequest>) -> Received {
    let message = tokio::time::timeout(TIMEOUT, watch.next()).await.unwrap().unwrap().unwrap();
    let name = match message.event.unwrap() {
        watch_decisions_response::Event::Decision(decision) => Some(decision.name),
        watch_decisions_response::Event::Heartbeat(_) => None,
    };
    (name, message.resume_token)
}

/// Receives this many decisions, each with the token after it.
async fn decisions(watch: &mut Watch<WatchDecisionsRequest>, count: usize) -> Vec<(String, String)> {
    let mut received = Vec::new();
    while received.len() < count {
        let (name, token) = next_decision(watch).await;
        received.extend(name.map(|name| (name, token)));
    }
    received
}

async fn decide(gate: &Gate, count: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..count {
        names.insert(gate.decide("shop/api:2.0.0").await.name);
    }
    names
}

#[tokio::test]
async fn watch_streams_each_matching_decision() {
    let gate = gate(World::demo()).start().await;
    drop(gate.decide("shop/web:1.4.2").await);
    let filter = Some(DecisionFilter { verdicts: vec![Verdict::Allow.into()], ..Default::default() });
    let mut watch = gate.client.watch(WatchDecisionsRequest { filter, ..Default::default() }).await.unwrap();
    assert_eq!(next_decision(&mut watch).await.0, None, "the stream begins with a heartbeat");

    let mut expected = BTreeSet::new();
    for _ in 0..10 {
        drop(gate.decide("shop/web:1.4.2").await);
        expected.extend(decide(&gate, 1).await);
    }
    let seen: BTreeSet<String> = decisions(&mut watch, 10).await.into_iter().map(|(name, _)| name).collect();

    assert_eq!(seen, expected);
}

/// Checks every token of a watch of two servers over one store, on a third one.
async fn check_decision_tokens(one: Gate, other: Gate, third: impl AsyncFnOnce() -> Gate) {
    let mut watch = open_decisions(&one, "").await;
    let (_, start) = next_decision(&mut watch).await;
    let mut expected = decide(&one, 3).await;
    expected.extend(decide(&other, 3).await);
    let received = decisions(&mut watch, 6).await;
    let order: Vec<String> = received.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(order.iter().cloned().collect::<BTreeSet<_>>(), expected);
    drop(watch);
    one.stop().await.unwrap();
    other.stop().await.unwrap();

    let third = third().await;
    let later = decide(&third, 1).await;
    let tokens = std::iter::once(&start).chain(received.iter().map(|(_, token)| token));
    for (seen, token) in tokens.enumerate() {
        let mut resumed = open_decisions(&third, token).await;
        let rest = decisions(&mut resumed, 6 - seen + 1).await;

        let names: BTreeSet<String> = rest.into_iter().map(|(name, _)| name).collect();
        let expected: BTreeSet<String> = order[seen..].iter().chain(&later).cloned().collect();
        assert_eq!(names, expected, "after {seen} decisions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decision_watch_resumes_on_another_replica() {
    let cluster = Cluster::start();
    let store = cluster.database();
    let replica = async || gate(World::demo()).store(&store).start().await;

    check_decision_tokens(replica().await, replica().await, replica).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_watch_continues_after_restart() {
    let cluster = Cluster::start();
    let (store, address) = (cluster.database(), free_address());
    let start = async || gate(World::demo()).store(&store).address(address).start().await;
    let first = start().await;
    let client = Client::connect(ConnectOptions::new(format!("http://{address}"))).await.unwrap();
    let mut watch = client.watch(WatchDecisionsRequest::default()).await.unwrap();
    next_decision(&mut watch).await;
    let mut expected = decide(&first, 3).await;
    let mut seen: Vec<String> = decisions(&mut watch, 2).await.into_iter().map(|(name, _)| name).collect();

    first.stop().await.unwrap();
    let second = start().await;
    expected.extend(decide(&second, 2).await);
    seen.extend(decisions(&mut watch, 3).await.into_iter().map(|(name, _)| name));

    assert_eq!(seen.len(), 5, "a decision is repeated");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// An event of WatchPolicies: the resource name, with `-` for a deletion; none for a heartbeat.
async fn next_change(watch: &mut Watch<WatchPoliciesRequest>) -> Received {
    let message = tokio::time::timeout(TIMEOUT, watch.next()).await.unwrap().unwrap().unwrap();
    let name = match message.event.unwrap() {
        Event::Policy(policy) => Some(policy.name),
        Event::DeletedPolicy(deleted) => Some(format!("-{}", deleted.policy)),
        Event::Waiver(waiver) => Some(waiver.name),
        Event::Heartbeat(_) => None,
    };
    (name, message.resume_token)
}

async fn open_policies(gate: &Gate, resume_token: &str) -> Watch<WatchPoliciesRequest> {
    gate.client.watch(WatchPoliciesRequest { resume_token: resume_token.to_owned() }).await.unwrap()
}

async fn changes(watch: &mut Watch<WatchPoliciesRequest>, count: usize) -> Vec<(String, String)> {
    let mut received = Vec::new();
    while received.len() < count {
        let (name, token) = next_change(watch).await;
        received.extend(name.map(|name| (name, token)));
    }
    received
}

/// Two statements, which become two waivers in one write.
const VEX: &str = r#"{
    "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/1", "author": "Security",
    "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": [
        {"vulnerability": {"name": "CVE-2024-1001"}, "products": [{"@id": "pkg:deb/debian/openssl"}],
         "status": "not_affected", "justification": "vulnerable_code_not_present"},
        {"vulnerability": {"name": "CVE-2024-1002"}, "products": [{"@id": "pkg:deb/debian/openssl"}],
         "status": "not_affected", "justification": "vulnerable_code_not_present"}]
}"#;

/// Updates a policy, deletes another, and creates two waivers in one write. Returns the events.
async fn change_everything(gate: &Gate) -> [String; 4] {
    let policy = Policy { name: "policies/team".into(), etag: "*".into(), ..deny_findings_from(Severity::High) };
    gate.client.update_policy(UpdatePolicyRequest { policy: Some(policy), ..Default::default() }).await.unwrap();
    let request = DeletePolicyRequest { name: "policies/old".into(), etag: "*".into(), ..Default::default() };
    gate.client.delete_policy(request).await.unwrap();
    let scope = Some(WaiverTemplateScope { everywhere: Some(true), ..Default::default() });
    let template = Some(WaiverTemplate { scope, ..Default::default() });
    let request =
        ImportWaiversRequest { document: Some(Document::OpenvexJson(VEX.into())), template, ..Default::default() };
    let imported = gate.client.policies().import_waivers(request).await.unwrap().into_inner();
    let mut names: Vec<String> = imported.waivers.into_iter().map(|waiver| waiver.name).collect();
    names.sort();
    let [one, other] = names.try_into().unwrap();
    ["policies/team".to_owned(), "-policies/old".to_owned(), one, other]
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_watch_resumes_after_any_message() {
    let cluster = Cluster::start();
    let state = tempfile::tempdir().unwrap();
    for store in [cluster.database(), state.path().join("scangate.db").display().to_string()] {
        let first = gate(World::demo()).store(&store).start().await;
        first.create_policy("old", deny_findings_from(Severity::Low)).await;
        first.create_policy("team", deny_findings_from(Severity::Low)).await;
        let mut watch = open_policies(&first, "").await;
        let mut received = changes(&mut watch, 3).await;
        let changed = change_everything(&first).await;
        received.extend(changes(&mut watch, 4).await);
        let order: Vec<String> = received.iter().map(|(name, _)| name.clone()).collect();
        let content = ["policies/default", "policies/old", "policies/team"];
        assert_eq!(order[..3], content);
        assert_eq!(order[3..], changed);
        drop(watch);
        first.stop().await.unwrap();

        let second = gate(World::demo()).store(&store).start().await;
        for (seen, (_, token)) in (1..).zip(&received) {
            second.create_policy(&format!("after-{seen}"), deny_findings_from(Severity::Low)).await;
            let mut resumed = open_policies(&second, token).await;
            let rest = changes(&mut resumed, 7).await;

            let names: Vec<String> = rest.into_iter().map(|(name, _)| name).collect();
            let later = (1..=seen).map(|seen| format!("policies/after-{seen}"));
            assert_eq!(names, order[seen..].iter().cloned().chain(later).collect::<Vec<_>>(), "after {seen} messages");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_watch_resumes_far_behind() {
    let cluster = Cluster::start();
    let store = cluster.database();
    let gate = gate(World::demo()).store(&store).start().await;
    let (_, token) = next_change(&mut open_policies(&gate, "").await).await;
    cluster.execute(
        &store,
        "insert into document_revisions (kind, id, revision, body, content_digest, create_time, write_time, author)
             select kind, 'policy-' || i, 1 + i, body, content_digest, create_time, write_time, author
             from documents, generate_series(1, 2500) i;
         update store_revision set revision = 2501;",
    );

    let mut resumed = open_policies(&gate, &token).await;
    let rest = changes(&mut resumed, 2_500).await;

    let names: Vec<String> = rest.into_iter().map(|(name, _)| name).collect();
    let all: Vec<String> = (1..=2_500).map(|number| format!("policies/policy-{number}")).collect();
    assert_eq!(names, all);

    // A forged token that states more than was sent: the watch goes on with the next revision.
    let forged = String::from_utf8(URL_SAFE_NO_PAD.decode(&token).unwrap()).unwrap();
    let (honest, forgery) = (r#""is_content":true,"received":1"#, r#""is_content":false,"received":4000000000"#);
    assert!(forged.contains(honest), "{forged}");
    let forged = URL_SAFE_NO_PAD.encode(forged.replace(honest, forgery));
    let rest = changes(&mut open_policies(&gate, &forged).await, 2_499).await;
    let names: Vec<String> = rest.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, all[1..]);
}

#[tokio::test]
async fn foreign_resume_token_is_refused() {
    let (one, other) = (gate(World::demo()).start().await, gate(World::demo()).start().await);
    let (_, decisions) = next_decision(&mut open_decisions(&one, "").await).await;
    let (_, policies) = next_change(&mut open_policies(&one, "").await).await;

    for token in ["x", "bm9uc2Vuc2U", &policies] {
        let malformed = refused_decisions(&one, token).await;
        assert_eq!((malformed.code, malformed.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"), "{token}");
        assert_eq!(malformed.violations[0].field, "resume_token");
    }
    assert_eq!(refused_policies(&one, &decisions).await.violations[0].field, "resume_token");
    for foreign in [refused_decisions(&other, &decisions).await, refused_policies(&other, &policies).await] {
        assert_eq!((foreign.code, foreign.reason.as_str()), (Code::FailedPrecondition, "RESUME_TOKEN_FOREIGN"));
    }
}

async fn refused_decisions(gate: &Gate, resume_token: &str) -> Rejection {
    let request = WatchDecisionsRequest { resume_token: resume_token.to_owned(), ..Default::default() };
    status_rejection(gate.client.decisions().watch_decisions(request).await)
}

async fn refused_policies(gate: &Gate, resume_token: &str) -> Rejection {
    let request = WatchPoliciesRequest { resume_token: resume_token.to_owned() };
    status_rejection(gate.client.policies().watch_policies(request).await)
}

/// An image whose scan runs until the test ends it.
fn running() -> World {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(1)).scan(ScanScript::running()));
    world
}

/// Checks an error that says: call again.
fn assert_shutting_down(status: &Status) {
    let rejection = Rejection::from(status);
    assert_eq!((rejection.code, rejection.reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"), "{status:?}");
    assert_eq!(rejection.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_watches_end_with_shutting_down() {
    let gate = gate(running()).flag("--shutdown-grace", "1h").start().await;
    let request = WatchScanRequest { image: "team/app:1".into(), ..Default::default() };
    let mut scan = gate.client.gate().watch_scan(request).await.unwrap().into_inner();
    let request = WatchPoliciesRequest::default();
    let mut policies = gate.client.policies().watch_policies(request).await.unwrap().into_inner();
    let request = WatchDecisionsRequest::default();
    let mut decisions = gate.client.decisions().watch_decisions(request).await.unwrap().into_inner();
    scan.message().await.unwrap().unwrap();
    policies.message().await.unwrap().unwrap();
    decisions.message().await.unwrap().unwrap();

    let stopped = tokio::time::timeout(Duration::from_mins(1), gate.stop()).await;

    stopped.expect("the server waits for open watches").unwrap();
    assert_shutting_down(&end(&mut scan).await);
    assert_shutting_down(&end(&mut policies).await);
    assert_shutting_down(&end(&mut decisions).await);
}

/// The error that ends a stream.
async fn end<M>(stream: &mut tonic::Streaming<M>) -> Status {
    loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "the stream ends with OK"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_call_answers_when_server_stops() {
    let gate = gate(running()).flag("--shutdown-grace", "1h").start().await;
    let client = gate.client.clone();
    let wait = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    let request = EvaluateGateRequest { wait, ..evaluate_request("team/app:1") };
    let call = tokio::spawn(async move { client.evaluate(request).await });
    while gate.ecr.calls().count("DescribeImageScanFindings") < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();

    gate.stop().await.unwrap();

    assert_eq!(call.await.unwrap().unwrap().verdict(), Verdict::Indeterminate);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_gets_every_decision_once() {
    let gate = gate(World::demo()).start().await;
    let mut watch = open_decisions(&gate, "").await;
    next_decision(&mut watch).await;
    let expected = decide(&gate, 300).await;

    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = decisions(&mut watch, 300).await;

    assert_eq!(seen.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), expected);
}
