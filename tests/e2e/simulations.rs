//! SimulateGate: one policy alone, without a record, a scan or a reference.

use std::{collections::BTreeSet, time::Duration};

use prost::Message as _;
use scangate_client::{
    Code, prost_types,
    v1::{
        ListDecisionsRequest, Policy, PolicyMode, ScanRequirements, Severity, ShortfallAction, SimulateGateRequest,
        Simulation, Verdict, simulate_gate_request::SimulatedPolicy,
    },
};
use scangate_ecr_simulator::{BasicFinding, ImageSpec, ScanScript, World};
use scangate_server::{
    decision_log::{DecisionLog as _, sql::SqlDecisionLog},
    observations::{Observations as _, SeenFinding, sql::SqlObservations},
    sql::{Address, Database},
};

use crate::harness::{Gate, deny_findings_from, gate, rejection};

const CRITICAL: &str = "shop/web:1.4.2";
const CLEAN: &str = "shop/api:2.0.0";

fn named(image: &str, policy: &str) -> SimulateGateRequest {
    SimulateGateRequest {
        image: image.to_owned(),
        simulated_policy: Some(SimulatedPolicy::Policy(policy.to_owned())),
        ..Default::default()
    }
}

fn drafted(image: &str, draft: Policy) -> SimulateGateRequest {
    SimulateGateRequest { simulated_policy: Some(SimulatedPolicy::Draft(draft)), ..named(image, "") }
}

async fn simulate(gate: &Gate, request: SimulateGateRequest) -> Simulation {
    gate.client.simulate(request).await.unwrap()
}

/// A policy that starts a scan of an image that was never scanned.
fn starts_scans() -> Policy {
    let scan = ScanRequirements { never_scanned: ShortfallAction::StartScan.into(), ..Default::default() };
    Policy { scan: Some(scan), ..Default::default() }
}

fn unscanned() -> World {
    let mut world = World::new();
    let script = ScanScript::on_request(Vec::<BasicFinding>::new());
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(24)).scan(script));
    world
}

#[tokio::test]
async fn simulation_applies_the_named_policy_alone() {
    let gate = gate(World::demo()).start().await;
    gate.create_policy("lax", Policy { mode: PolicyMode::Off.into(), ..Policy::default() }).await;
    gate.create_policy("strict", deny_findings_from(Severity::Informational)).await;

    let lax = simulate(&gate, named(CRITICAL, "policies/lax")).await;
    let strict = simulate(&gate, named(CRITICAL, "policies/strict")).await;

    assert_eq!((lax.verdict(), strict.verdict()), (Verdict::Allow, Verdict::Deny));
    assert_eq!(
        strict.policies.iter().map(|reference| reference.policy.as_str()).collect::<Vec<_>>(),
        ["policies/strict"]
    );
    assert_eq!(strict.violations[0].rule, "none");
    // The decision is still that of the policies that govern the image.
    assert_eq!(gate.decide(CRITICAL).await.verdict(), Verdict::Deny);
}

#[tokio::test]
async fn simulated_draft_needs_no_name() {
    let gate = gate(World::demo()).start().await;
    let named_draft = Policy { name: "policies/default".into(), ..Policy::default() };

    let unnamed = simulate(&gate, drafted(CRITICAL, Policy::default())).await;
    let named = simulate(&gate, drafted(CRITICAL, named_draft)).await;

    assert_eq!((unnamed.verdict(), named.verdict()), (Verdict::Allow, Verdict::Allow));
    assert_eq!(unnamed.policies[0].policy, "policies/(draft)");
    assert_eq!(named.policies[0].policy, "policies/default");
}

#[tokio::test]
async fn simulation_without_known_policy_is_refused() {
    let gate = gate(World::demo()).start().await;
    let none = SimulateGateRequest { simulated_policy: None, ..named(CLEAN, "") };
    let malformed = drafted(CLEAN, Policy { name: "other/x".into(), ..Policy::default() });

    let none = rejection(gate.client.simulate(none).await);
    let malformed = rejection(gate.client.simulate(malformed).await);
    let unknown = rejection(gate.client.simulate(named(CLEAN, "policies/unknown")).await);

    assert_eq!((none.reason.as_str(), none.violations[0].field.as_str()), ("INVALID_FIELDS", "policy"));
    assert_eq!(malformed.violations[0].field, "draft.name");
    assert_eq!((unknown.code, unknown.reason.as_str()), (Code::NotFound, "POLICY_NOT_FOUND"));
    assert_eq!(gate.ecr.calls().total(), 0);
}

#[tokio::test]
async fn simulation_leaves_no_record() {
    let mut world = World::new();
    let script = ScanScript::complete([BasicFinding::new("CVE-1", "LOW").package("openssl", "3.0.1")]);
    world.push(ImageSpec::single("team/app", "1").scan(script));
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("scangate.db");
    let gate = gate(world).store(store.to_str().unwrap()).start().await;
    for _ in 0..2 {
        assert_eq!(simulate(&gate, drafted("team/app:1", Policy::default())).await.verdict(), Verdict::Allow);
    }

    let listed = gate.client.decisions().list_decisions(ListDecisionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.decisions, []);
    gate.stop().await.unwrap();
    let database = Database::open(&Address::File(store)).await.unwrap();
    let log = SqlDecisionLog::new(&database);
    assert_eq!(log.tail_positions().await.unwrap(), Default::default());
    assert_eq!(log.verify().await.unwrap().blobs, 0);
    let observations = SqlObservations::new(&database);
    let repository = scangate_test_fixtures::repository("team/app");
    let seen = [SeenFinding {
        vulnerability: "CVE-1".into(),
        related_ids: Vec::new(),
        package: "openssl".into(),
        fix_seen: false,
    }];
    let now = scangate_test_fixtures::noon();
    let times: Vec<_> = observations.observe(&repository, None, &seen, now).await.unwrap().into();
    assert_eq!((times[0].2.first_observe_time, times[0].2.first_admit_time), (Some(now), None));
}

