//! StartScan and WatchScan.

use std::time::{Duration, Instant};

use scangate_client::v1::{
    ScanStatus, StartScanOutcome, StartScanRequest, WatchScanRequest, watch_scan_response::Event,
};
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
async fn start_scan_is_idempotent_over_all_platforms() {
    let gate = gate(world()).start().await;

    assert_eq!(outcomes(&gate, "team/new:1").await, [StartScanOutcome::Started]);
    assert_eq!(outcomes(&gate, "team/new:1").await, [StartScanOutcome::AlreadyInProgress]);
    assert_eq!(outcomes(&gate, "team/multi:1").await, [StartScanOutcome::Started; 2]);
}

#[tokio::test]
async fn daily_limit_returns_next_possible_scan() {
    let gate = gate(world()).start().await;

    let started = gate.client.start_scan(start("team/old:1")).await.unwrap();

    let scan = &started.scans[0];
    assert_eq!(scan.outcome(), StartScanOutcome::AlreadyScanned);
    assert!(scan.next_scan_time.is_some());
    assert!(gate.ecr.calls().count("StartImageScan") <= 1);
}

#[tokio::test]
async fn enhanced_scan_cannot_be_started() {
    let gate = gate(World::demo_enhanced()).start().await;

    assert_eq!(outcomes(&gate, "shop/api:2.0.0").await, [StartScanOutcome::ManagedByInspector]);
}

#[tokio::test]
async fn artifact_scan_is_unsupported() {
    let mut world = World::new();
    world.push(ImageSpec::helm_chart("team/chart", "1"));
    let gate = gate(world).start().await;

    assert_eq!(outcomes(&gate, "team/chart:1").await, [StartScanOutcome::Unsupported]);
}

#[tokio::test]
async fn scan_watch_ends_with_last_manifest() {
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
    let mut watch = gate.client.watch(request).await.unwrap();
    let mut updates = Vec::new();
    while let Some(progress) = watch.next().await.unwrap() {
        let Some(Event::Progress(manifest)) = progress.event else { continue };
        let scan = manifest.manifest.unwrap().scan.unwrap();
        if scan.status() == ScanStatus::InProgress {
            gate.ecr.clock().advance(Duration::from_mins(10));
        }
        updates.push((scan.status(), progress.ended_count, progress.total_count));
    }

    assert!(updates.contains(&(ScanStatus::Failed, 1, 2)), "{updates:?}");
    assert!(updates.contains(&(ScanStatus::Complete, 2, 2)), "{updates:?}");
    assert_eq!(updates.last().unwrap().1, 2);
}

#[tokio::test]
async fn quiet_scan_watch_sends_heartbeats() {
    let gate = gate(world()).start().await;
    gate.client.start_scan(start("team/new:1")).await.unwrap();
    let request = WatchScanRequest { image: "team/new:1".into(), platforms: Vec::new() };
    let mut watch = gate.client.watch(request).await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    let began = Instant::now();

    let second = watch.next().await.unwrap().unwrap();

    assert!(matches!(second.event, Some(Event::Heartbeat(_))), "{second:?}");
    assert_eq!((second.image, second.ended_count, second.total_count), (first.image, 0, 1));
    assert!((15..=25).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn scan_watch_of_unscanned_image_ends_at_once() {
    let gate = gate(World::demo()).start().await;

    let request = WatchScanRequest { image: "shop/search:5.0.0".into(), platforms: Vec::new() };
    let mut watch = gate.client.watch(request).await.unwrap();

    let Some(Event::Progress(progress)) = watch.next().await.unwrap().unwrap().event else { panic!("no progress") };
    assert!(progress.ended);
    assert!(watch.next().await.unwrap().is_none());
}
