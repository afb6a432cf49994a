//! Sharing of decoded scans, and the memory limit.

use std::{sync::Arc, time::Duration};

use scangate_server::registry::{Freshness, Registry as _, cache::Config};

use super::{Harness, distinct_scan, manifest, scan};
use crate::support::{APP, repository};

#[tokio::test]
async fn concurrent_readers_share_one_scan() {
    let harness = Harness::new(Config::default());

    let one = harness.replace_and_read(1, distinct_scan(1, 10)).await;
    let other = harness.read(1, Freshness::default()).await;

    assert!(Arc::ptr_eq(&one, &other));
}

#[tokio::test]
async fn consecutive_readers_share_one_scan() {
    let harness = Harness::new(Config::default());

    let one = Arc::downgrade(&harness.replace_and_read(1, distinct_scan(1, 5_000)).await);
    let other = harness.read(1, Freshness::default()).await;

    assert!(one.upgrade().is_some_and(|one| Arc::ptr_eq(&one, &other)));
}

#[tokio::test]
async fn only_last_two_scans_stay_decoded() {
    let harness = Harness::new(Config::default());

    let one = Arc::downgrade(&harness.replace_and_read(1, distinct_scan(1, 10)).await);
    let two = Arc::downgrade(&harness.replace_and_read(2, distinct_scan(2, 10)).await);
    let three = Arc::downgrade(&harness.replace_and_read(3, distinct_scan(3, 10)).await);
    let large = Arc::downgrade(&harness.replace_and_read(4, distinct_scan(4, 5_001)).await);

    assert_eq!([&one, &two, &three, &large].map(|scan| scan.upgrade().is_some()), [false, true, true, false]);
}

#[tokio::test]
async fn distinct_images_stay_within_memory_limit() {
    let config = Config { max_scan_bytes: 1024 * 1024, ..Config::default() };
    let harness = Harness::new(config.clone());

    for image in 0..1_000 {
        harness.replace_and_read(image, distinct_scan(image, 100)).await;
        let bytes = harness.cached.bytes();
        assert!(bytes <= config.max_scan_bytes, "{bytes} bytes after {image} images");
    }
    assert!(harness.cached.bytes() > config.max_scan_bytes / 2, "there was room for more");
}

#[tokio::test]
async fn burst_of_images_stays_within_memory_limit() {
    let alone = Harness::new(Config::default());
    alone.replace_and_read(0, distinct_scan(10, 1)).await;
    let harness = Harness::new(Config { max_scan_bytes: 5 * alone.cached.bytes(), ..Config::default() });

    // Fewer than those after which the cache evicts by itself.
    for image in 10..25 {
        harness.replace_and_read(image, distinct_scan(image, 1)).await;
    }

    let is_cached =
        |image: &u64| harness.cached.cached_since(&repository(APP), &manifest(*image), Freshness::default()).is_some();
    let cached = (10..25).filter(is_cached).count();
    assert!((4..=6).contains(&cached), "{cached} images are cached");
}

#[tokio::test]
async fn large_scan_decodes_beside_other_tasks() {
    let harness = Harness::new(Config::default());
    drop(harness.replace_and_read(1, distinct_scan(1, 10)).await);
    drop(harness.replace_and_read(2, distinct_scan(2, 10_000)).await);

    let is_ready = |image| tokio::time::timeout(Duration::ZERO, harness.read(image, Freshness::default()));
    let (small, large) = (is_ready(1).await.is_ok(), is_ready(2).await.is_ok());

    assert!(small && !large, "{small}, {large}");
    assert_eq!(harness.read(2, Freshness::default()).await.findings().len(), 10_000);
}

#[tokio::test]
async fn latest_scan_is_cached_in_full_cache() {
    let harness = Harness::new(Config { max_scan_bytes: 1024 * 1024, ..Config::default() });
    for image in 0..1_000 {
        harness.replace_and_read(image, distinct_scan(image, 100)).await;
        // Frequent use of old entries must not keep out new ones.
        harness.read(image / 2 * 2, Freshness::default()).await;
        harness.cached.bytes();

        let manifest = manifest(image);
        let cached_since = harness.cached.cached_since(&repository(APP), &manifest, Freshness::default());
        assert!(cached_since.is_some(), "image {image} is not cached");
    }
}

#[tokio::test]
async fn replaced_scan_frees_its_memory() {
    let harness = Harness::new(Config::default());
    harness.replace_and_read(1, scan(Vec::new())).await;
    let empty = harness.cached.bytes();

    harness.replace_and_read(1, distinct_scan(0, 500)).await;
    let full = harness.cached.bytes();
    harness.replace_and_read(1, scan(Vec::new())).await;

    assert!(full > empty);
    assert_eq!(harness.cached.bytes(), empty);
}