#[tokio::test]
async fn simulation_is_not_cached_as_a_decision() {
    let gate = gate(World::demo()).start().await;

    for _ in 0..2 {
        assert_eq!(simulate(&gate, drafted(CRITICAL, Policy::default())).await.verdict(), Verdict::Allow);
        let decision = gate.decide(CRITICAL).await;
        assert_eq!((decision.verdict(), decision.policies[0].policy.as_str()), (Verdict::Deny, "policies/default"));
    }
}

#[tokio::test]
async fn simulation_starts_no_scan_and_says_so() {
    let gate = gate(unscanned()).start().await;
    let wait = Some(prost_types::Duration { seconds: 50, nanos: 0 });

    let simulation = simulate(&gate, SimulateGateRequest { wait, ..drafted("team/app:1", starts_scans()) }).await;

    assert_eq!(simulation.verdict(), Verdict::Indeterminate);
    assert_eq!(gate.ecr.calls().count("StartImageScan"), 0);
    for reasons in [&simulation.reasons, &simulation.manifests[0].reasons] {
        assert!(reasons.last().unwrap().contains("EvaluateGate would start one"), "{reasons:?}");
    }
    assert_eq!(simulation.retry_after, None, "time alone does not help");
}

#[tokio::test]
async fn simulated_scan_start_denies_under_enhanced() {
    let gate = gate(World::demo_enhanced()).start().await;
    gate.ecr.world(|world| {
        world.push(ImageSpec::single("shop/fresh", "1").pushed_ago(Duration::from_hours(24)));
    });

    let simulation = simulate(&gate, drafted("shop/fresh:1", starts_scans())).await;

    assert_eq!(simulation.verdict(), Verdict::Deny);
    assert!(simulation.reasons.iter().any(|reason| reason.contains("enhanced")), "{:?}", simulation.reasons);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulation_waits_for_a_running_scan() {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(1)).scan(ScanScript::running()));
    let gate = gate(world).start().await;
    let client = gate.client.clone();
    let wait = Some(prost_types::Duration { seconds: 50, nanos: 0 });
    let request = SimulateGateRequest { wait, ..drafted("team/app:1", Policy::default()) };
    let call = tokio::spawn(async move { client.simulate(request).await });
    while gate.ecr.calls().count("DescribeImageScanFindings") < 2 {
        tokio::task::yield_now().await;
    }

    gate.ecr.world(|world| {
        world.rescan("team/app", "1", ScanScript::clean().completed_ago(Duration::from_mins(10))).unwrap();
    });

    assert_eq!(call.await.unwrap().unwrap().verdict(), Verdict::Allow);
}

/// The fields of a message as name and type, by the contract's descriptors.
fn fields(message: &str) -> BTreeSet<(String, String)> {
    let set = prost_types::FileDescriptorSet::decode(scangate_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut messages = set.file.iter().flat_map(|file| &file.message_type);
    let found = messages.find(|found| found.name() == message).unwrap();
    let fields = found.field.iter();
    fields.map(|field| (field.name().to_owned(), format!("{:?} {}", field.r#type(), field.type_name()))).collect()
}

fn field_names(message: &str) -> BTreeSet<String> {
    fields(message).into_iter().map(|(name, _)| name).collect()
}

/// The messages that a message consists of, itself included.
fn closure(message: &str, found: &mut BTreeSet<String>) {
    if found.insert(message.to_owned()) {
        for (_, kind) in fields(message) {
            if let Some(nested) = kind.strip_prefix("Message .scangate.v1.") {
                // Maps have an entry message within their message.
                if !nested.contains('.') {
                    closure(nested, found);
                }
            }
        }
    }
}

#[test]
fn simulation_cannot_carry_a_permission() {
    let mut messages = BTreeSet::new();
    closure("SimulateGateResponse", &mut messages);

    assert!(messages.contains("ManifestSimulation") && messages.contains("Violation"));
    assert!(!messages.contains("Decision") && !messages.contains("ManifestDecision"), "{messages:?}");
    for message in messages {
        assert!(!field_names(&message).contains("deploy_image"), "{message}");
    }
}

#[test]
fn simulation_has_every_other_field_of_a_decision() {
    let without = |message, left_out: &[&str]| -> BTreeSet<_> {
        let renamed = fields(message)
            .into_iter()
            .map(|(name, kind)| (name, kind.replace("ManifestSimulation", "ManifestDecision")));
        renamed.filter(|(name, _)| !left_out.contains(&name.as_str())).collect()
    };

    assert_eq!(
        without("Decision", &["name", "deploy_image", "caller", "labels", "unreadable_detail", "view"]),
        without("Simulation", &[])
    );
    assert_eq!(without("ManifestDecision", &["deploy_image"]), without("ManifestSimulation", &[]));
}

#[test]
fn evaluate_request_cannot_choose_a_policy() {
    let decided = ["EvaluateGateRequest", "BatchEvaluateGateRequest", "EvaluateGateResponse", "BatchEvaluateGateItem"];
    let mut messages = BTreeSet::new();
    for message in decided {
        closure(message, &mut messages);
    }

    assert!(!messages.contains("Policy") && !messages.contains("Simulation"), "{messages:?}");
    let expected =
        ["at_least_as_fresh", "environment", "image", "labels", "max_findings_age", "platforms", "request_id", "wait"];
    assert_eq!(field_names("EvaluateGateRequest"), expected.map(str::to_owned).into());
}
