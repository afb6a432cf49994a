//! The `/_simulator` endpoints, called over HTTP as from another language.

use scangate_ecr_simulator::Simulator;
use serde_json::{Value, json};

use crate::harness::{ecr, http, start, world};

async fn admin(simulator: &Simulator, method: &str, path: &str, body: Value) -> (u16, Value) {
    let response = http(simulator, method, &format!("/_simulator{path}"), "", &body.to_string()).await;
    response.map(|response| (response.status, response.json())).unwrap_or_default()
}

async fn read(simulator: &Simulator, image: &str) -> Value {
    let request = json!({"repositoryName": "team/app", "imageId": {"imageTag": image}});
    ecr(simulator, "DescribeImageScanFindings", &request).await.map(|response| response.json()).unwrap_or_default()
}

#[tokio::test]
async fn posted_image_is_pushed_and_rescanned() {
    let (simulator, _client) = start(world()).await;

    let index = json!({
        "repository": "team/app", "tag": "index", "attestation": true,
        "platforms": [
            {"platform": "linux/amd64"},
            {"platform": "linux/arm64", "scan": {"findings": [{"name": "CVE-1", "severity": "CRITICAL"}]}},
        ],
    });
    let (_, pushed) = admin(&simulator, "POST", "/images", index).await;
    assert_eq!(pushed["children"].as_array().unwrap().len(), 3);
    let single = json!({"repository": "team/app", "tag": "1", "scan": {"running_seconds": 60, "generate": 5}});
    assert_eq!(admin(&simulator, "POST", "/images", single).await.0, 200);
    assert_eq!(read(&simulator, "1").await["imageScanStatus"]["status"], "IN_PROGRESS");
    assert_eq!(admin(&simulator, "POST", "/clock/advance", json!({"seconds": 60})).await.0, 200);
    assert_eq!(read(&simulator, "1").await["imageScanFindings"]["findings"].as_array().unwrap().len(), 5);

    let failed = json!({"repository": "team/app", "image": "1", "status": "FAILED", "description": "Why."});
    assert_eq!(admin(&simulator, "POST", "/images/scan-script", failed).await.0, 200);
    assert_eq!(read(&simulator, "1").await["imageScanStatus"], json!({"status": "FAILED", "description": "Why."}));
    let (_, listed) = admin(&simulator, "GET", "/images", json!({})).await;
    assert_eq!(listed["images"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn posted_faults_apply_until_cleared() {
    let (simulator, _client) = start(world()).await;
    let registry = || async { ecr(&simulator, "DescribeRegistry", &json!({})).await.unwrap().status };

    let rules = json!([
        {"fault": "throttle_429", "operation": "DescribeRegistry", "times": 1},
        {"fault": {"error": {"code": "OddException", "message": "odd", "status": 418}}, "skip": 1, "times": 1},
    ]);
    assert_eq!(admin(&simulator, "POST", "/faults", rules).await.0, 200);

    assert_eq!([registry().await, registry().await, registry().await], [429, 418, 200]);
    assert_eq!(admin(&simulator, "POST", "/faults", json!({"fault": "hang"})).await.0, 200);
    assert_eq!(admin(&simulator, "DELETE", "/faults", json!({})).await.0, 200);
    assert_eq!(registry().await, 200);
    assert_eq!(admin(&simulator, "POST", "/faults", json!({"fault": "no such fault"})).await.0, 400);
}

#[tokio::test]
async fn call_log_omits_admin_requests() {
    let (simulator, _client) = start(world()).await;

    read(&simulator, "1").await;

    let (_, log) = admin(&simulator, "GET", "/calls", json!({})).await;
    assert_eq!(log["total"], 1);
    assert_eq!(log["calls"][0]["operation"], "DescribeImageScanFindings");
    assert_eq!(log["calls"][0]["image"], "1");
    assert_eq!(admin(&simulator, "DELETE", "/calls", json!({})).await.0, 200);
    assert_eq!(simulator.calls().total(), 0);
}

#[tokio::test]
async fn invalid_admin_request_returns_error() {
    let (simulator, _client) = start(world()).await;

    assert_eq!(admin(&simulator, "GET", "/nowhere", json!({})).await.0, 404);
    assert_eq!(admin(&simulator, "POST", "/clock/advance", json!({"seconds": -1})).await.0, 400);
    let (status, response) =
        admin(&simulator, "POST", "/images/scan-script", json!({"repository": "team/app", "image": "9"})).await;
    assert_eq!((status, response["error"].as_str()), (404, Some("no image 9 in repository team/app")));
}
