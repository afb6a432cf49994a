//! Single flight of concurrent calls for one image, and cancelled callers.

use std::time::Duration;

use scangate_client::{
    Client, Decision, Error,
    v1::{EvaluateGateRequest, Verdict},
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, World, generate};
use tokio::task::JoinSet;

use crate::harness::{Gate, client, evaluate_request, gate, rejection};

fn world() -> World {
    let mut world = World::new();
    world.push(
        ImageSpec::index("team/app", "1")
            .platform("linux/amd64", ScanScript::complete(generate::basic_of(&["LOW"], 300, 1)))
            .platform("linux/arm64", ScanScript::clean()),
    );
    world
}

/// The outcomes of callers that all send their request before the first response.
async fn evaluate_concurrently(gate: &Gate, callers: usize) -> Vec<Result<Decision, Error>> {
    // Long enough for every request to arrive.
    gate.ecr.faults().script(Fault::Delay(Duration::from_millis(500)).on("DescribeImages"));
    let callers = (0..callers).map(|_| gate.client.clone());
    let evaluate = |client: Client| async move { client.evaluate(evaluate_request("team/app:1")).await };
    callers.map(evaluate).collect::<JoinSet<_>>().join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_share_one_cold_read() {
    let alone = gate(world()).start().await;
    let _ = alone.decide("team/app:1").await;
    let calls_of_one = alone.ecr.calls().total();
    let gate = gate(world()).start().await;

    for outcome in evaluate_concurrently(&gate, 1000).await {
        assert_eq!(outcome.unwrap().verdict(), Verdict::Allow);
    }

    assert_eq!(gate.ecr.calls().total(), calls_of_one, "{:?}", gate.ecr.calls().all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_share_one_failed_read() {
    let failing = Fault::Throttle429.on("DescribeImageScanFindings");
    let alone = gate(world()).start().await;
    alone.ecr.faults().script(failing.clone());
    let _ = alone.rejection("team/app:1").await;
    let calls_of_one = alone.ecr.calls().count("DescribeImageScanFindings");
    let gate = gate(world()).start().await;
    gate.ecr.faults().script(failing);

    for outcome in evaluate_concurrently(&gate, 20).await {
        assert_eq!(rejection(outcome).reason, "ECR_THROTTLED");
    }

    // The number of retries is random, but twenty independent reads would make twenty times as many calls.
    let calls = gate.ecr.calls().count("DescribeImageScanFindings");
    assert!(calls < 2 * calls_of_one, "{calls} instead of {calls_of_one}");
}

#[tokio::test]
async fn warm_image_causes_no_ecr_call() {
    let gate = gate(world()).start().await;
    let _ = gate.decide("team/app:1").await;
    gate.ecr.calls().clear();

    let _ = gate.decide("team/app:1").await;

    assert_eq!(gate.ecr.calls().total(), 0);
}

#[tokio::test]
async fn zero_findings_age_reads_ecr_again() {
    let gate = gate(world()).start().await;
    let _ = gate.decide("team/app:1").await;
    gate.ecr.calls().clear();
    let fresh = EvaluateGateRequest { max_findings_age: Some(Default::default()), ..evaluate_request("team/app:1") };

    let _ = gate.client.evaluate(fresh).await.unwrap();

    assert!(gate.ecr.calls().count("DescribeImageScanFindings") > 0);
    assert!(gate.ecr.calls().count("DescribeImages") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_caller_leaves_shared_read_running() {
    let gate = gate(world()).start().await;
    gate.ecr.faults().script(Fault::Delay(Duration::from_millis(700)).on("DescribeImageScanFindings"));
    let first = gate.client.clone();
    let cancelled = tokio::spawn(async move { first.evaluate(evaluate_request("team/app:1")).await });
    while gate.ecr.calls().count("DescribeImageScanFindings") == 0 {
        tokio::task::yield_now().await;
    }
    let second = gate.client.clone();
    let waiting = tokio::spawn(async move { second.evaluate(evaluate_request("team/app:1")).await });
    tokio::task::yield_now().await;

    cancelled.abort();

    assert_eq!(waiting.await.unwrap().unwrap().verdict(), Verdict::Allow);
    // One read for each platform, of four pages and one page; the cancellation restarted neither.
    let calls = gate.ecr.calls().count("DescribeImageScanFindings");
    gate.ecr.calls().clear();
    let _ = gate.decide("team/app:1").await;
    assert_eq!(gate.ecr.calls().total(), 0);
    assert!(calls <= 5, "{calls} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_callers_release_their_permits() {
    let gate = gate(world()).flag("--max-concurrent-calls", "50").start().await;
    gate.ecr.faults().script(Fault::Delay(Duration::from_millis(300)).on("DescribeImages"));

    for _ in 0..20 {
        // A new connection each time: HTTP/2 closes a connection that resets too many streams.
        let impatient = client(gate.address).await.with_call_timeout(Duration::from_millis(100));
        let mut callers = JoinSet::new();
        for _ in 0..20 {
            let client = impatient.clone();
            callers.spawn(async move { client.evaluate(evaluate_request("team/app:1")).await });
        }
        callers.shutdown().await;
    }
    gate.ecr.faults().clear();

    // 400 cancelled callers shared 50 permits: if they leaked permits, this call would be rejected.
    assert_eq!(gate.decide("team/app:1").await.verdict(), Verdict::Allow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_read_is_not_cached() {
    let gate = gate(world()).flag("--ecr-timeout", "1s").start().await;
    gate.ecr.faults().script(Fault::ServerError500.on("DescribeImageScanFindings"));
    assert_eq!(gate.rejection("team/app:1").await.reason, "ECR_UNAVAILABLE");
    gate.ecr.faults().clear();

    assert_eq!(gate.decide("team/app:1").await.verdict(), Verdict::Allow);
}
