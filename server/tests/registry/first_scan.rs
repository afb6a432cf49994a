//! The first scan of a clean image, from which the settle time counts.

use std::{sync::Arc, time::Duration};

use scangate_core::evidence::Evidence;
use scangate_ecr_simulator::{Coverage, ImageSpec, ScanScript, World};
use scangate_server::registry::{
    Freshness,
    cache::{CachedRegistry, Config},
};

use crate::support::{APP, Harness, IMAGE, Read, cached, scan};

const MINUTE: Duration = Duration::from_mins(1);

/// A clean scan that Inspector's coverage dates.
fn scanned(ago: Duration) -> ScanScript {
    covered("SUCCESSFUL", ago)
}

fn covered(reason: &str, ago: Duration) -> ScanScript {
    let (code, reason) = ("ACTIVE".to_owned(), reason.to_owned());
    ScanScript::clean().coverage(Coverage::Explicit { code, reason, scanned_ago: Some(ago) })
}

fn pushed(ago: Duration, scan: ScanScript) -> ImageSpec {
    ImageSpec::single(APP, "1").scan(scan).pushed_ago(ago)
}

async fn gate(image: ImageSpec, config: Config) -> Harness<Arc<CachedRegistry>> {
    let mut world = World::enhanced();
    world.push(image);
    cached(world, config).await
}

async fn read(harness: &Harness<Arc<CachedRegistry>>) -> Read {
    match scan(&*harness.registry, IMAGE, Freshness::within(Duration::ZERO)).await {
        Ok(read) => read,
        Err(error) => panic!("{IMAGE} cannot be read: {error}"),
    }
}

async fn rescan(harness: &Harness<Arc<CachedRegistry>>, script: ScanScript) -> Read {
    match harness.simulator.world(|world| world.rescan(APP, "1", script)) {
        Ok(()) => read(harness).await,
        Err(error) => panic!("{IMAGE} cannot be scanned again: {error}"),
    }
}

#[tokio::test]
async fn rescan_of_clean_image_keeps_first_scan_time() {
    let harness = gate(pushed(MINUTE * 60, scanned(MINUTE * 10)), Config::default()).await;

    let first = read(&harness).await;
    let rescanned = rescan(&harness, scanned(Duration::ZERO)).await;

    assert_eq!(first.assessment().evidence, Evidence::Proven);
    assert_eq!(rescanned.scan.first_scan_time, first.scan.first_scan_time);
    assert!(rescanned.scan.coverage.as_ref().unwrap().last_scan_time > first.scan.first_scan_time);
    assert_eq!(rescanned.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn first_scan_outlives_its_cached_reading() {
    // No reading fits the cache; `bytes` completes the eviction.
    let config = Config { max_scan_bytes: 8, ..Config::default() };
    let harness = gate(pushed(MINUTE * 60, scanned(MINUTE * 10)), config).await;

    let first = read(&harness).await;
    harness.registry.bytes();
    let rescanned = rescan(&harness, scanned(Duration::ZERO)).await;

    assert_eq!(first.assessment().evidence, Evidence::Proven);
    assert_eq!(rescanned.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn revived_image_is_scanned_for_the_first_time() {
    let harness = gate(pushed(MINUTE * 60, scanned(MINUTE * 10)), Config::default()).await;

    read(&harness).await;
    let pending = rescan(&harness, covered("PENDING_REVIVAL_SCAN", MINUTE * 10)).await;
    let revived = rescan(&harness, scanned(Duration::ZERO)).await;

    assert_eq!(pending.assessment().evidence, Evidence::ScanPending);
    assert_eq!(revived.assessment().evidence, Evidence::ScanPending);
}

#[tokio::test]
async fn pushed_again_counts_from_scan_after_push() {
    let config = Config { unsettled_ttl: Duration::ZERO, ..Config::default() };
    let harness = gate(pushed(MINUTE * 60, scanned(MINUTE * 10)), config).await;
    let before = read(&harness).await;
    harness.simulator.world(|world| {
        world.delete(APP, "1").unwrap();
        world.push(pushed(MINUTE, scanned(MINUTE / 2)));
    });

    let pushed_again = read(&harness).await;

    assert_eq!(pushed_again.manifest.digest, before.manifest.digest);
    assert_eq!(pushed_again.assessment().evidence, Evidence::ScanPending);
    let last_scan_time = pushed_again.scan.coverage.as_ref().unwrap().last_scan_time;
    assert_eq!(pushed_again.scan.first_scan_time, last_scan_time);
    // The empty list may still change, so it is not cached for the time of a settled one.
    let again = scan(&*harness.registry, IMAGE, Freshness::default()).await.unwrap();
    assert!(again.scan.read_time > pushed_again.scan.read_time);
    // A rescan opens no new window.
    let rescanned = rescan(&harness, scanned(Duration::ZERO)).await;
    assert_eq!(rescanned.scan.first_scan_time, last_scan_time);
}
