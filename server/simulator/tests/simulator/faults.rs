//! Every fault of the catalogue does what its name says, and rules strike when they should.

use std::time::{Duration, Instant};

use scangate_ecr_simulator::{EnhancedFinding, Fault, ImageSpec, ScanScript, ScanningConfig, Simulator, generate};
use serde_json::{Value, json};

use crate::harness::{Raw, code, digest, ecr, start, tag, world};

/// Five findings, read in pages of two.
async fn simulator() -> Simulator {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(generate::basic(5, 1))));
    start(world).await.0
}

fn asked() -> Value {
    json!({"repositoryName": "team/app", "imageId": {"imageTag": "1"}, "maxResults": 2})
}

async fn read(simulator: &Simulator) -> Option<Raw> {
    ecr(simulator, "DescribeImageScanFindings", &asked()).await
}

async fn next(simulator: &Simulator, page: &Value) -> Value {
    let mut asked = asked();
    asked["nextToken"] = page["nextToken"].clone();
    ecr(simulator, "DescribeImageScanFindings", &asked).await.map(|answer| answer.json()).unwrap_or_default()
}

async fn pull(simulator: &Simulator) -> Value {
    let asked = json!({"repositoryName": "team/app", "imageIds": [{"imageTag": "1"}]});
    ecr(simulator, "BatchGetImage", &asked).await.map(|answer| answer.json()).unwrap_or_default()
}

fn names(page: &Value) -> Vec<&str> {
    let findings = page["imageScanFindings"]["findings"].as_array();
    findings.into_iter().flatten().filter_map(|finding| finding["name"].as_str()).collect()
}

#[tokio::test]
async fn every_fault_does_what_its_name_says() {
    for (name, fault) in Fault::all() {
        let plain = read(&simulator().await).await.unwrap().json();
        let faulty = simulator().await;
        faulty.faults().script(fault.clone());

        let done = if in_transport(name) {
            breaks_transport(name, &faulty).await
        } else if let Fault::Error { code, status, .. } = &fault {
            let answer = read(&faulty).await.unwrap();
            answer.status == *status
                && answer.header("x-amzn-errortype") == Some(code)
                && answer.json()["__type"] == **code
        } else {
            spoils_pages(name, &faulty, &plain).await || spoils_content(name, &faulty, &plain).await
        };

        assert!(done, "{name}");
    }
}

fn in_transport(name: &str) -> bool {
    let last = Fault::all().iter().position(|(known, _)| *known == "empty_object").unwrap_or_default();
    Fault::all().iter().take(last + 1).any(|(known, _)| *known == name)
}

async fn breaks_transport(name: &str, simulator: &Simulator) -> bool {
    let began = Instant::now();
    // The bare client waits 0.7 s at most: a late answer, and none, both look like none.
    let Some(answer) = read(simulator).await else {
        let waited = began.elapsed() > Duration::from_millis(600);
        return match name {
            "hang" | "delay" => waited,
            "drop_connection" => !waited,
            // The whole length was promised; `read_to_end` alone does not mind that less came.
            _ => false,
        };
    };
    let promised = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let code = answer.header("x-amzn-errortype");
    match name {
        "throttle_400" => (answer.status, code) == (400, Some("ThrottlingException")),
        "throttle_429" => (answer.status, code) == (429, Some("ThrottleException")),
        "throttle_429_empty" => (answer.status, code, answer.body.as_str()) == (429, None, ""),
        "server_error_500" => (answer.status, code) == (500, Some("ServerException")),
        "service_unavailable_503" => answer.status == 503 && answer.body.starts_with("<html>"),
        "cut_connection" => answer.status == 200 && answer.body.len() < promised,
        "truncate_body" => answer.status == 200 && answer.body.len() == promised && answer.json().is_null(),
        "malformed_json" => answer.status == 200 && answer.json().is_null() && !answer.body.is_empty(),
        "empty_body_200" => (answer.status, answer.body.as_str()) == (200, ""),
        "empty_object" => (answer.status, answer.body.as_str()) == (200, "{}"),
        _ => false,
    }
}

