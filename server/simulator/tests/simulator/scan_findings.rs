//! Reads of scan status and findings.

use std::time::Duration;

use aws_sdk_ecr::types::{FindingSeverity, ScanStatus};
use scangate_ecr_simulator::{BasicFinding, EnhancedFinding, ImageSpec, ScanScript, ScanningConfig, generate, seed};
use serde_json::json;

use crate::harness::{code, digest, ecr, start, tag, world};

#[tokio::test]
async fn paging_returns_all_recorded_findings() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(seed::debian10_257())));
    let (_simulator, client) = start(world).await;

    let mut names = Vec::new();
    let mut token = None;
    let mut pages = 0;
    loop {
        let request = client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1"));
        let page = request.max_results(50).set_next_token(token).send().await.unwrap();
        let found = page.image_scan_findings.unwrap();
        assert_eq!(found.finding_severity_counts.unwrap()[&FindingSeverity::Informational], 183);
        names.extend(found.findings.unwrap().into_iter().map(|finding| finding.name.unwrap()));
        pages += 1;
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }

    assert_eq!((names.len(), pages), (257, 6));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 253);
}

#[tokio::test]
async fn clean_basic_scan_has_empty_counts_and_times() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    let (_simulator, client) = start(world).await;

    let response =
        client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1")).send().await.unwrap();

    assert_eq!(response.image_scan_status.unwrap().status, Some(ScanStatus::Complete));
    let found = response.image_scan_findings.unwrap();
    assert_eq!(found.finding_severity_counts, Some(std::collections::HashMap::new()));
    assert_eq!(found.findings, Some(vec![]));
    let noon = "2026-03-01T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(found.image_scan_completed_at.unwrap().secs(), noon - 3600);
    assert_eq!(found.vulnerability_source_updated_at.unwrap().secs(), noon - 25 * 3600);
}

#[tokio::test]
async fn enhanced_page_is_capped_at_page_limit() {
    let mut world = world().with_scanning(ScanningConfig::enhanced());
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(generate::enhanced(10_000, 3))));
    let (_simulator, client) = start(world).await;

    let mut read = 0;
    let mut token = None;
    loop {
        let request = client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1"));
        let page = request.max_results(1000).set_next_token(token).send().await.unwrap();
        assert_eq!(page.image_scan_status.unwrap().status, Some(ScanStatus::Active));
        let findings = page.image_scan_findings.unwrap().enhanced_findings.unwrap();
        assert_eq!(findings.len(), 100);
        read += findings.len();
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }

    assert_eq!(read, 10_000);
}

#[tokio::test]
async fn enhanced_finding_names_requested_image() {
    let mut world = world().with_scanning(ScanningConfig::enhanced());
    let image = world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(seed::untriaged())));
    let (_simulator, client) = start(world).await;

    let request = client.describe_image_scan_findings().repository_name("team/app");
    let response = request.image_id(digest(&image.digest)).send().await.unwrap();

    let id = response.image_id.unwrap();
    assert_eq!((id.image_digest.as_deref(), id.image_tag), (Some(image.digest.as_str()), None));
    let findings = response.image_scan_findings.unwrap().enhanced_findings.unwrap();
    let untriaged = findings.iter().find(|finding| finding.severity.as_deref() == Some("UNTRIAGED")).unwrap();
    assert!(untriaged.score.abs() < f64::EPSILON);
    assert!(untriaged.score_details.is_none());
    let details = untriaged.resources.as_ref().unwrap()[0].details.as_ref().unwrap();
    let about = details.aws_ecr_container_image.as_ref().unwrap();
    assert_eq!(about.image_hash.as_deref(), Some(image.digest.as_str()));
    assert_eq!(about.registry.as_deref(), Some("123456789012"));
    assert_eq!(about.platform.as_deref(), Some("DEBIAN_12"));
}

#[tokio::test]
async fn clean_enhanced_scan_has_only_empty_list() {
    let mut world = world().with_scanning(ScanningConfig::enhanced());
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    let (simulator, _client) = start(world).await;

    let request = json!({"repositoryName": "team/app", "imageId": {"imageTag": "1"}});
    let response = ecr(&simulator, "DescribeImageScanFindings", &request).await.unwrap().json();

    assert_eq!(response["imageScanFindings"], json!({"findings": []}));
    assert_eq!(response["imageScanStatus"]["status"], "ACTIVE");
}

