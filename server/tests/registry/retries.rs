//! Retries, and the errors that remain.

use std::time::Duration;

use scangate_ecr_simulator::{Fault, ScanScript};
use scangate_server::registry::{Error, Freshness, Registry, ecr::Config};

use serde_json::json;

use crate::support::{IMAGE, basic, ecr, ecr_with, enhanced, reference};

const READS: [&str; 4] = [
    "DescribeImages",
    "DescribeImageScanFindings",
    "GetRegistryScanningConfiguration",
    "BatchGetRepositoryScanningConfiguration",
];

type ErrorCheck = fn(&Error) -> bool;

#[tokio::test]
async fn transient_failure_is_retried() {
    let faults = [
        Fault::Throttle400,
        Fault::Throttle429,
        Fault::Throttle429Empty,
        Fault::ServerError500,
        Fault::ServiceUnavailable503,
        Fault::Html(200),
        Fault::Html(403),
        Fault::DropConnection,
        Fault::CutConnection,
        Fault::TruncateBody,
        Fault::MalformedJson,
    ];
    for fault in faults {
        for operation in READS {
            let harness = ecr(basic(ScanScript::clean())).await;
            harness.simulator.faults().script(fault.clone().on(operation).once());

            let read = harness.scan(IMAGE).await;

            assert!(read.is_ok(), "{fault:?} on {operation}: {read:?}");
            assert_eq!(harness.calls(operation), 2, "{fault:?} on {operation}");
        }
    }
}

#[tokio::test]
async fn every_throttling_code_is_retried() {
    let codes = [
        "ThrottlingException",
        "ThrottleException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
    ];
    for code in codes {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(Fault::error(code, "slow down").on("DescribeImages").once());

        let resolved = harness.resolve(IMAGE).await;

        assert!(resolved.is_ok(), "{code}: {resolved:?}");
    }
}

#[tokio::test]
async fn permanent_failure_ends_after_all_attempts() {
    let throttled: ErrorCheck = |error| matches!(error, Error::Throttled { retry_after, .. } if !retry_after.is_zero());
    let unavailable: ErrorCheck = |error| matches!(error, Error::Unavailable { .. });
    let cases = [
        (Fault::Throttle400, throttled),
        (Fault::Throttle429, throttled),
        (Fault::Throttle429Empty, throttled),
        (Fault::ServerError500, unavailable),
        (Fault::CutConnection, unavailable),
    ];
    for (fault, expected) in cases {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(fault.clone().on("DescribeImages"));

        let error = harness.resolve(IMAGE).await.unwrap_err();

        assert!(expected(&error), "{fault:?}: {error:?}");
        assert_eq!(harness.calls("DescribeImages"), 4, "{fault:?}");
    }
}

#[tokio::test]
async fn answer_of_proxy_is_unreachable() {
    let operations = READS.into_iter().chain(["ListCoverage"]);
    for operation in operations {
        for status in [200, 302, 400, 403, 404, 407, 429, 502, 503] {
            let harness = ecr(enhanced(ScanScript::clean())).await;
            harness.simulator.faults().script(Fault::Html(status).on(operation));

            let error = harness.scan(IMAGE).await.unwrap_err();

            assert!(
                matches!(error, Error::Unreachable { status: seen, .. } if seen == status),
                "{status} on {operation}: {error:?}"
            );
            assert_eq!(harness.calls(operation), 4, "{status} on {operation}");
        }
    }
}

