//! Inspector: coverage and findings.

use aws_sdk_inspector2::types::{
    CoverageFilterCriteria, CoverageStringComparison, CoverageStringFilter, FilterCriteria, NumberFilter,
    ScanStatusCode, ScanStatusReason, StringComparison, StringFilter,
};
use scangate_ecr_simulator::{
    Coverage, EnhancedFinding, ImageSpec, RescanDurations, ScanScript, ScanningConfig, World, generate,
};

use crate::harness::{inspector, start, world};

fn enhanced() -> World {
    world().with_scanning(ScanningConfig::enhanced())
}

fn covers(repository: &str) -> CoverageFilterCriteria {
    let named = CoverageStringFilter::builder().comparison(CoverageStringComparison::Equals).value(repository);
    CoverageFilterCriteria::builder().set_ecr_repository_name(named.build().ok().map(|named| vec![named])).build()
}

#[tokio::test]
async fn coverage_lists_scanned_clean_image() {
    let mut world = enhanced();
    let image = world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    world.push(ImageSpec::single("team/other", "1").scan(ScanScript::clean()));
    let (simulator, _client) = start(world).await;

    let response = inspector(&simulator).list_coverage().filter_criteria(covers("team/app")).send().await.unwrap();

    let covered = response.covered_resources.unwrap();
    assert_eq!(covered.len(), 1);
    assert!(covered[0].resource_id.ends_with(&format!("repository/team/app/{}", image.digest)));
    let status = covered[0].scan_status.as_ref().unwrap();
    assert_eq!((&status.status_code, &status.reason), (&ScanStatusCode::Active, &ScanStatusReason::Successful));
    let noon = "2026-03-01T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(covered[0].last_scanned_at.unwrap().secs(), noon - 3600);
}

#[tokio::test]
async fn rescan_durations_are_as_scripted() {
    let durations = RescanDurations { since_push: "DAYS_14".into(), ..RescanDurations::default() };
    let (simulator, _client) = start(enhanced().with_rescan_durations(durations)).await;

    let response = inspector(&simulator).get_configuration().send().await.unwrap();

    let state = response.ecr_configuration.unwrap().rescan_duration_state.unwrap();
    assert_eq!(state.rescan_duration.unwrap().as_str(), "DAYS_14");
    assert_eq!(state.pull_date_rescan_duration.unwrap().as_str(), "DAYS_14");
    assert_eq!(state.pull_date_rescan_mode.unwrap().as_str(), "LAST_IN_USE_AT");
    assert_eq!(state.status.unwrap().as_str(), "SUCCESS");
}

#[tokio::test]
async fn scripted_coverage_overrides_scan() {
    let mut world = enhanced();
    world.push(ImageSpec::single("team/absent", "1").scan(ScanScript::clean().uncovered()));
    let denied = Coverage::Explicit { code: "INACTIVE".into(), reason: "ACCESS_DENIED".into(), scanned_ago: None };
    world.push(ImageSpec::single("team/denied", "1").scan(ScanScript::never().coverage(denied)));
    world.push(ImageSpec::single("team/expired", "1").scan(ScanScript::eligibility_expired()));
    let (simulator, _client) = start(world).await;
    let client = inspector(&simulator);
    let reason = |repository: &'static str| {
        let request = client.list_coverage().filter_criteria(covers(repository));
        async move {
            let covered = request.send().await.unwrap().covered_resources.unwrap();
            covered.first().map(|row| row.scan_status.as_ref().unwrap().reason.clone())
        }
    };

    assert_eq!(reason("team/absent").await, None);
    assert_eq!(reason("team/denied").await, Some(ScanStatusReason::AccessDenied));
    assert_eq!(reason("team/expired").await, Some(ScanStatusReason::ScanEligibilityExpired));
}

#[tokio::test]
async fn listed_findings_have_epss_and_are_filtered() {
    let mut world = enhanced();
    let found = [
        EnhancedFinding::new("CVE-1", "CRITICAL").epss(0.9).last_known_exploit_at(1_700_000_000),
        EnhancedFinding::new("CVE-2", "LOW").epss(0.1),
    ];
    let image = world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(found)));
    world.push(ImageSpec::single("team/other", "1").scan(ScanScript::complete(generate::enhanced(150, 1))));
    let (simulator, _client) = start(world).await;
    let client = inspector(&simulator);
    let of_image = StringFilter::builder().comparison(StringComparison::Equals).value(&image.digest).build().unwrap();

    let probable = NumberFilter::builder().lower_inclusive(0.5).build();
    let criteria = FilterCriteria::builder().ecr_image_hash(of_image).epss_score(probable).build();
    let likely = client.list_findings().filter_criteria(criteria).send().await.unwrap().findings.unwrap();
    let all = client.list_findings().into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();

    assert_eq!(likely.len(), 1);
    assert!((likely[0].epss.as_ref().unwrap().score - 0.9).abs() < 1e-9);
    assert_eq!(likely[0].inspector_score, Some(9.8));
    assert!(likely[0].exploitability_details.as_ref().unwrap().last_known_exploit_at.is_some());
    assert_eq!(all.len(), 152);
}

#[tokio::test]
async fn unsupported_criterion_is_refused() {
    let (simulator, _client) = start(enhanced_with_one_image()).await;
    let named = CoverageStringFilter::builder().comparison(CoverageStringComparison::Equals).value("f");
    let criteria = CoverageFilterCriteria::builder().lambda_function_name(named.build().unwrap()).build();

    let refused = inspector(&simulator).list_coverage().filter_criteria(criteria).send().await.unwrap_err();
    assert!(refused.into_service_error().is_validation_exception());
}

fn enhanced_with_one_image() -> World {
    let mut world = enhanced();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    world
}
