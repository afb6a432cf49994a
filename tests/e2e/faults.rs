//! Every fault of the simulator against every RPC: a documented error or verdict, never ALLOW and never a hang.

use std::time::Duration;

use scangate_client::{
    Code, Error,
    v1::{
        BatchEvaluateGateRequest, ConfigureScanningRequest, EvaluateGateRequest, GetFindingsRequest, RepositoryTarget,
        StartScanRequest, Verdict, WatchScanRequest, configure_scanning_request::Target,
    },
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, World, generate};

use crate::harness::{Gate, evaluate_request, gate, rejection};

/// Faults that the server recovers from or that do not affect the call: the correct response is possible.
const HARMLESS: [&str; 2] = ["delay", "limit_exceeded"];

/// Documented codes for a failing registry.
const DOCUMENTED_CODES: [Code; 4] =
    [Code::Unavailable, Code::FailedPrecondition, Code::NotFound, Code::DeadlineExceeded];

/// A single-platform image and an index, each with one critical finding among several pages.
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

/// The same images without findings: allowed only if the scan is read completely.
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

async fn gate_with_short_timeouts(world: World) -> Gate {
    gate(world).flag("--ecr-attempt-timeout", "400ms").flag("--ecr-timeout", "1500ms").start().await
}

fn fresh(image: &str) -> EvaluateGateRequest {
    EvaluateGateRequest { max_findings_age: Some(Default::default()), ..evaluate_request(image) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vulnerable_image_is_never_allowed_under_fault() {
    for (name, fault) in Fault::all() {
        let gate = gate_with_short_timeouts(vulnerable()).await;
        gate.ecr.faults().script(fault);
        for image in ["team/app:1", "team/multi:1"] {
            match gate.client.evaluate(fresh(image)).await {
                Ok(decision) => assert_ne!(decision.verdict(), Verdict::Allow, "{name} on {image}"),
                Err(error) => assert_documented_error(&error, name),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_image_needs_whole_scan_under_fault() {
    for (name, fault) in Fault::all() {
        // A new gate for each fault, with an empty cache.
        let gate = gate_with_short_timeouts(clean()).await;
        gate.ecr.faults().script(fault);
        for image in ["team/app:1", "team/multi:1"] {
            match gate.client.evaluate(fresh(image)).await {
                // If the fault leaves the response complete, the image is clean.
                Ok(decision) if decision.verdict() == Verdict::Allow => {
                    assert!(
                        leaves_clean_scan_complete(name, image),
                        "{name} on {image}: {:?}",
                        decision.into_message()
                    );
                }
                Ok(_) => {}
                Err(error) => assert_documented_error(&error, name),
            }
        }
    }
}

/// True if the fault has no effect on a response of one page without findings.
fn leaves_clean_scan_complete(name: &str, image: &str) -> bool {
    match name {
        "missing_page"
        | "duplicate_page"
        | "nan_score"
        | "unknown_severity"
        | "scan_changes_between_pages"
        | "per_page_facts" => true,
        // Only the manifest of an index is fetched.
        "corrupt_manifest" => image == "team/app:1",
        _ => HARMLESS.contains(&name),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_calls_return_documented_fault_codes() {
    let gate = gate_with_short_timeouts(vulnerable()).await;

    for (name, fault) in Fault::all() {
        gate.ecr.faults().clear();
        gate.ecr.faults().script(fault);
        let findings = GetFindingsRequest {
            image: "team/app:1".into(),
            max_findings_age: Some(Default::default()),
            ..Default::default()
        };
        check_outcome(gate.client.findings(findings).await, name);
        let start = StartScanRequest { image: "team/app:1".into(), platforms: Vec::new() };
        check_outcome(gate.client.start_scan(start).await, name);
        let target = RepositoryTarget { repository: "team/app".into(), scan_on_push: Some(true) };
        let configure = ConfigureScanningRequest { target: Some(Target::Repository(target)), validate_only: false };
        check_outcome(gate.client.configure_scanning(configure).await, name);
        let batch = BatchEvaluateGateRequest { requests: vec![fresh("team/app:1"), fresh("team/multi:1")] };
        let batch = gate.client.batch_evaluate(batch).await.unwrap();
        assert_ne!(batch.into_message().verdict(), Verdict::Allow, "{name}");
        let watch = WatchScanRequest { image: "team/app:1".into(), platforms: Vec::new() };
        if let Ok(mut watch) = gate.client.watch(watch).await {
            check_outcome(watch.next().await, name);
        }
    }
}

fn check_outcome<T>(outcome: Result<T, Error>, fault: &str) {
    if let Err(error) = outcome {
        assert_documented_error(&error, fault);
    }
}

#[track_caller]
fn assert_documented_error(error: &Error, fault: &str) {
    let refused = error.rejection().unwrap_or_else(|| panic!("{fault}: {error:?}"));
    assert!(DOCUMENTED_CODES.contains(&refused.code), "{fault}: {refused:?}");
    assert!(!refused.reason.is_empty(), "{fault}: {refused:?}");
    assert!(!refused.message.is_empty(), "{fault}: {refused:?}");
}

#[tokio::test]
async fn ecr_failure_maps_to_its_reason() {
    let gate = gate_with_short_timeouts(clean()).await;
    let cases = [
        ("throttle_400", Code::Unavailable, "ECR_THROTTLED"),
        ("throttle_429", Code::Unavailable, "ECR_THROTTLED"),
        ("throttle_429_empty", Code::Unavailable, "ECR_THROTTLED"),
        ("server_error_500", Code::Unavailable, "ECR_UNAVAILABLE"),
        ("service_unavailable_503", Code::Unavailable, "ECR_UNREACHABLE"),
        ("login_page_200", Code::Unavailable, "ECR_UNREACHABLE"),
        ("proxy_page_403", Code::Unavailable, "ECR_UNREACHABLE"),
        ("proxy_page_407", Code::Unavailable, "ECR_UNREACHABLE"),
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

        let refused = rejection(gate.client.evaluate(fresh("team/app:1")).await);

        assert_eq!((refused.code, refused.reason.as_str()), (code, reason), "{name}: {}", refused.message);
        assert_eq!(refused.retry_after.is_some(), code == Code::Unavailable, "{name}");
    }
}

#[tokio::test]
async fn iam_denial_names_action_but_no_principal() {
    let gate = gate_with_short_timeouts(clean()).await;
    gate.ecr.faults().script(Fault::access_denied().on("DescribeImageScanFindings"));

    let refused = gate.rejection("team/app:1").await;

    assert_eq!(refused.metadata["action"], "ecr:DescribeImageScanFindings");
    assert!(!format!("{refused:?}").contains("arn:aws:iam"));
}

#[tokio::test]
async fn transient_fault_is_retried() {
    let gate = gate(clean()).start().await;
    for operation in ["DescribeImages", "DescribeImageScanFindings", "GetRegistryScanningConfiguration"] {
        gate.ecr.faults().script(Fault::Throttle429.on(operation).once());
    }

    assert_eq!(gate.decide("team/app:1").await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn caller_deadline_bounds_hanging_registry() {
    let gate = gate(clean()).start().await;
    gate.ecr.faults().script(Fault::Hang.on("DescribeImages"));
    let client = gate.client.with_call_timeout(Duration::from_millis(500));

    let outcome = client.evaluate(evaluate_request("team/app:1")).await;

    assert!(matches!(outcome, Err(Error::DeadlineExceeded { .. })), "{outcome:?}");
}
