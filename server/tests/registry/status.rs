//! The status and configuration of a scan.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    evidence::{Evidence, Limits},
    scan::{Frequency, ScanType, Status},
};
use scangate_ecr_simulator::{
    Coverage, Fault, ImageSpec, ScanFrequency, ScanScript, ScanType as Simulated, ScanningConfig, World, generate,
};

use crate::support::{APP, IMAGE, basic, ecr, enhanced};

#[tokio::test]
async fn every_status_of_ecr_is_parsed() {
    let cases = [
        (basic(ScanScript::never()), Status::NotFound),
        (basic(ScanScript::running()), Status::InProgress),
        (enhanced(ScanScript::running()), Status::Pending),
        (basic(ScanScript::clean()), Status::Complete),
        (enhanced(ScanScript::clean()), Status::Active),
        (basic(ScanScript::failed()), Status::Failed),
        (enhanced(ScanScript::unsupported()), Status::UnsupportedImage),
        (enhanced(ScanScript::eligibility_expired()), Status::ScanEligibilityExpired),
        (enhanced(ScanScript::findings_unavailable()), Status::FindingsUnavailable),
        (enhanced(ScanScript::limit_exceeded()), Status::LimitExceeded),
        (enhanced(ScanScript::image_size_exceeded()), Status::ImageSizeExceeded),
        (basic(ScanScript::status("IMAGE_ARCHIVED")), Status::ImageArchived),
        (basic(ScanScript::status("complete ")), Status::Unrecognised("complete ".to_owned())),
        (basic(ScanScript::status("SOMETHING_NEW")), Status::Unrecognised("SOMETHING_NEW".to_owned())),
    ];
    for (world, status) in cases {
        let read = ecr(world).await.read().await;

        assert_eq!(read.scan.status, status);
        assert_eq!(read.scan.flaws, []);
    }
}

#[tokio::test]
async fn running_scan_has_no_report() {
    for world in [basic(ScanScript::running()), enhanced(ScanScript::running())] {
        let read = ecr(world).await.read().await;

        assert_eq!(read.scan.report, None);
        assert_eq!(read.assessment().evidence, Evidence::ScanPending);
    }
}

#[tokio::test]
async fn expired_scan_without_time_fails_age_limits() {
    let hour = Some(SignedDuration::from_hours(1));
    let limits =
        [Limits { max_scan_age: hour, ..Limits::default() }, Limits { max_source_age: hour, ..Limits::default() }];
    for findings in
        [serde_json::Value::Null, serde_json::json!({ "enhancedFindings": [], "findingSeverityCounts": {} })]
    {
        let harness = ecr(enhanced(ScanScript::eligibility_expired())).await;
        let replaced = Fault::SetField { pointer: "/imageScanFindings".into(), value: findings };
        harness.simulator.faults().script(replaced.on("DescribeImageScanFindings"));

        let read = harness.read().await;

        assert_eq!(read.scan.status, Status::ScanEligibilityExpired);
        for limits in limits {
            let shortfalls = read.assessment().shortfalls(limits, Timestamp::now());
            let found: Vec<Evidence> = shortfalls.iter().map(|shortfall| shortfall.evidence).collect();
            assert_eq!(found, [Evidence::EligibilityExpired, Evidence::Stale]);
        }
    }
}

#[tokio::test]
async fn missing_status_is_unrecognised() {
    let harness = ecr(basic(ScanScript::clean())).await;
    harness.simulator.faults().script(Fault::DropStatus);

    let read = harness.read().await;

    assert_eq!(read.scan.status, Status::Unrecognised(String::new()));
    assert_eq!(read.assessment().evidence, Evidence::UnknownStatus);
}

#[tokio::test]
async fn errors_that_state_facts_are_readings() {
    let cases = [
        ("ScanNotFoundException", Status::NotFound),
        ("UnsupportedImageTypeException", Status::UnsupportedImage),
        ("ImageArchivedException", Status::ImageArchived),
    ];
    for (code, status) in cases {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(Fault::error(code, "because").on("DescribeImageScanFindings"));

        let read = harness.read().await;

        assert_eq!(read.scan.status, status);
        assert_eq!(read.scan.description.as_deref(), Some("because"));
        assert_eq!(read.scan.report, None);
    }
}

