//! The simulator as a server: listening, call log and shutdown; and the demo worlds.

use std::time::{Duration, Instant};

use aws_sdk_ecr::types::ScanStatus;
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, Simulator, StartError, World};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{code, ecr, start, tag, world};

#[tokio::test]
async fn non_loopback_listener_is_refused() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();

    assert!(matches!(Simulator::start(listener, World::new()), Err(StartError::NotLoopback(_))));
}

#[tokio::test]
async fn call_log_records_operation_and_image() {
    let mut world = world();
    let image = world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    let (simulator, client) = start(world).await;
    let read = || client.describe_image_scan_findings().repository_name("team/app");

    read().image_id(tag("1")).send().await.unwrap();
    read().image_id(crate::harness::digest(&image.digest)).send().await.unwrap();
    code(client.describe_images().repository_name("none").send().await);

    let calls = simulator.calls();
    assert_eq!(calls.total(), 3);
    assert_eq!(calls.count("DescribeImageScanFindings"), 2);
    assert_eq!(calls.count_for("DescribeImageScanFindings", &image.digest), 1);
    assert_eq!(calls.all()[2].repository.as_deref(), Some("none"));
    calls.clear();
    assert_eq!(calls.total(), 0);
}

#[tokio::test]
async fn stop_with_hanging_request_frees_port() {
    let (simulator, client) = start(world()).await;
    simulator.faults().script(Fault::Hang);
    let addr = simulator.addr();
    let hanging = tokio::spawn(async move { client.describe_repositories().send().await });
    while simulator.calls().total() == 0 {
        tokio::task::yield_now().await;
    }

    let began = Instant::now();
    simulator.stop().await;

    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(hanging.await.unwrap().is_err());
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn dropped_simulator_frees_port() {
    let (simulator, _client) = start(world()).await;
    let addr = simulator.addr();

    drop(simulator);

    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn demo_world_has_every_scan_state() {
    let (simulator, client) = start(world().demo_basic()).await;
    let read = |repository, name| client.describe_image_scan_findings().repository_name(repository).image_id(tag(name));
    let status = |repository, name| {
        let request = read(repository, name);
        async move { request.send().await.unwrap().image_scan_status.unwrap().status.unwrap() }
    };

    let web = read("shop/web", "1.4.2").send().await.unwrap().image_scan_findings.unwrap();
    assert_eq!(web.finding_severity_counts.unwrap().values().sum::<i32>(), 257);
    let api = read("shop/api", "2.0.0").send().await.unwrap().image_scan_findings.unwrap();
    assert_eq!(api.finding_severity_counts.unwrap().len(), 0);
    assert_eq!(code(read("shop/worker", "3.1.0").send().await), "ScanNotFoundException");
    assert_eq!(code(read("shop/gateway", "1.1.0").send().await), "ScanNotFoundException");
    assert_eq!(code(read("shop/search", "5.0.0").send().await), "ScanNotFoundException");
    assert_eq!(status("shop/legacy", "0.1.0").await, ScanStatus::Failed);
    assert_eq!(status("shop/tiny", "1.0.0").await, ScanStatus::UnsupportedImage);
    assert_eq!(status("shop/attic", "2019").await, ScanStatus::ImageArchived);
    assert_eq!(status("shop/cart", "0.9.0").await, ScanStatus::InProgress);
    simulator.clock().advance(Duration::from_mins(2));
    assert_eq!(status("shop/cart", "0.9.0").await, ScanStatus::Complete);
}

#[tokio::test]
async fn demo_world_digests_are_stable() {
    let digest = |world: &World, repository, name| world.image(repository, name).unwrap().digest().to_owned();
    let demo = world().demo_basic();

    assert_eq!(
        digest(&demo, "shop/web", "1.4.2"),
        "sha256:45646976505a058f7242eaa9e811e295069b3dc4738699f9999c5a0dc4250659"
    );
    assert_eq!(digest(&demo, "shop/worker", "3.1.0"), digest(&World::demo(), "shop/worker", "3.1.0"));
}

#[tokio::test]
async fn enhanced_demo_has_findings_and_coverage() {
    let (simulator, client) = start(world().demo_continuous()).await;
    let read =
        |name, version| client.describe_image_scan_findings().repository_name(name).image_id(tag(version)).send();

    let report = read("shop/report", "4.2.0").await.unwrap().image_scan_findings.unwrap();
    assert_eq!(report.enhanced_findings.unwrap().len(), 2);
    let vintage = read("shop/vintage", "0.3.0").await.unwrap().image_scan_status.unwrap();
    assert_eq!(vintage.status, Some(ScanStatus::ScanEligibilityExpired));
    let covered =
        crate::harness::inspector(&simulator).list_coverage().send().await.unwrap().covered_resources.unwrap();
    assert!(covered.iter().any(|row| row.resource_id.contains("/shop/api/")));
    assert!(!covered.iter().any(|row| row.resource_id.contains("/shop/ghost/")));
}

#[tokio::test]
async fn response_carries_simulated_header() {
    let (simulator, _client) = start(world()).await;

    let response = ecr(&simulator, "DescribeRegistry", &json!({})).await.unwrap();

    assert_eq!(response.header("x-scangate-simulator"), Some("simulated"));
    assert_eq!(response.header("content-type"), Some("application/x-amz-json-1.1"));
}