#[tokio::test]
async fn error_without_code_is_unreachable() {
    for body in [json!({}), json!({"message": "Forbidden"}), json!({"code": 403})] {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(Fault::Raw { status: 403, body: body.to_string() }.on("DescribeImages"));

        let error = harness.resolve(IMAGE).await.unwrap_err();

        assert!(matches!(error, Error::Unreachable { status: 403, .. }), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn unreadable_response_is_retried_once() {
    for fault in [Fault::TruncateBody, Fault::MalformedJson] {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(fault.clone().on("DescribeImageScanFindings"));

        let error = harness.scan(IMAGE).await.unwrap_err();

        assert!(matches!(error, Error::MalformedResponse { .. }), "{fault:?}: {error:?}");
        assert_eq!(harness.calls("DescribeImageScanFindings"), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn refusals_are_not_retried() {
    let denied: ErrorCheck =
        |error| matches!(error, Error::AccessDenied { action, .. } if action == "ecr:DescribeImageScanFindings");
    let inspector: ErrorCheck =
        |error| matches!(error, Error::AccessDenied { action, .. } if action == "inspector2:ListFindings");
    let credentials: ErrorCheck = |error| matches!(error, Error::Credentials(_));
    let rejected: ErrorCheck = |error| matches!(error, Error::Rejected { .. });
    let cases = [
        (Fault::access_denied(), denied),
        (Fault::inspector_not_authorized(), inspector),
        (Fault::error("ExpiredTokenException", "expired"), credentials),
        (Fault::error("UnrecognizedClientException", "who?"), credentials),
        (Fault::error("InvalidSignatureException", "no"), credentials),
        (Fault::error("InvalidParameterException", "no"), rejected),
        (Fault::error("ValidationException", "no"), rejected),
        (Fault::error("SomethingNewException", "no"), rejected),
        (Fault::error("ImageNotFoundException", "no"), |error| matches!(error, Error::ImageNotFound { .. })),
        (Fault::error("RepositoryNotFoundException", "no"), |error| matches!(error, Error::RepositoryNotFound(_))),
    ];
    for (fault, expected) in cases {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(fault.clone().on("DescribeImageScanFindings"));

        let error = harness.scan(IMAGE).await.unwrap_err();

        assert!(expected(&error), "{fault:?}: {error:?}");
        assert_eq!(harness.calls("DescribeImageScanFindings"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn inspector_refusal_names_its_action() {
    let harness = ecr(enhanced(ScanScript::clean())).await;
    harness.simulator.faults().script(Fault::error("AccessDeniedException", "no").on("ListCoverage"));

    let error = harness.scan(IMAGE).await.unwrap_err();

    assert!(matches!(&error, Error::AccessDenied { action, .. } if action == "inspector2:ListCoverage"), "{error:?}");
}

#[tokio::test]
async fn aws_message_is_cut_to_one_short_line() {
    let message = format!("{}\u{7}\u{1b}[31m\nx-amz-security-token: secret", "é".repeat(400));
    for code in ["InvalidParameterException", "InvalidSignatureException"] {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(Fault::error(code, &message).on("DescribeImages"));

        let error = harness.resolve(IMAGE).await.unwrap_err();

        let text = format!("{error} {error:?}");
        assert!(!text.contains("secret") && !text.contains('\u{1b}'), "{text}");
        assert!(text.matches('é').count() <= 600, "{text}");
    }
}

#[tokio::test]
async fn hanging_call_ends_within_budget() {
    let budget = Duration::from_millis(300);
    let short = |config| Config { operation_timeout: budget, ..config };
    for operation in READS {
        let harness = ecr_with(basic(ScanScript::clean()), short).await;
        harness.simulator.faults().script(Fault::Hang.on(operation));

        let ended = tokio::time::timeout(budget * 20, harness.scan(IMAGE)).await.unwrap();

        assert!(matches!(ended, Err(Error::Unavailable { .. })), "{operation}: {ended:?}");
    }
}

#[tokio::test]
async fn hanging_attempt_is_replaced() {
    let short = |config| Config { attempt_timeout: Duration::from_millis(200), ..config };
    let harness = ecr_with(basic(ScanScript::clean()), short).await;
    harness.simulator.faults().script(Fault::Hang.on("DescribeImages").once());

    let resolved = harness.resolve(IMAGE).await;

    assert!(resolved.is_ok(), "{resolved:?}");
    assert_eq!(harness.calls("DescribeImages"), 2);
}

#[tokio::test]
async fn unreachable_ecr_is_unavailable() {
    let harness = ecr(basic(ScanScript::clean())).await;
    let registry = harness.registry;
    harness.simulator.stop().await;

    let error = registry.resolve(&reference(IMAGE), &[], Freshness::default()).await.unwrap_err();

    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}