#[tokio::test]
async fn failed_scan_has_ecr_description() {
    let read = ecr(basic(ScanScript::failed())).await.read().await;

    let description = read.scan.description.as_deref().unwrap();
    assert!(description.starts_with("UnsupportedImageError"), "{description}");
}

#[tokio::test]
async fn failed_scan_may_have_null_findings() {
    let harness = ecr(basic(ScanScript::failed())).await;
    let null = Fault::SetField { pointer: "/imageScanFindings".into(), value: serde_json::Value::Null };
    harness.simulator.faults().script(null.on("DescribeImageScanFindings"));

    let read = harness.read().await;

    let assessment = read.assessment();
    assert_eq!((assessment.evidence, read.scan.flaws.as_slice()), (Evidence::ScanFailed, [].as_slice()));
    assert!(assessment.detail.contains("UnsupportedImageError"), "{assessment:?}");
}

#[tokio::test]
async fn clean_basic_scan_without_counts_is_incomplete() {
    let harness = ecr(basic(ScanScript::clean())).await;
    harness.simulator.faults().script(Fault::DropCounts);

    let read = harness.read().await;

    let assessment = read.assessment();
    assert_eq!((read.report().counts.as_ref(), assessment.evidence), (None, Evidence::Incomplete));
    assert!(assessment.detail.contains("findingSeverityCounts"), "{assessment:?}");
}

#[tokio::test]
async fn scan_names_effective_scanning() {
    let rules = |scan_type| ScanningConfig { scan_type, rules: Vec::new() };
    let cases = [
        (rules(Simulated::Basic), ScanType::Basic, Frequency::Manual),
        (rules(Simulated::Basic).rule(ScanFrequency::OnPush, &["team/*"]), ScanType::Basic, Frequency::ScanOnPush),
        (rules(Simulated::Enhanced), ScanType::Enhanced, Frequency::ContinuousScan),
        (rules(Simulated::Enhanced).rule(ScanFrequency::OnPush, &["*"]), ScanType::Enhanced, Frequency::ScanOnPush),
        (rules(Simulated::Enhanced).rule(ScanFrequency::Continuous, &["other"]), ScanType::Enhanced, Frequency::Manual),
    ];
    for (scanning, scan_type, frequency) in cases {
        let mut world = World::new().with_scanning(scanning);
        world.push(ImageSpec::single(APP, "1").scan(ScanScript::clean()));

        let read = ecr(world).await.read().await;

        assert_eq!((read.scan.scan_type, read.scan.frequency), (scan_type, frequency));
    }
}

#[tokio::test]
async fn unknown_or_missing_frequency_is_unrecognised() {
    let path = "/scanningConfigurations/0/scanFrequency";
    let faults =
        [Fault::SetField { pointer: path.to_owned(), value: "HOURLY".into() }, Fault::DropField(path.to_owned())];
    for fault in faults {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(fault.on("BatchGetRepositoryScanningConfiguration"));

        let read = harness.read().await;

        assert_eq!(read.scan.frequency, Frequency::Unrecognised);
        assert_eq!(read.assessment().evidence, Evidence::NotCovered);
    }
}

#[tokio::test]
async fn clean_basic_scan_is_proven_by_itself() {
    let harness = ecr(basic(ScanScript::clean())).await;

    let read = harness.read().await;

    assert_eq!(read.report().findings.as_deref(), Some([].as_slice()));
    assert_eq!(read.assessment().evidence, Evidence::Proven);
    assert_eq!(harness.calls("ListCoverage"), 0);
}

#[tokio::test]
async fn clean_enhanced_scan_is_proven_by_coverage() {
    let harness = ecr(enhanced(ScanScript::clean())).await;

    let read = harness.read().await;

    let coverage = read.scan.coverage.as_ref().unwrap();
    assert!(coverage.active);
    assert_eq!(coverage.reason, "SUCCESSFUL");
    assert_eq!(read.assessment().evidence, Evidence::Proven);
    assert_eq!(harness.calls("ListCoverage"), 1);
}

