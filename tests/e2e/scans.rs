//! Starting and watching scans.

use std::time::Duration;

use scangate_client::v1::{ScanStatus, StartScanOutcome, StartScanRequest, WatchScanRequest};
use scangate_ecr_simulator::{ImageSpec, ScanScript, World, generate};

use crate::harness::{Gate, gate};

fn start(image: &str) -> StartScanRequest {
    StartScanRequest { image: image.to_owned(), platforms: Vec::new() }
}

async fn outcomes(gate: &Gate, image: &str) -> Vec<StartScanOutcome> {
    let started = gate.client.start_scan(start(image)).await.unwrap();
    started.scans.iter().map(scangate_client::v1::StartedScan::outcome).collect()
}

fn world() -> World {
    let mut world = World::new();
    let slow = || ScanScript::on_request(generate::basic(5, 1)).takes(Duration::from_hours(1));
    world.push(ImageSpec::single("team/new", "1").scan(slow()));
    world.push(ImageSpec::single("team/old", "1").scan(ScanScript::clean()));
    world.push(
        ImageSpec::index("team/multi", "1")
            .platform("linux/amd64", slow())
            .platform("linux/arm64", slow())
            .attestation(),
    );
    world
}

#[tokio::test]
async fn starting_is_idempotent_and_covers_every_platform() {
    let gate = gate(world()).start().await;

    assert_eq!(outcomes(&gate, "team/new:1").await, [StartScanOutcome::Started]);
    assert_eq!(outcomes(&gate, "team/new:1").await, [StartScanOutcome::AlreadyInProgress]);
    assert_eq!(outcomes(&gate, "team/multi:1").await, [StartScanOutcome::Started; 2]);
}

#[tokio::test]
async fn the_limit_of_24_hours_is_an_answer_that_says_when_the_next_scan_is_possible() {
    let gate = gate(world()).start().await;

    let started = gate.client.start_scan(start("team/old:1")).await.unwrap();

    let scan = &started.scans[0];
    assert_eq!(scan.outcome(), StartScanOutcome::AlreadyScanned);
    assert!(scan.next_scan_possible_at.is_some());
    assert!(gate.ecr.calls().count("StartImageScan") <= 1);
}

#[tokio::test]
async fn enhanced_scanning_cannot_be_started_by_anybody() {
    let gate = gate(World::demo_enhanced()).start().await;

    assert_eq!(outcomes(&gate, "shop/api:2.0.0").await, [StartScanOutcome::ManagedContinuously]);
}

#[tokio::test]
async fn an_artifact_cannot_be_scanned() {
    let mut world = World::new();
    world.push(ImageSpec::helm_chart("team/chart", "1"));
    let gate = gate(world).start().await;

    assert_eq!(outcomes(&gate, "team/chart:1").await, [StartScanOutcome::Unsupported]);
}

#[tokio::test]
async fn a_watch_follows_every_manifest_to_its_end_and_then_ends() {
    let mut world = World::new();
    let script = || ScanScript::on_request(generate::basic(5, 1)).takes(Duration::from_secs(2));
    world.push(
        ImageSpec::index("team/multi", "1")
            .platform("linux/amd64", script())
            .platform("linux/arm64", ScanScript::failed()),
    );
    let gate = gate(world).start().await;
    gate.client.start_scan(start("team/multi:1")).await.unwrap();

    let request = WatchScanRequest { image: "team/multi:1".into(), platforms: Vec::new() };
    let mut watch = gate.client.watch_scan(request).await.unwrap();
    let mut seen = Vec::new();
    while let Some(progress) = watch.next().await.unwrap() {
        let scan = progress.progress.unwrap().manifest.unwrap().scan.unwrap();
        if scan.status() == ScanStatus::InProgress {
            gate.ecr.clock().advance(Duration::from_mins(10));
        }
        seen.push((scan.status(), progress.ended, progress.total));
    }

    assert!(seen.contains(&(ScanStatus::Failed, 1, 2)), "{seen:?}");
    assert!(seen.contains(&(ScanStatus::Complete, 2, 2)), "{seen:?}");
    assert_eq!(seen.last().unwrap().1, 2);
}

#[tokio::test]
async fn a_watch_of_what_was_never_scanned_ends_at_once() {
    let gate = gate(World::demo()).start().await;

    let request = WatchScanRequest { image: "shop/search:5.0.0".into(), platforms: Vec::new() };
    let mut watch = gate.client.watch_scan(request).await.unwrap();

    assert!(watch.next().await.unwrap().unwrap().progress.unwrap().ended);
    assert!(watch.next().await.unwrap().is_none());
}
