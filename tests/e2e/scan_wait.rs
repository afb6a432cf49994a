//! Waiting for a running scan, up to the deadline, and scans that a policy starts.

use std::time::Duration;

use scangate_client::{
    prost_types,
    v1::{EvaluateGateRequest, Policy, ScanRequirements, ShortfallAction, Verdict},
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, World};

use crate::harness::{evaluate_request, gate};

fn waiting(image: &str, seconds: i64) -> EvaluateGateRequest {
    EvaluateGateRequest { wait: Some(prost_types::Duration { seconds, nanos: 0 }), ..evaluate_request(image) }
}

/// An image pushed an hour ago, whose scan runs until the test ends it.
fn running() -> World {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(1)).scan(ScanScript::running()));
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_call_returns_verdict_of_ended_scan() {
    let gate = gate(running()).start().await;
    let client = gate.client.clone();
    let call = tokio::spawn(async move { client.evaluate(waiting("team/app:1", 50)).await });
    while gate.ecr.calls().count("DescribeImageScanFindings") < 2 {
        tokio::task::yield_now().await;
    }

    // The scan ended long enough ago for its findings to be settled.
    gate.ecr.world(|world| {
        world.rescan("team/app", "1", ScanScript::clean().completed_ago(Duration::from_mins(10))).unwrap();
    });

    assert_eq!(call.await.unwrap().unwrap().verdict(), Verdict::Allow);
}

#[tokio::test]
async fn wait_ends_before_caller_deadline() {
    let gate = gate(running()).start().await;
    let mut request = tonic::Request::new(waiting("team/app:1", 600));
    request.set_timeout(Duration::from_secs(3));

    let response = gate.client.gate().evaluate_gate(request).await.unwrap().into_inner();

    assert_eq!(response.decision.unwrap().verdict(), Verdict::Indeterminate);
}

#[tokio::test]
async fn start_scan_policy_starts_scan_and_waits() {
    let mut world = World::new();
    let script = ScanScript::on_request(Vec::<scangate_ecr_simulator::BasicFinding>::new());
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(24)).scan(script));
    let gate = gate(world).start().await;
    let scan = ScanRequirements { never_scanned: ShortfallAction::StartScan.into(), ..Default::default() };
    gate.create_policy("scans", Policy { replaces_default: Some(true), scan: Some(scan), ..Default::default() }).await;

    let decision = gate.decide("team/app:1").await;

    assert_eq!(decision.verdict(), Verdict::Indeterminate);
    assert_eq!(gate.ecr.calls().count("StartImageScan"), 1);
}

#[tokio::test]
async fn refused_scan_names_missing_action() {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(24)).scan(ScanScript::never()));
    let gate = gate(world).start().await;
    gate.ecr.faults().script(Fault::error("AccessDeniedException", "denied").on("StartImageScan"));
    let scan = ScanRequirements { never_scanned: ShortfallAction::StartScan.into(), ..Default::default() };
    gate.create_policy("scans", Policy { scan: Some(scan), replaces_default: Some(true), ..Default::default() }).await;

    let decision = gate.decide("team/app:1").await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    let names = |reason: &&String| reason.contains("ecr:StartImageScan") && reason.contains("StartScan");
    assert!(decision.reasons.iter().any(|reason| names(&reason)), "{:?}", decision.reasons);
}

#[tokio::test]
async fn start_scan_policy_denies_under_enhanced() {
    let gate = gate(World::demo_enhanced()).start().await;
    gate.ecr.world(|world| {
        world.push(ImageSpec::single("shop/fresh", "1").pushed_ago(Duration::from_hours(24)));
    });
    let scan = ScanRequirements { never_scanned: ShortfallAction::StartScan.into(), ..Default::default() };
    gate.create_policy("scans", Policy { scan: Some(scan), ..Default::default() }).await;

    let decision = gate.decide("shop/fresh:1").await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert!(decision.reasons.iter().any(|reason| reason.contains("enhanced")), "{:?}", decision.reasons);
}