#[tokio::test]
async fn clean_enhanced_scan_without_coverage_is_unproven() {
    let says = |code: &str, reason: &str| {
        let (code, reason) = (code.to_owned(), reason.to_owned());
        ScanScript::clean().coverage(Coverage::Explicit { code, reason, scanned_ago: Some(Duration::from_hours(1)) })
    };
    let cases = [
        ScanScript::clean().uncovered(),
        says("INACTIVE", "SCAN_ELIGIBILITY_EXPIRED"),
        says("SOMETHING", "SUCCESSFUL"),
    ];
    for script in cases {
        let mut world = World::enhanced();
        world.push(ImageSpec::single(APP, "1").scan(script).pushed_ago(Duration::from_hours(5)));

        let read = ecr(world).await.read().await;

        assert_eq!(read.assessment().evidence, Evidence::UnprovenClean, "{:?}", read.scan.coverage);
    }
}

#[tokio::test]
async fn coverage_is_read_as_inspector_states_it() {
    let hour = Duration::from_hours(1);
    let cases = [
        ("ACTIVE", "SUCCESSFUL", Some(hour)),
        ("ACTIVE", "SCAN_FREQUENCY_SCAN_ON_PUSH", Some(hour)),
        ("INACTIVE", "SCAN_FREQUENCY_SCAN_ON_PUSH", Some(hour)),
        ("ACTIVE", "SCAN_IN_PROGRESS", Some(hour)),
        ("ACTIVE", "PENDING_INITIAL_SCAN", None),
        ("INACTIVE", "PENDING_REVIVAL_SCAN", Some(hour)),
        ("INACTIVE", "UNSUPPORTED_OS", None),
        ("INACTIVE", "IMAGE_SIZE_EXCEEDED", None),
    ];
    for (code, reason, scanned_ago) in cases {
        let row = Coverage::Explicit { code: code.to_owned(), reason: reason.to_owned(), scanned_ago };

        let read = ecr(enhanced(ScanScript::clean().coverage(row))).await.read().await;

        let coverage = read.scan.coverage.as_ref().unwrap();
        assert_eq!((coverage.active, coverage.reason.as_str()), (code == "ACTIVE", reason));
        assert_eq!(coverage.last_scan_time.is_some(), scanned_ago.is_some(), "{code} {reason}");
        let unsupported = ["UNSUPPORTED_OS", "IMAGE_SIZE_EXCEEDED"].contains(&reason);
        let assessment = read.assessment();
        assert!(!unsupported || assessment.detail.contains(reason), "{assessment:?}");
        assert!(!unsupported || assessment.evidence == Evidence::UnprovenClean, "{assessment:?}");
        let pending = ["SCAN_IN_PROGRESS", "PENDING_INITIAL_SCAN", "PENDING_REVIVAL_SCAN"].contains(&reason);
        assert_eq!(assessment.evidence == Evidence::ScanPending, pending, "{assessment:?}");
    }
}

#[tokio::test]
async fn image_is_found_in_coverage_of_repository() {
    let harness = ecr(enhanced(ScanScript::clean())).await;
    // The first request selects by ARN, in a form that the simulator is made to ignore.
    harness.simulator.faults().script(Fault::DropField("/coveredResources/0".into()).on("ListCoverage").once());

    let read = harness.read().await;

    assert_eq!(read.assessment().evidence, Evidence::Proven);
    assert_eq!(harness.calls("ListCoverage"), 2);
}

#[tokio::test]
async fn premature_enhanced_scan_proves_nothing() {
    let on_push = ScanningConfig { scan_type: Simulated::Enhanced, rules: Vec::new() };
    let mut world = World::new().with_scanning(on_push.rule(ScanFrequency::OnPush, &["*"]));
    let script = ScanScript::complete(generate::enhanced(3, 1)).begins_after(Duration::ZERO).takes(Duration::ZERO);
    world.push(ImageSpec::single(APP, "1").scan(script.premature_for(Duration::from_hours(1))));

    let read = ecr(world).await.scan(IMAGE).await.unwrap();

    assert_eq!(read.scan.status, Status::Complete);
    assert_eq!(read.assessment().evidence, Evidence::ScanPending);
}

#[tokio::test]
async fn findings_need_no_coverage() {
    let harness = ecr(enhanced(ScanScript::complete(generate::enhanced(3, 1)))).await;

    let read = harness.read().await;

    assert_eq!(read.assessment().evidence, Evidence::Proven);
    assert_eq!(read.scan.coverage, None);
    assert_eq!(harness.calls("ListCoverage"), 0);
}
