//! Faults: the effect of each fault in the catalogue, and the calls that a rule applies to.

use std::time::{Duration, Instant};

use scangate_ecr_simulator::{EnhancedFinding, Fault, ImageSpec, ScanScript, ScanningConfig, Simulator, generate};
use serde_json::{Value, json};

use crate::harness::{RawResponse, code, digest, ecr, start, tag, world};

/// Five findings, read in pages of two.
async fn simulator() -> Simulator {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(generate::basic(5, 1))));
    start(world).await.0
}

fn first_page_request() -> Value {
    json!({"repositoryName": "team/app", "imageId": {"imageTag": "1"}, "maxResults": 2})
}

async fn read(simulator: &Simulator) -> Option<RawResponse> {
    ecr(simulator, "DescribeImageScanFindings", &first_page_request()).await
}

async fn next(simulator: &Simulator, page: &Value) -> Value {
    let mut request = first_page_request();
    request["nextToken"] = page["nextToken"].clone();
    ecr(simulator, "DescribeImageScanFindings", &request).await.map(|response| response.json()).unwrap_or_default()
}

async fn pull(simulator: &Simulator) -> Value {
    let request = json!({"repositoryName": "team/app", "imageIds": [{"imageTag": "1"}]});
    ecr(simulator, "BatchGetImage", &request).await.map(|response| response.json()).unwrap_or_default()
}

fn names(page: &Value) -> Vec<&str> {
    let findings = page["imageScanFindings"]["findings"].as_array();
    findings.into_iter().flatten().filter_map(|finding| finding["name"].as_str()).collect()
}

#[tokio::test]
async fn every_fault_has_its_named_effect() {
    for (name, fault) in Fault::all() {
        let plain = read(&simulator().await).await.unwrap().json();
        let faulty = simulator().await;
        faulty.faults().script(fault.clone());

        let has_effect = if is_transport_fault(name) {
            transport_is_broken(name, &faulty).await
        } else if let Fault::Error { code, status, .. } = &fault {
            let response = read(&faulty).await.unwrap();
            response.status == *status
                && response.header("x-amzn-errortype") == Some(code)
                && response.json()["__type"] == **code
        } else {
            pages_are_wrong(name, &faulty, &plain).await || content_is_wrong(name, &faulty, &plain).await
        };

        assert!(has_effect, "{name}");
    }
}

fn is_transport_fault(name: &str) -> bool {
    let last = Fault::all().iter().position(|(known, _)| *known == "empty_object").unwrap_or_default();
    Fault::all().iter().take(last + 1).any(|(known, _)| *known == name)
}

async fn transport_is_broken(name: &str, simulator: &Simulator) -> bool {
    let began = Instant::now();
    // The plain client waits at most 0.7 s, so a late response looks like a missing one.
    let Some(response) = read(simulator).await else {
        let waited = began.elapsed() > Duration::from_millis(600);
        return match name {
            "hang" | "delay" => waited,
            "drop_connection" => !waited,
            // The body was announced in full; `read_to_end` alone does not detect a shorter one.
            _ => false,
        };
    };
    let announced = response.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let code = response.header("x-amzn-errortype");
    match name {
        "throttle_400" => (response.status, code) == (400, Some("ThrottlingException")),
        "throttle_429" => (response.status, code) == (429, Some("ThrottleException")),
        "throttle_429_empty" => (response.status, code, response.body.as_str()) == (429, None, ""),
        "server_error_500" => (response.status, code) == (500, Some("ServerException")),
        "service_unavailable_503" => response.status == 503 && response.body.starts_with("<html>"),
        "login_page_200" => response.status == 200 && code.is_none() && response.body.starts_with("<html>"),
        "proxy_page_403" => response.status == 403 && code.is_none() && response.body.starts_with("<html>"),
        "proxy_page_407" => response.status == 407 && code.is_none() && response.body.starts_with("<html>"),
        "cut_connection" => response.status == 200 && response.body.len() < announced,
        "truncate_body" => response.status == 200 && response.body.len() == announced && response.json().is_null(),
        "malformed_json" => response.status == 200 && response.json().is_null() && !response.body.is_empty(),
        "empty_body_200" => (response.status, response.body.as_str()) == (200, ""),
        "empty_object" => (response.status, response.body.as_str()) == (200, "{}"),
        _ => false,
    }
}

async fn pages_are_wrong(name: &str, simulator: &Simulator, plain: &Value) -> bool {
    let first = read(simulator).await.map(|response| response.json()).unwrap_or_default();
    let second = next(simulator, &first).await;
    let third = next(simulator, &second).await;
    let fourth = next(simulator, &third).await;
    match name {
        "repeat_page" => names(&second) == names(&first) && second["nextToken"] == first["nextToken"],
        "duplicate_page" => {
            names(&second) == names(&first) && second["nextToken"] != first["nextToken"] && names(&fourth).len() == 1
        }
        "missing_page" => names(&first) == names(plain) && names(&second).len() == 1 && second["nextToken"].is_null(),
        "token_loop" => names(&third).len() == 1 && names(&fourth) == names(&first),
        "per_page_facts" => {
            let total = |page: &Value| {
                let counts = page["imageScanFindings"]["findingSeverityCounts"].as_object();
                counts.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum::<u64>()
            };
            let completed = |page: &Value| page["imageScanFindings"]["imageScanCompletedAt"].clone();
            [total(&first), total(&second), total(&third)] == [2, 2, 1] && completed(&first) != completed(&third)
        }
        "scan_changes_between_pages" => {
            let completed = "/imageScanFindings/imageScanCompletedAt";
            let counts = "/imageScanFindings/findingSeverityCounts";
            first == *plain
                && second.pointer(completed) != first.pointer(completed)
                && second.pointer(counts) != first.pointer(counts)
        }
        _ => false,
    }
}