async fn spoils_pages(name: &str, simulator: &Simulator, plain: &Value) -> bool {
    let first = read(simulator).await.map(|answer| answer.json()).unwrap_or_default();
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

async fn spoils_content(name: &str, simulator: &Simulator, plain: &Value) -> bool {
    let answer = read(simulator).await.map(|answer| answer.json()).unwrap_or_default();
    let pulled = pull(simulator).await;
    let counts = |answer: &Value| answer["imageScanFindings"]["findingSeverityCounts"].clone();
    let total = |answer: &Value| -> i64 {
        counts(answer).as_object().into_iter().flatten().filter_map(|(_, count)| count.as_i64()).sum()
    };
    let completed = |answer: &Value| answer["imageScanFindings"]["imageScanCompletedAt"].as_f64().unwrap_or_default();
    match name {
        "counts_disagree" => total(&answer) < 5 && names(&answer) == names(plain),
        "count_negative" => counts(&answer).as_object().into_iter().flatten().any(|(_, count)| *count == -1),
        "drop_counts" => counts(&answer).is_null() && !names(&answer).is_empty(),
        "drop_findings_object" => answer.get("imageScanFindings").is_none(),
        "drop_status" => answer.get("imageScanStatus").is_none(),
        "unknown_status" => answer["imageScanStatus"]["status"] == "IMAGE_SIZE_EXCEEDED",
        "unknown_severity" => !counts(&answer)["SEVERE"].is_null() && total(&answer) == 5,
        "wrong_digest" => answer["imageId"]["imageDigest"] != plain["imageId"]["imageDigest"],
        "wrong_repository" => answer["repositoryName"] != plain["repositoryName"],
        "wrong_registry" => answer["registryId"] != plain["registryId"],
        "nan_score" => answer["imageScanFindings"]["findings"][0].to_string().contains("\"NaN\""),
        "huge_timestamp" => completed(&answer) > 1e299,
        "future_completed_at" => completed(&answer) > completed(plain) + 86_400.0,
        "drop_field" => answer["imageScanFindings"]["imageScanCompletedAt"].is_null(),
        "set_field" => answer["imageScanStatus"]["status"] == "complete ",
        "partial_failure" => pulled["images"] == json!([]) && pulled["failures"][0]["failureCode"] == "ImageNotFound",
        "corrupt_manifest" => pulled["images"][0]["imageManifest"].as_str().is_some_and(|text| text.ends_with("}\n")),
        _ => false,
    }
}

#[tokio::test]
async fn catalogue_names_are_unique_and_read_back() {
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
async fn a_rule_strikes_the_calls_it_is_for() {
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
async fn a_rule_for_a_tag_also_strikes_calls_by_digest() {
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
async fn a_scan_that_changes_once_settles_for_the_second_reading() {
    let simulator = simulator().await;
    simulator.faults().script(Fault::ScanChangesBetweenPages.on("DescribeImageScanFindings").once());
    let completed = |page: &Value| page["imageScanFindings"]["imageScanCompletedAt"].clone();

    let first = read(&simulator).await.unwrap().json();
    assert_ne!(completed(&next(&simulator, &first).await), completed(&first));
    let again = read(&simulator).await.unwrap().json();
    assert_eq!(completed(&next(&simulator, &again).await), completed(&again));
}

#[tokio::test]
async fn an_enhanced_nan_score_decodes_as_one() {
    let mut world = world().with_scanning(ScanningConfig::enhanced());
    let found = [EnhancedFinding::new("CVE-1", "CRITICAL")];
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(found)));
    let (simulator, client) = start(world).await;
    simulator.faults().script(Fault::NanScore);

    let answer =
        client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1")).send().await.unwrap();
    assert!(answer.image_scan_findings.unwrap().enhanced_findings.unwrap()[0].score.is_nan());
}

#[tokio::test]
async fn an_empty_answer_decodes_as_one_without_members() {
    let (simulator, client) = start(world()).await;
    simulator.faults().script(Fault::EmptyBody200);

    let answer =
        client.describe_image_scan_findings().repository_name("team/app").image_id(tag("1")).send().await.unwrap();
    assert!(answer.image_scan_status.is_none() && answer.image_scan_findings.is_none());
}
