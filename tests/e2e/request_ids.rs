//! Request ids of EvaluateGate: a retry gets the recorded decision while that holds, and otherwise a new one.

use std::{collections::BTreeSet, time::Duration};

use scangate_client::{
    Client, prost_types,
    v1::{
        BatchEvaluateGateRequest, CreatePolicyRequest, EvaluateGateRequest, EvaluateGateResponse, GetFindingsRequest,
        ListDecisionsRequest, Severity, Verdict, Waiver, batch_evaluate_gate_item,
    },
};
use scangate_ecr_simulator::{BasicFinding, ImageSpec, ScanScript, World};
use scangate_test_postgres::Cluster;
use tokio::task::JoinSet;

use crate::harness::{Gate, create_policy_request, deny_findings_from, evaluate_request, gate, rejection, waiver};

const ID: &str = "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f";
const OTHER_ID: &str = "0d9c8b7a-1111-4222-8333-444455556666";
const ALLOWED: &str = "shop/api:2.0.0";

fn identified(image: &str) -> EvaluateGateRequest {
    EvaluateGateRequest { request_id: ID.into(), ..evaluate_request(image) }
}

async fn ask(client: &Client, request: EvaluateGateRequest) -> EvaluateGateResponse {
    client.gate().evaluate_gate(request).await.unwrap().into_inner()
}

/// The name of the decision, its verdict, and whether it is replayed.
async fn answer(gate: &Gate, request: &EvaluateGateRequest) -> (String, Verdict, bool) {
    let response = ask(&gate.client, request.clone()).await;
    let decision = response.decision.unwrap();
    (decision.name.clone(), decision.verdict(), response.replayed)
}

async fn decision_names(gate: &Gate) -> BTreeSet<String> {
    let page = gate.client.decisions().list_decisions(ListDecisionsRequest::default()).await.unwrap().into_inner();
    page.decisions.into_iter().map(|decision| decision.name).collect()
}

/// Asserts that the server decides again under a new name, which the id then stands for.
async fn assert_superseded(gate: &Gate, request: &EvaluateGateRequest, first: &str, expected: Verdict) {
    let (second, verdict, replayed) = answer(gate, request).await;
    assert!(second != first && !replayed, "{second} {replayed}");
    assert_eq!(verdict, expected);
    if expected != Verdict::Indeterminate {
        assert_eq!(answer(gate, request).await, (second, expected, true));
    }
}

fn image_with(script: ScanScript) -> World {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(24)).scan(script));
    world
}

#[tokio::test]
async fn retry_returns_recorded_decision_and_labels() {
    let gate = gate(World::demo()).start().await;
    for image in [ALLOWED, "shop/web:1.4.2"] {
        let id = if image == ALLOWED { ID } else { OTHER_ID };
        let labels = |text: &str| [("attempt".to_owned(), text.to_owned())].into();
        let request = EvaluateGateRequest { request_id: id.into(), labels: labels("1"), ..evaluate_request(image) };
        let first = ask(&gate.client, request.clone()).await;

        let again = ask(&gate.client, request.clone()).await;
        let wait = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let zero = Some(prost_types::Duration::default());
        let token = "rev-1".to_owned();
        let other = EvaluateGateRequest {
            labels: labels("2"),
            wait,
            max_findings_age: zero,
            at_least_as_fresh: token,
            ..request
        };
        let other = ask(&gate.client, other).await;

        assert!(!first.replayed && again.replayed && other.replayed);
        assert_eq!(again.decision, first.decision);
        assert_eq!(other.decision, first.decision);
    }
    assert_eq!(decision_names(&gate).await.len(), 2);
}

#[tokio::test]
async fn id_of_another_request_is_refused() {
    let gate = gate(World::demo()).start().await;
    let _ = ask(&gate.client, identified(ALLOWED)).await;
    let platform =
        scangate_client::v1::Platform { os: "linux".into(), architecture: "amd64".into(), ..Default::default() };

    for other in [
        identified("shop/web:1.4.2"),
        EvaluateGateRequest { environment: "prod".into(), ..identified(ALLOWED) },
        EvaluateGateRequest { platforms: vec![platform], ..identified(ALLOWED) },
    ] {
        assert_eq!(rejection(gate.client.evaluate(other).await).reason, "REQUEST_ID_REUSED");
    }
}

