//! Every fault of the simulator against every RPC: never ALLOW, never a hang, always an error or a verdict of the design.

use std::time::Duration;

use scangate_client::{
    Code, Error,
    v1::{
        BatchEvaluateGateRequest, ConfigureScanningRequest, EvaluateGateRequest, GetFindingsRequest, RepositoryTarget,
        StartScanRequest, Verdict, WatchScanRequest, configure_scanning_request::Target,
    },
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, World, generate};

use crate::harness::{Gate, gate, question, rejection};

/// Faults that a correct reader recovers from, or that do not reach the call: the answer may be the right one.
const HARMLESS: [&str; 2] = ["delay", "limit_exceeded"];

/// Codes that the design has for a registry that fails.
const REFUSALS: [Code; 4] = [Code::Unavailable, Code::FailedPrecondition, Code::NotFound, Code::DeadlineExceeded];

/// A world in which everything is vulnerable by one critical finding, over several pages, in every kind of image.
fn vulnerable() -> World {
    let mut world = World::new();
    let findings = || {
        let mut findings = generate::basic_of(&["LOW", "MEDIUM"], 250, 3);
        findings.extend(generate::basic_of(&["CRITICAL"], 1, 4));
        findings
    };
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(findings())));
    world.push(
        ImageSpec::index("team/multi", "1")
            .platform("linux/amd64", ScanScript::complete(findings()))
            .platform("linux/arm64", ScanScript::clean())
            .attestation(),
    );
    world
}

/// The same images without a finding: what a fault must not help, nor a fault-free reading deny.
fn clean() -> World {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    world.push(
        ImageSpec::index("team/multi", "1")
            .platform("linux/amd64", ScanScript::clean())
            .platform("linux/arm64", ScanScript::clean()),
    );
    world
}

async fn impatient(world: World) -> Gate {
    gate(world).flag("--ecr-attempt-timeout", "400ms").flag("--ecr-timeout", "1500ms").start().await
}