async fn content_is_wrong(name: &str, simulator: &Simulator, plain: &Value) -> bool {
    let response = read(simulator).await.map(|response| response.json()).unwrap_or_default();
    let pulled = pull(simulator).await;
    let counts = |response: &Value| response["imageScanFindings"]["findingSeverityCounts"].clone();
    let total = |response: &Value| -> i64 {
        counts(response).as_object().into_iter().flatten().filter_map(|(_, count)| count.as_i64()).sum()
    };
    let completed =
        |response: &Value| response["imageScanFindings"]["imageScanCompletedAt"].as_f64().unwrap_or_default();
    match name {
        "counts_disagree" => total(&response) < 5 && names(&response) == names(plain),
        "count_negative" => counts(&response).as_object().into_iter().flatten().any(|(_, count)| *count == -1),
        "drop_counts" => counts(&response).is_null() && !names(&response).is_empty(),
        "drop_findings_object" => response.get("imageScanFindings").is_none(),
        "drop_status" => response.get("imageScanStatus").is_none(),
        "unknown_status" => response["imageScanStatus"]["status"] == "IMAGE_SIZE_EXCEEDED",
        "unknown_severity" => !counts(&response)["SEVERE"].is_null() && total(&response) == 5,
        "wrong_digest" => response["imageId"]["imageDigest"] != plain["imageId"]["imageDigest"],
        "wrong_repository" => response["repositoryName"] != plain["repositoryName"],
        "wrong_registry" => response["registryId"] != plain["registryId"],
        "nan_score" => response["imageScanFindings"]["findings"][0].to_string().contains("\"NaN\""),
        "huge_timestamp" => completed(&response) > 1e299,
        "future_complete_time" => completed(&response) > completed(plain) + 86_400.0,
        "drop_field" => response["imageScanFindings"]["imageScanCompletedAt"].is_null(),
        "set_field" => response["imageScanStatus"]["status"] == "complete ",
        "partial_failure" => pulled["images"] == json!([]) && pulled["failures"][0]["failureCode"] == "ImageNotFound",
        "corrupt_manifest" => pulled["images"][0]["imageManifest"].as_str().is_some_and(|text| text.ends_with("}\n")),
        _ => false,
    }
}

#[tokio::test]
async fn fault_names_are_unique_and_round_trip() {
    let all = Fault::all();
    let mut names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();

    assert_eq!(names.len(), all.len());
    for (name, fault) in all {
        assert_eq!(Fault::named(name), Some(fault.clone()));
        let written = serde_json::to_value(&fault).unwrap();
        assert_eq!(serde_json::from_value::<Fault>(written).unwrap(), fault);
    }
}

#[tokio::test]
async fn rule_applies_after_skipped_calls_only() {
    let simulator = simulator().await;
    let rule = Fault::Throttle400.on("DescribeImageScanFindings").image("team/app", "1").skip(1).times(2);
    simulator.faults().script(rule);

    assert!(pull(&simulator).await["images"].is_array());
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(read(&simulator).await.unwrap().status);
    }

    assert_eq!(statuses, [200, 400, 400, 200]);
}

#[tokio::test]
async fn tag_rule_matches_calls_by_digest() {
    let mut world = world();
    let first = world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    let second = world.push(ImageSpec::single("team/app", "2").scan(ScanScript::clean()));
    let (simulator, client) = start(world).await;
    simulator.faults().script(Fault::access_denied().on("DescribeImageScanFindings").image("team/app", "1"));
    let read = |id| client.describe_image_scan_findings().repository_name("team/app").image_id(id).send();

    assert_eq!(code(read(digest(&first.digest)).await), "AccessDeniedException");
    assert_eq!(code(read(digest(&second.digest)).await), "no error");
    assert_eq!(code(read(tag("2")).await), "no error");
}

#[tokio::test]
async fn scan_changing_once_is_stable_on_second_read() {
    let simulator = simulator().await;
    simulator.faults().script(Fault::ScanChangesBetweenPages.on("DescribeImageScanFindings").once());
    let completed = |page: &Value| page["imageScanFindings"]["imageScanCompletedAt"].clone();

    let first = read(&simulator).await.unwrap().json();
    assert_ne!(completed(&next(&simulator, &first).await), completed(&first));
    let again = read(&simulator).await.unwrap().json();
    assert_eq!(completed(&next(&simulator, &again).await), completed(&again));
}

#[tokio::test]
async fn enhanced_nan_score_decodes_as_nan() {
    let mut world = world().with_scanning(ScanningConfig::enhanced());
    let found = [EnhancedFinding::new("CVE-1", "CRITICAL")];
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(found)));
    let (simulator, client) = start(world).await;
    simulator.faults().script(Fault::NanScore);

    let response =
        client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1")).send().await.unwrap();
    assert!(response.image_scan_findings.unwrap().enhanced_findings.unwrap()[0].score.is_nan());
}

#[tokio::test]
async fn empty_response_decodes_without_members() {
    let (simulator, client) = start(world()).await;
    simulator.faults().script(Fault::EmptyBody200);

    let response =
        client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1")).send().await.unwrap();
    assert!(response.image_scan_status.is_none() && response.image_scan_findings.is_none());
}