#[tokio::test]
async fn policy_write_supersedes_an_allow() {
    let gate = gate(World::demo()).start().await;
    let request = identified("shop/gateway:1.1.0");
    let (first, verdict, _) = answer(&gate, &request).await;
    assert_eq!(verdict, Verdict::Allow);

    gate.create_policy("strict", deny_findings_from(Severity::Informational)).await;

    let expected = gate.decide("shop/gateway:1.1.0").await.verdict();
    assert_superseded(&gate, &request, &first, expected).await;
}

#[tokio::test]
async fn waiver_supersedes_a_deny() {
    let script = ScanScript::complete([BasicFinding::new("CVE-1", "CRITICAL")]);
    let gate = gate(image_with(script)).start().await;
    let (first, verdict, _) = answer(&gate, &identified("team/app:1")).await;
    assert_eq!(verdict, Verdict::Deny);

    gate.create_waiver("accepted", waiver("CVE-1")).await;

    assert_superseded(&gate, &identified("team/app:1"), &first, Verdict::Allow).await;
}

#[tokio::test]
async fn end_of_validity_supersedes_an_allow() {
    let script = ScanScript::complete([BasicFinding::new("CVE-1", "CRITICAL")]);
    let gate = gate(image_with(script)).start().await;
    let expire_time = std::time::SystemTime::now() + Duration::from_secs(3);
    gate.create_waiver("short", Waiver { expire_time: Some(expire_time.into()), ..waiver("CVE-1") }).await;
    let (first, verdict, _) = answer(&gate, &identified("team/app:1")).await;
    assert_eq!(verdict, Verdict::Allow);

    tokio::time::sleep(expire_time.duration_since(std::time::SystemTime::now()).unwrap_or_default()).await;

    assert_superseded(&gate, &identified("team/app:1"), &first, Verdict::Deny).await;
}

#[tokio::test]
async fn known_newer_reading_supersedes_an_allow() {
    let gate = gate(image_with(ScanScript::clean())).start().await;
    let (first, verdict, _) = answer(&gate, &identified("team/app:1")).await;
    assert_eq!(verdict, Verdict::Allow);
    let worse = ScanScript::complete([BasicFinding::new("CVE-1", "CRITICAL")]);
    gate.ecr.world(|world| world.rescan("team/app", "1", worse)).unwrap();
    // Nothing is known yet: a retry must not read.
    assert_eq!(answer(&gate, &identified("team/app:1")).await, (first.clone(), Verdict::Allow, true));

    let fresh = GetFindingsRequest {
        image: "team/app:1".to_owned(),
        max_findings_age: Some(Default::default()),
        ..Default::default()
    };
    let _ = gate.client.all_findings(fresh).await.unwrap();

    assert_superseded(&gate, &identified("team/app:1"), &first, Verdict::Deny).await;
}

#[tokio::test]
async fn indeterminate_is_never_replayed() {
    let gate = gate(image_with(ScanScript::running())).start().await;
    let (first, verdict, _) = answer(&gate, &identified("team/app:1")).await;
    assert_eq!(verdict, Verdict::Indeterminate);

    assert_superseded(&gate, &identified("team/app:1"), &first, Verdict::Indeterminate).await;
}

#[tokio::test]
async fn id_is_forgotten_after_its_window() {
    let gate = gate(World::demo()).flag("--request-id-window", "1s").start().await;
    let (first, _, _) = answer(&gate, &identified(ALLOWED)).await;

    tokio::time::sleep(Duration::from_millis(1100)).await;

    let (second, _, replayed) = answer(&gate, &identified(ALLOWED)).await;
    assert!(second != first && !replayed);
}

#[tokio::test]
async fn superseding_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("scangate.db");
    let start = || gate(World::demo()).store(store.to_str().unwrap()).start();
    let one = start().await;
    let (first, _, _) = answer(&one, &identified(ALLOWED)).await;
    one.create_policy("other", deny_findings_from(Severity::Critical)).await;
    let (second, verdict, _) = answer(&one, &identified(ALLOWED)).await;
    one.stop().await.unwrap();

    let restarted = start().await;

    assert_ne!(first, second);
    assert_eq!(answer(&restarted, &identified(ALLOWED)).await, (second, verdict, true));
}

