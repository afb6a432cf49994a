//! Waiting for a running scan, starting one because a policy says so, and not waiting past the deadline.

use std::time::Duration;

use scangate_client::{
    prost_types,
    v1::{EvaluateGateRequest, Policy, ScanRequirements, ShortfallAction, Verdict},
};
use scangate_ecr_simulator::{ImageSpec, ScanScript, World};

use crate::harness::{create, gate, question};

fn waiting(image: &str, seconds: i64) -> EvaluateGateRequest {
    EvaluateGateRequest { wait: Some(prost_types::Duration { seconds, nanos: 0 }), ..question(image) }
}

/// An image of an hour ago whose scan does not end unless the test says so.
fn running() -> World {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(1)).scan(ScanScript::running()));
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_gets_the_verdict_when_the_scan_ends() {
    let gate = gate(running()).start().await;
    let client = gate.client.clone();
    let asking = tokio::spawn(async move { client.evaluate(waiting("team/app:1", 50)).await });
    while gate.ecr.calls().count("DescribeImageScanFindings") < 2 {
        tokio::task::yield_now().await;
    }

    // The scan is over, and so long ago that its findings have settled.
    gate.ecr.world(|world| {
        world.rescan("team/app", "1", ScanScript::clean().completed_ago(Duration::from_mins(10))).unwrap();
    });

    assert_eq!(asking.await.unwrap().unwrap().verdict(), Verdict::Allow);
}

#[tokio::test]
async fn waiting_ends_with_an_answer_before_the_callers_deadline() {
    let gate = gate(running()).start().await;
    let mut request = tonic::Request::new(waiting("team/app:1", 600));
    request.set_timeout(Duration::from_secs(3));

    let answer = gate.client.gate().evaluate_gate(request).await.unwrap().into_inner();

    assert_eq!(answer.decision.unwrap().verdict(), Verdict::Indeterminate);
}

#[tokio::test]
async fn a_policy_that_says_so_starts_a_scan_and_waits_for_it() {
    let mut world = World::new();
    let script = ScanScript::on_request(Vec::<scangate_ecr_simulator::BasicFinding>::new());
    world.push(ImageSpec::single("team/app", "1").pushed_ago(Duration::from_hours(24)).scan(script));
    let gate = gate(world).start().await;
    let scan = ScanRequirements { never_scanned: ShortfallAction::StartScan.into(), ..Default::default() };
    gate.client.create_policy(create("scans", Policy { scan: Some(scan), ..Default::default() })).await.unwrap();

    let decision = gate.decide("team/app:1").await;

    assert_eq!(decision.verdict(), Verdict::Indeterminate);
    assert_eq!(gate.ecr.calls().count("StartImageScan"), 1);
}

#[tokio::test]
async fn a_policy_that_wants_a_scan_where_none_can_be_started_denies() {
    let gate = gate(World::demo_enhanced()).start().await;
    gate.ecr.world(|world| {
        world.push(ImageSpec::single("shop/fresh", "1").pushed_ago(Duration::from_hours(24)));
    });
    let scan = ScanRequirements { never_scanned: ShortfallAction::StartScan.into(), ..Default::default() };
    gate.client.create_policy(create("scans", Policy { scan: Some(scan), ..Default::default() })).await.unwrap();

    let decision = gate.decide("shop/fresh:1").await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert!(decision.reasons.iter().any(|reason| reason.contains("enhanced")), "{:?}", decision.reasons);
}
