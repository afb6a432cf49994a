//! Scans: start, progress, end, and the limits on starting one.

use std::time::Duration;

use aws_sdk_ecr::types::ScanStatus;
use scangate_ecr_simulator::{
    Child, Findings, ImageSpec, ScanFrequency, ScanScript, ScanType, ScanningConfig, Simulator, generate,
};
use serde_json::{Value, json};

use crate::harness::{code, digest, ecr, start, tag, world};

async fn read(simulator: &Simulator) -> Value {
    let request = json!({"repositoryName": "team/app", "imageId": {"imageTag": "1"}});
    ecr(simulator, "DescribeImageScanFindings", &request).await.map(|response| response.json()).unwrap_or_default()
}

#[tokio::test]
async fn basic_scan_appears_runs_and_completes() {
    let mut world = world();
    let script = ScanScript::clean().begins_after(Duration::from_mins(1)).takes(Duration::from_secs(90));
    world.push(ImageSpec::single("team/app", "1").scan(script));
    let (simulator, _client) = start(world).await;

    assert_eq!(read(&simulator).await["__type"], "ScanNotFoundException");
    simulator.clock().advance(Duration::from_mins(1));
    assert_eq!(read(&simulator).await["imageScanStatus"], json!({"status": "IN_PROGRESS"}));
    simulator.clock().advance(Duration::from_secs(90));
    assert_eq!(read(&simulator).await["imageScanStatus"]["status"], "COMPLETE");
}

#[tokio::test]
async fn enhanced_scan_completes_before_findings_appear() {
    let mut world = world().with_scanning(
        ScanningConfig { scan_type: ScanType::Enhanced, rules: vec![] }.rule(ScanFrequency::OnPush, &["*"]),
    );
    let script = ScanScript::running_for(Duration::from_secs(30), generate::enhanced(2, 1));
    world.push(ImageSpec::single("team/app", "1").scan(script.premature_for(Duration::from_secs(10))));
    let (simulator, _client) = start(world).await;

    let pending = read(&simulator).await;
    assert_eq!(pending["imageScanStatus"]["status"], "PENDING");
    assert_eq!(pending["imageScanFindings"], json!({"findings": [], "enhancedFindings": []}));
    simulator.clock().advance(Duration::from_secs(30));
    let premature = read(&simulator).await;
    assert_eq!(premature["imageScanStatus"]["status"], "COMPLETE");
    assert_eq!(premature["imageScanFindings"], json!({"findings": []}));
    simulator.clock().advance(Duration::from_secs(10));
    let settled = read(&simulator).await;
    assert_eq!(settled["imageScanStatus"]["status"], "COMPLETE");
    assert_eq!(settled["imageScanFindings"]["enhancedFindings"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn unsuccessful_scan_reports_its_status() {
    for (script, status) in [
        (ScanScript::failed(), "FAILED"),
        (ScanScript::unsupported(), "UNSUPPORTED_IMAGE"),
        (ScanScript::eligibility_expired(), "SCAN_ELIGIBILITY_EXPIRED"),
        (ScanScript::findings_unavailable(), "FINDINGS_UNAVAILABLE"),
        (ScanScript::limit_exceeded(), "LIMIT_EXCEEDED"),
        (ScanScript::image_size_exceeded(), "IMAGE_SIZE_EXCEEDED"),
        (ScanScript::status("SOMETHING_NEW"), "SOMETHING_NEW"),
        (ScanScript::running(), "IN_PROGRESS"),
    ] {
        let mut world = world();
        world.push(ImageSpec::single("team/app", "1").scan(script));
        let (simulator, _client) = start(world).await;

        let response = read(&simulator).await;

        assert_eq!(response["imageScanStatus"]["status"], status);
        if status == "FAILED" {
            let text = "UnsupportedImageError: The operating system and/or package manager are not supported.";
            assert_eq!(response["imageScanStatus"]["description"], text);
        }
    }
}

#[tokio::test]
async fn requested_scan_is_limited_to_once_a_day() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::on_request(generate::basic(3, 1))));
    let (simulator, client) = start(world).await;
    let begin = || client.start_image_scan().repository_name("team/app").image_id(tag("1"));

    let started = begin().send().await.unwrap();
    assert_eq!(started.image_scan_status.unwrap().status, Some(ScanStatus::InProgress));
    assert_eq!(code(begin().send().await), "LimitExceededException");
    simulator.clock().advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(read(&simulator).await["imageScanFindings"]["findings"].as_array().unwrap().len(), 3);
    assert_eq!(code(begin().send().await), "LimitExceededException");
    simulator.clock().advance(Duration::from_secs(1));
    assert_eq!(code(begin().send().await), "no error");
}