#[tokio::test]
async fn other_forms_of_ids_are_refused_with_next_step() {
    let gate = gate(World::demo()).start().await;
    for id in ["deploy-42", &ID.to_uppercase(), &ID.replace('-', ""), "00000000-0000-0000-0000-000000000000"] {
        let request = EvaluateGateRequest { request_id: id.to_owned(), ..evaluate_request(ALLOWED) };
        let write = CreatePolicyRequest {
            request_id: id.to_owned(),
            ..create_policy_request("team", deny_findings_from(Severity::High))
        };

        for refused in
            [rejection(gate.client.evaluate(request).await), rejection(gate.client.create_policy(write).await)]
        {
            assert_eq!(refused.violations[0].field, "request_id");
            assert!(refused.violations[0].description.contains("uuidgen"), "{refused}");
        }
    }
}

#[tokio::test]
async fn id_twice_in_a_batch_is_refused_at_both_places() {
    let gate = gate(World::demo()).start().await;
    let requests = vec![evaluate_request(ALLOWED), identified(ALLOWED), evaluate_request(ALLOWED), identified(ALLOWED)];

    let refused = rejection(gate.client.batch_evaluate(BatchEvaluateGateRequest { requests }).await);

    let fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["requests[1].request_id", "requests[3].request_id"]);
    assert_eq!(decision_names(&gate).await, BTreeSet::new());
}

#[tokio::test]
async fn batch_item_says_that_it_is_replayed() {
    let gate = gate(World::demo()).start().await;
    let (first, _, _) = answer(&gate, &identified(ALLOWED)).await;
    let requests = vec![identified(ALLOWED), evaluate_request(ALLOWED)];

    let batch = gate.client.batch_evaluate(BatchEvaluateGateRequest { requests }).await.unwrap().into_message();

    let [Some(batch_evaluate_gate_item::Result::Response(one)), Some(batch_evaluate_gate_item::Result::Response(two))] =
        [&batch.items[0].result, &batch.items[1].result]
    else {
        panic!("{batch:?}");
    };
    assert_eq!((one.replayed, two.replayed), (true, false));
    let name = |response: &EvaluateGateResponse| response.decision.as_ref().unwrap().name.clone();
    assert!(name(one) == first && name(two) != first);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_record_a_decision_for_each_reading() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let replica = async || gate(World::demo()).store(&database).start().await;
    let replicas = [replica().await, replica().await];
    let mut calls = JoinSet::new();
    for number in 0..32 {
        let client = replicas[number % 2].client.clone();
        calls.spawn(async move { ask(&client, identified(ALLOWED)).await });
    }

    let responses = calls.join_all().await;

    let names: BTreeSet<String> =
        responses.iter().map(|response| response.decision.as_ref().unwrap().name.clone()).collect();
    assert_eq!(names, decision_names(&replicas[0]).await);
    // A replica whose reading is newer than that of the recorded decision decides again.
    assert!(names.len() <= replicas.len(), "{names:?}");
    assert_eq!(responses.iter().filter(|response| !response.replayed).count(), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_supersede_once_for_each_reading() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let replica = async || gate(World::demo()).store(&database).flag("--store-staleness", "2s").start().await;
    let replicas = [replica().await, replica().await];
    let first = ask(&replicas[0].client, identified("shop/web:1.4.2")).await.decision.unwrap();
    let written = replicas[0].create_policy("other", deny_findings_from(Severity::Low)).await;
    let mut calls = JoinSet::new();
    for number in 0..16 {
        let client = replicas[number % 2].client.clone();
        let at_least_as_fresh = written.revision.clone();
        let request = EvaluateGateRequest { at_least_as_fresh, ..identified("shop/web:1.4.2") };
        calls.spawn(async move { ask(&client, request).await.decision.unwrap().name });
    }

    let names: BTreeSet<String> = calls.join_all().await.into_iter().collect();

    // The second replica reads ECR during the calls. If its reading is newer than that of the recorded decision, it decides again.
    assert!((1..=replicas.len()).contains(&names.len()), "{names:?}");
    assert!(!names.contains(&first.name), "{names:?}");
    assert_eq!(decision_names(&replicas[0]).await.len(), names.len() + 1);
}