fn now(image: &str) -> EvaluateGateRequest {
    EvaluateGateRequest { max_findings_age: Some(Default::default()), ..question(image) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_ever_turns_a_vulnerable_image_into_an_allowed_one() {
    for (name, fault) in Fault::all() {
        let gate = impatient(vulnerable()).await;
        gate.ecr.faults().script(fault);
        for image in ["team/app:1", "team/multi:1"] {
            match gate.client.evaluate(now(image)).await {
                Ok(decision) => assert_ne!(decision.verdict(), Verdict::Allow, "{name} on {image}"),
                Err(error) => assert_is_designed(&error, name),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_never_lets_a_clean_image_through_on_less_than_proof() {
    for (name, fault) in Fault::all() {
        // A gate of its own for each: nothing is known from before.
        let gate = impatient(clean()).await;
        gate.ecr.faults().script(fault);
        for image in ["team/app:1", "team/multi:1"] {
            match gate.client.evaluate(now(image)).await {
                // Where a fault leaves the answer whole, a clean image is a clean image.
                Ok(decision) if decision.verdict() == Verdict::Allow => {
                    assert!(leaves_a_clean_scan_whole(name, image), "{name} on {image}: {:?}", decision.into_message());
                }
                Ok(_) => {}
                Err(error) => assert_is_designed(&error, name),
            }
        }
    }
}

/// Faults that have nothing to bite on in an answer of one page without findings.
fn leaves_a_clean_scan_whole(name: &str, image: &str) -> bool {
    match name {
        "missing_page" | "duplicate_page" | "nan_score" | "unknown_severity" | "scan_changes_between_pages" => true,
        // Only an index is fetched.
        "corrupt_manifest" => image == "team/app:1",
        _ => HARMLESS.contains(&name),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_call_answers_every_fault_with_an_error_of_the_design() {
    let gate = impatient(vulnerable()).await;

    for (name, fault) in Fault::all() {
        gate.ecr.faults().clear();
        gate.ecr.faults().script(fault);
        let findings = GetFindingsRequest {
            image: "team/app:1".into(),
            max_findings_age: Some(Default::default()),
            ..Default::default()
        };
        designed(gate.client.findings(findings).await, name);
        let start = StartScanRequest { image: "team/app:1".into(), platforms: Vec::new() };
        designed(gate.client.start_scan(start).await, name);
        let target = RepositoryTarget { repository: "team/app".into(), scan_on_push: true };
        let configure = ConfigureScanningRequest { target: Some(Target::Repository(target)), validate_only: false };
        designed(gate.client.configure_scanning(configure).await, name);
        let batch = BatchEvaluateGateRequest { requests: vec![now("team/app:1"), now("team/multi:1")] };
        let batch = gate.client.batch_evaluate(batch).await.unwrap();
        assert_ne!(batch.into_message().verdict(), Verdict::Allow, "{name}");
        let watch = WatchScanRequest { image: "team/app:1".into(), platforms: Vec::new() };
        if let Ok(mut watch) = gate.client.watch_scan(watch).await {
            designed(watch.next().await, name);
        }
    }
}

fn designed<T>(outcome: Result<T, Error>, fault: &str) {
    if let Err(error) = outcome {
        assert_is_designed(&error, fault);
    }
}

#[track_caller]
fn assert_is_designed(error: &Error, fault: &str) {
    let refused = error.rejection().unwrap_or_else(|| panic!("{fault}: {error:?}"));
    assert!(REFUSALS.contains(&refused.code), "{fault}: {refused:?}");
    assert!(!refused.reason.is_empty(), "{fault}: {refused:?}");
    assert!(!refused.message.is_empty(), "{fault}: {refused:?}");
}

#[tokio::test]
async fn each_failure_of_ecr_has_its_reason() {
    let gate = impatient(clean()).await;
    let cases = [
        ("throttle_400", Code::Unavailable, "ECR_THROTTLED"),
        ("throttle_429", Code::Unavailable, "ECR_THROTTLED"),
        ("throttle_429_empty", Code::Unavailable, "ECR_THROTTLED"),
        ("server_error_500", Code::Unavailable, "ECR_UNAVAILABLE"),
        ("service_unavailable_503", Code::Unavailable, "ECR_UNAVAILABLE"),
        ("hang", Code::Unavailable, "ECR_UNAVAILABLE"),
        ("drop_connection", Code::Unavailable, "ECR_UNAVAILABLE"),
        ("truncate_body", Code::Unavailable, "ECR_MALFORMED_RESPONSE"),
        ("malformed_json", Code::Unavailable, "ECR_MALFORMED_RESPONSE"),
        ("access_denied", Code::FailedPrecondition, "ECR_ACCESS_DENIED"),
        ("expired_token", Code::FailedPrecondition, "ECR_CREDENTIALS"),
        ("repository_not_found", Code::NotFound, "REPOSITORY_NOT_FOUND"),
        ("image_not_found", Code::NotFound, "IMAGE_NOT_FOUND"),
    ];

    for (name, code, reason) in cases {
        gate.ecr.faults().clear();
        gate.ecr.faults().script(Fault::named(name).unwrap().on("DescribeImages"));

        let refused = rejection(gate.client.evaluate(now("team/app:1")).await);

        assert_eq!((refused.code, refused.reason.as_str()), (code, reason), "{name}: {}", refused.message);
        assert_eq!(refused.retry_after.is_some(), code == Code::Unavailable, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_by_iam_names_the_missing_action_and_nothing_of_the_principal() {
    let gate = impatient(clean()).await;
    gate.ecr.faults().script(Fault::access_denied().on("DescribeImageScanFindings"));

    let refused = gate.refusal("team/app:1").await;

    assert_eq!(refused.metadata["action"], "ecr:DescribeImageScanFindings");
    assert!(!format!("{refused:?}").contains("arn:aws:iam"));
}

#[tokio::test]
async fn a_passing_fault_is_retried_and_leaves_no_trace() {
    let gate = gate(clean()).start().await;
    for operation in ["DescribeImages", "DescribeImageScanFindings", "GetRegistryScanningConfiguration"] {
        gate.ecr.faults().script(Fault::Throttle429.on(operation).once());
    }

    assert_eq!(gate.decide("team/app:1").await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn the_callers_deadline_bounds_a_registry_that_hangs() {
    let gate = gate(clean()).start().await;
    gate.ecr.faults().script(Fault::Hang.on("DescribeImages"));
    let hurried = gate.client.with_call_timeout(Duration::from_millis(500));

    let outcome = hurried.evaluate(question("team/app:1")).await;

    assert!(matches!(outcome, Err(Error::DeadlineExceeded { .. })), "{outcome:?}");
}