#[tokio::test]
async fn every_recording_is_readable() {
    assert_eq!(seed::debian10_257().len(), 257);
    assert_eq!(seed::basic_three().len(), 3);
    assert_eq!(seed::untriaged().len(), 2);
    assert_eq!(seed::centos8().len(), 1);
    assert_eq!(seed::inspector_one().len(), 1);

    let mut world = world().with_scanning(ScanningConfig::enhanced());
    let recorded = [seed::untriaged(), seed::centos8(), seed::inspector_one()].concat();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(recorded)));
    let (_simulator, client) = start(world).await;

    let response =
        client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1")).send().await.unwrap();
    assert_eq!(response.image_scan_findings.unwrap().enhanced_findings.unwrap().len(), 4);
}

#[tokio::test]
async fn malformed_request_is_invalid_parameter() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    let (simulator, _client) = start(world).await;
    let image = json!({"imageTag": "1"});

    for request in [
        json!({"repositoryName": "team/app"}),
        json!({"repositoryName": "team/app", "imageId": {}}),
        json!({"imageId": image}),
        json!({"repositoryName": "Team/App", "imageId": image}),
        json!({"repositoryName": "team//app", "imageId": image}),
        json!({"repositoryName": "team/app", "imageId": image, "maxResults": 0}),
        json!({"repositoryName": "team/app", "imageId": image, "maxResults": 1001}),
        json!({"repositoryName": "team/app", "imageId": image, "nextToken": "made up"}),
        json!({"repositoryName": "team/app", "imageId": image, "registryId": "12"}),
    ] {
        let response = ecr(&simulator, "DescribeImageScanFindings", &request).await.unwrap();
        assert_eq!(response.status, 400, "{request}");
        assert_eq!(response.header("x-amzn-errortype"), Some("InvalidParameterException"), "{request}");
        assert_eq!(response.json()["__type"], "InvalidParameterException", "{request}");
        assert!(response.header("x-amzn-requestid").is_some());
        assert_eq!(response.header("x-scangate-simulator"), Some("simulated"));
    }
}

#[tokio::test]
async fn missing_resource_returns_its_own_code() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1"));
    let (_simulator, client) = start(world).await;
    let read = || client.describe_image_scan_findings();

    assert_eq!(
        code(read().repository_name("team/none").image_id(tag("1")).send().await),
        "RepositoryNotFoundException"
    );
    assert_eq!(code(read().repository_name("team/app").image_id(tag("2")).send().await), "ImageNotFoundException");
    assert_eq!(code(read().repository_name("team/app").image_id(tag("1")).send().await), "ScanNotFoundException");
    let other = read().registry_id("210987654321").repository_name("team/app").image_id(tag("1"));
    assert_eq!(code(other.send().await), "RepositoryNotFoundException");
}

#[tokio::test]
async fn foreign_enhanced_scan_is_not_found() {
    let mut world = world().with_scanning(ScanningConfig::enhanced());
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    let (_simulator, client) = start(world).await;

    let read = client.describe_image_scan_findings().registry_id("210987654321");
    assert_eq!(code(read.repository_name("team/app").image_id(tag("1")).send().await), "ScanNotFoundException");
}

#[tokio::test]
async fn built_findings_have_their_attributes() {
    let basic = BasicFinding::new("CVE-1", "HIGH").package("openssl", "1.1").fixed_version("1.2").score("7.5");
    let enhanced = EnhancedFinding::new("CVE-2", "HIGH")
        .package("curl", "7")
        .fixed_version("8")
        .score(7.2)
        .exploit_available()
        .suppressed();

    assert_eq!(basic.body()["attributes"][1], json!({"key": "package_name", "value": "openssl"}));
    assert_eq!(enhanced.body()["packageVulnerabilityDetails"]["vulnerablePackages"][0]["fixedInVersion"], "8");
    assert_eq!(enhanced.body()["fixAvailable"], "YES");
    assert_eq!(enhanced.body()["status"], "SUPPRESSED");
}

#[tokio::test]
async fn same_seed_generates_same_findings() {
    assert_eq!(generate::basic(50, 9), generate::basic(50, 9));
    assert_ne!(generate::enhanced(50, 9), generate::enhanced(50, 10));
    assert!(generate::basic_of(&["LOW"], 20, 1).iter().all(|finding| finding.body()["severity"] == "LOW"));
}

#[tokio::test]
async fn large_scan_is_read_within_time_limit() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(generate::basic(10_000, 1))));
    let (_simulator, client) = start(world).await;

    let first = client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1")).max_results(1000);
    let page = tokio::time::timeout(Duration::from_secs(10), first.send()).await.unwrap().unwrap();
    assert_eq!(page.image_scan_findings.unwrap().findings.unwrap().len(), 1000);
}
