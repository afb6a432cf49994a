//! Many callers, one image: ECR pays for one. Callers that leave disturb nobody.

use std::time::Duration;

use scangate_client::{
    Client, Decision, Error,
    v1::{EvaluateGateRequest, Verdict},
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, World, generate};
use tokio::task::JoinSet;

use crate::harness::{Gate, client, gate, question, rejection};

fn world() -> World {
    let mut world = World::new();
    world.push(
        ImageSpec::index("team/app", "1")
            .platform("linux/amd64", ScanScript::complete(generate::basic_of(&["LOW"], 300, 1)))
            .platform("linux/arm64", ScanScript::clean()),
    );
    world
}

/// What so many callers are answered, all of whom ask before any has an answer.
async fn ask_at_once(gate: &Gate, callers: usize) -> Vec<Result<Decision, Error>> {
    // Slow enough that all of them are there.
    gate.ecr.faults().script(Fault::Delay(Duration::from_millis(500)).on("DescribeImages"));
    let callers = (0..callers).map(|_| gate.client.clone());
    let ask = |client: Client| async move { client.evaluate(question("team/app:1")).await };
    callers.map(ask).collect::<JoinSet<_>>().join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_a_cold_image_cost_ecr_the_calls_of_one() {
    let alone = gate(world()).start().await;
    let _ = alone.decide("team/app:1").await;
    let calls_of_one = alone.ecr.calls().total();
    let gate = gate(world()).start().await;

    for answer in ask_at_once(&gate, 1000).await {
        assert_eq!(answer.unwrap().verdict(), Verdict::Allow);
    }

    assert_eq!(gate.ecr.calls().total(), calls_of_one, "{:?}", gate.ecr.calls().all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_of_an_image_that_cannot_be_read_share_the_failure_of_one() {
    let failing = Fault::Throttle429.on("DescribeImageScanFindings");
    let alone = gate(world()).start().await;
    alone.ecr.faults().script(failing.clone());
    let _ = alone.refusal("team/app:1").await;
    let calls_of_one = alone.ecr.calls().count("DescribeImageScanFindings");
    let gate = gate(world()).start().await;
    gate.ecr.faults().script(failing);

    for answer in ask_at_once(&gate, 20).await {
        assert_eq!(rejection(answer).reason, "ECR_THROTTLED");
    }

    // How often one tries depends on chance: twenty who try for themselves would call twenty times as often.
    let calls = gate.ecr.calls().count("DescribeImageScanFindings");
    assert!(calls < 2 * calls_of_one, "{calls} instead of {calls_of_one}");
}

#[tokio::test]
async fn a_warm_image_costs_ecr_nothing() {
    let gate = gate(world()).start().await;
    let _ = gate.decide("team/app:1").await;
    gate.ecr.calls().clear();

    let _ = gate.decide("team/app:1").await;

    assert_eq!(gate.ecr.calls().total(), 0);
}

#[tokio::test]
async fn a_caller_that_wants_it_fresh_gets_a_reading_that_began_after_its_call() {
    let gate = gate(world()).start().await;
    let _ = gate.decide("team/app:1").await;
    gate.ecr.calls().clear();
    let fresh = EvaluateGateRequest { max_findings_age: Some(Default::default()), ..question("team/app:1") };

    let _ = gate.client.evaluate(fresh).await.unwrap();

    assert!(gate.ecr.calls().count("DescribeImageScanFindings") > 0);
    assert!(gate.ecr.calls().count("DescribeImages") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_cancels_nobody_elses_answer() {
    let gate = gate(world()).start().await;
    gate.ecr.faults().script(Fault::Delay(Duration::from_millis(700)).on("DescribeImageScanFindings"));
    let first = gate.client.clone();
    let leaving = tokio::spawn(async move { first.evaluate(question("team/app:1")).await });
    while gate.ecr.calls().count("DescribeImageScanFindings") == 0 {
        tokio::task::yield_now().await;
    }
    let second = gate.client.clone();
    let staying = tokio::spawn(async move { second.evaluate(question("team/app:1")).await });
    tokio::task::yield_now().await;

    leaving.abort();

    assert_eq!(staying.await.unwrap().unwrap().verdict(), Verdict::Allow);
    // One reading for each platform, of four and of one page; none was begun again.
    let single = gate.ecr.calls().count("DescribeImageScanFindings");
    gate.ecr.calls().clear();
    let _ = gate.decide("team/app:1").await;
    assert_eq!(gate.ecr.calls().total(), 0);
    assert!(single <= 5, "{single} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_leave_nothing_behind() {
    let gate = gate(world()).flag("--max-concurrent-calls", "50").start().await;
    gate.ecr.faults().script(Fault::Delay(Duration::from_millis(300)).on("DescribeImages"));

    for _ in 0..20 {
        // A connection of their own: HTTP/2 closes one that resets too many streams.
        let impatient = client(gate.address).await.with_call_timeout(Duration::from_millis(100));
        let mut callers = JoinSet::new();
        for _ in 0..20 {
            let client = impatient.clone();
            callers.spawn(async move { client.evaluate(question("team/app:1")).await });
        }
        callers.shutdown().await;
    }
    gate.ecr.faults().clear();

    // Four hundred callers came and went through fifty places: were any kept, this call would be refused.
    assert_eq!(gate.decide("team/app:1").await.verdict(), Verdict::Allow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_reading_is_not_remembered() {
    let gate = gate(world()).flag("--ecr-timeout", "1s").start().await;
    gate.ecr.faults().script(Fault::ServerError500.on("DescribeImageScanFindings"));
    assert_eq!(gate.refusal("team/app:1").await.reason, "ECR_UNAVAILABLE");
    gate.ecr.faults().clear();

    assert_eq!(gate.decide("team/app:1").await.verdict(), Verdict::Allow);
}