#[tokio::test]
async fn scan_on_push_counts_towards_daily_limit() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    let (_simulator, client) = start(world).await;

    let begin = client.start_image_scan().repository_name("team/app").image_id(tag("1"));
    assert_eq!(code(begin.send().await), "LimitExceededException");
}

#[tokio::test]
async fn unscannable_image_returns_reason() {
    let mut world = world();
    world.push(ImageSpec::index("team/app", "index").platform("linux/amd64", ScanScript::clean()));
    world.push(ImageSpec::cosign_signature("team/app", "signature"));
    world.push(ImageSpec::helm_chart("team/app", "chart"));
    world.push(ImageSpec::single("team/app", "archived").archived());
    world.push(ImageSpec::single("team/app", "plain"));
    let (simulator, client) = start(world).await;
    let begin = |name| client.start_image_scan().repository_name("team/app").image_id(tag(name)).send();

    assert_eq!(code(begin("index").await), "UnsupportedImageTypeException");
    assert_eq!(code(begin("signature").await), "UnsupportedImageTypeException");
    assert_eq!(code(begin("chart").await), "UnsupportedImageTypeException");
    assert_eq!(code(begin("archived").await), "ImageArchivedException");
    simulator.world(|world| world.set_scanning(ScanningConfig::enhanced()));
    let refused = begin("plain").await.unwrap_err().into_service_error();
    assert!(refused.is_validation_exception());
    assert_eq!(refused.meta().message(), Some("This feature is disabled"));
}

#[tokio::test]
async fn index_has_no_scan_but_children_have() {
    let mut world = world();
    let index = world.push(
        ImageSpec::index("team/app", "1")
            .platform("linux/amd64", ScanScript::clean())
            .child(Child::absent("linux/s390x"))
            .attestation(),
    );
    let (_simulator, client) = start(world).await;
    let read = |id| client.describe_image_scan_findings().repository_name("team/app").image_id(id).send();

    assert_eq!(code(read(tag("1")).await), "ScanNotFoundException");
    assert_eq!(code(read(digest(index.child("linux/amd64").unwrap())).await), "no error");
    assert_eq!(code(read(digest(index.child("linux/s390x").unwrap())).await), "ImageNotFoundException");
    assert_eq!(code(read(digest(index.child("unknown/unknown").unwrap())).await), "ScanNotFoundException");
}

#[tokio::test]
async fn switched_scan_type_hides_scans_until_restored() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    let (simulator, _client) = start(world).await;

    simulator.world(|world| world.set_scanning(ScanningConfig::enhanced()));
    assert_eq!(read(&simulator).await["__type"], "ScanNotFoundException");
    simulator.world(|world| world.set_scanning(ScanningConfig::default()));
    assert_eq!(read(&simulator).await["imageScanStatus"]["status"], "COMPLETE");
}

#[tokio::test]
async fn unmatched_filter_hides_enhanced_findings() {
    let mut world = world().with_scanning(ScanningConfig::enhanced());
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    world.set_scanning(ScanningConfig::enhanced().rule(ScanFrequency::Continuous, &["prod*"]));
    let (simulator, _client) = start(world).await;

    assert_eq!(read(&simulator).await["__type"], "ScanNotFoundException");
}

#[tokio::test]
async fn rescan_replaces_scan_script() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::running()));
    let (simulator, _client) = start(world).await;

    simulator.world(|world| world.rescan("team/app", "1", ScanScript::complete(Findings::Clean))).unwrap();

    assert_eq!(read(&simulator).await["imageScanStatus"]["status"], "COMPLETE");
    assert!(simulator.world(|world| world.rescan("team/app", "9", ScanScript::never())).is_err());
}

#[tokio::test]
async fn start_image_scan_returns_recorded_members() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1"));
    let (simulator, _client) = start(world).await;

    let request = json!({"repositoryName": "team/app", "imageId": {"imageTag": "1"}});
    let response = ecr(&simulator, "StartImageScan", &request).await.unwrap().json();

    let recording: Value = serde_json::from_str(include_str!("../../seed/basic-start-image-scan.json")).unwrap();
    let recorded = recording["data"].as_object().unwrap();
    for member in recorded.keys().filter(|member| *member != "ResponseMetadata") {
        assert!(response.get(member).is_some(), "{member}");
    }
    assert_eq!(response["imageScanStatus"], recorded["imageScanStatus"]);
}
