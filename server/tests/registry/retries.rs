//! What is asked again, what is not, and what failures become.

use std::time::Duration;

use scangate_ecr_simulator::{Fault, ScanScript};
use scangate_server::registry::{Error, Freshness, Registry, ecr::Config};

use crate::support::{IMAGE, basic, ecr, ecr_with, enhanced, reference};

const READS: [&str; 4] = [
    "DescribeImages",
    "DescribeImageScanFindings",
    "GetRegistryScanningConfiguration",
    "BatchGetRepositoryScanningConfiguration",
];

type Precondition = fn(&Error) -> bool;

#[tokio::test]
async fn what_passes_by_is_asked_again() {
    let faults = [
        Fault::Throttle400,
        Fault::Throttle429,
        Fault::Throttle429Empty,
        Fault::ServerError500,
        Fault::ServiceUnavailable503,
        Fault::DropConnection,
        Fault::CutConnection,
        Fault::TruncateBody,
        Fault::MalformedJson,
    ];
    for fault in faults {
        for operation in READS {
            let bench = ecr(basic(ScanScript::clean())).await;
            bench.simulator.faults().script(fault.clone().on(operation).once());

            let read = bench.scan(IMAGE).await;

            assert!(read.is_ok(), "{fault:?} on {operation}: {read:?}");
            assert_eq!(bench.calls(operation), 2, "{fault:?} on {operation}");
        }
    }
}

#[tokio::test]
async fn every_throttling_code_is_asked_again() {
    let codes = [
        "ThrottlingException",
        "ThrottleException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
    ];
    for code in codes {
        let bench = ecr(basic(ScanScript::clean())).await;
        bench.simulator.faults().script(Fault::error(code, "slow down").on("DescribeImages").once());

        let resolved = bench.resolve(IMAGE).await;

        assert!(resolved.is_ok(), "{code}: {resolved:?}");
    }
}

#[tokio::test]
async fn what_does_not_pass_by_ends_after_four_calls() {
    let throttled: Precondition =
        |error| matches!(error, Error::Throttled { retry_after, .. } if !retry_after.is_zero());
    let unavailable: Precondition = |error| matches!(error, Error::Unavailable { .. });
    let cases = [
        (Fault::Throttle400, throttled),
        (Fault::Throttle429, throttled),
        (Fault::Throttle429Empty, throttled),
        (Fault::ServerError500, unavailable),
        (Fault::ServiceUnavailable503, unavailable),
        (Fault::CutConnection, unavailable),
    ];
    for (fault, expected) in cases {
        let bench = ecr(basic(ScanScript::clean())).await;
        bench.simulator.faults().script(fault.clone().on("DescribeImages"));

        let error = bench.resolve(IMAGE).await.unwrap_err();

        assert!(expected(&error), "{fault:?}: {error:?}");
        assert_eq!(bench.calls("DescribeImages"), 4, "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_asked_for_once_more() {
    for fault in [Fault::TruncateBody, Fault::MalformedJson] {
        let bench = ecr(basic(ScanScript::clean())).await;
        bench.simulator.faults().script(fault.clone().on("DescribeImageScanFindings"));

        let error = bench.scan(IMAGE).await.unwrap_err();

        assert!(matches!(error, Error::MalformedResponse { .. }), "{fault:?}: {error:?}");
        assert_eq!(bench.calls("DescribeImageScanFindings"), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn refusals_are_not_asked_again_and_keep_their_meaning() {
    let denied: Precondition =
        |error| matches!(error, Error::AccessDenied { action, .. } if action == "ecr:DescribeImageScanFindings");
    let inspector: Precondition =
        |error| matches!(error, Error::AccessDenied { action, .. } if action == "inspector2:ListFindings");
    let credentials: Precondition = |error| matches!(error, Error::Credentials(_));
    let rejected: Precondition = |error| matches!(error, Error::Rejected { .. });
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
        let bench = ecr(basic(ScanScript::clean())).await;
        bench.simulator.faults().script(fault.clone().on("DescribeImageScanFindings"));

        let error = bench.scan(IMAGE).await.unwrap_err();

        assert!(expected(&error), "{fault:?}: {error:?}");
        assert_eq!(bench.calls("DescribeImageScanFindings"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_inspector_names_inspectors_action() {
    let bench = ecr(enhanced(ScanScript::clean())).await;
    bench.simulator.faults().script(Fault::error("AccessDeniedException", "no").on("ListCoverage"));

    let error = bench.scan(IMAGE).await.unwrap_err();

    assert!(matches!(&error, Error::AccessDenied { action, .. } if action == "inspector2:ListCoverage"), "{error:?}");
}

#[tokio::test]
async fn what_aws_says_is_cut_to_one_line_of_300_characters() {
    let told = format!("{}\u{7}\u{1b}[31m\nx-amz-security-token: secret", "é".repeat(400));
    for code in ["InvalidParameterException", "InvalidSignatureException"] {
        let bench = ecr(basic(ScanScript::clean())).await;
        bench.simulator.faults().script(Fault::error(code, &told).on("DescribeImages"));

        let error = bench.resolve(IMAGE).await.unwrap_err();

        let text = format!("{error} {error:?}");
        assert!(!text.contains("secret") && !text.contains('\u{1b}'), "{text}");
        assert!(text.matches('é').count() <= 600, "{text}");
    }
}

#[tokio::test]
async fn a_call_that_hangs_ends_within_the_budget() {
    let budget = Duration::from_millis(300);
    let short = |config| Config { operation_timeout: budget, ..config };
    for operation in READS {
        let bench = ecr_with(basic(ScanScript::clean()), short).await;
        bench.simulator.faults().script(Fault::Hang.on(operation));

        let ended = tokio::time::timeout(budget * 20, bench.scan(IMAGE)).await.unwrap();

        assert!(matches!(ended, Err(Error::Unavailable { .. })), "{operation}: {ended:?}");
    }
}

#[tokio::test]
async fn an_attempt_that_hangs_is_given_up_for_another() {
    let short = |config| Config { attempt_timeout: Duration::from_millis(200), ..config };
    let bench = ecr_with(basic(ScanScript::clean()), short).await;
    bench.simulator.faults().script(Fault::Hang.on("DescribeImages").once());

    let resolved = bench.resolve(IMAGE).await;

    assert!(resolved.is_ok(), "{resolved:?}");
    assert_eq!(bench.calls("DescribeImages"), 2);
}

#[tokio::test]
async fn an_ecr_that_cannot_be_reached_is_unavailable() {
    let bench = ecr(basic(ScanScript::clean())).await;
    let registry = bench.registry;
    bench.simulator.stop().await;

    let error = registry.resolve(&reference(IMAGE), Freshness::default()).await.unwrap_err();

    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}
