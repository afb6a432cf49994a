//! Sharing of scans and values, and the memory limit.

use std::{sync::Arc, time::Duration};

use scangate_server::registry::{Freshness, Registry as _, cache::Config};
use tokio::sync::Mutex;

use super::{Harness, distinct_scan, manifest, scan};
use crate::support::{APP, repository};

/// Held by tests of the memory limit, so that they run one at a time. moka reclaims dropped entries by epoch, and a busy
/// thread of another test delays that.
static EXCLUSIVE: Mutex<()> = Mutex::const_new(());

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
async fn shared_values_are_stored_once() {
    let _guard = EXCLUSIVE.lock().await;
    let (shared, unshared) = (Harness::new(Config::default()), Harness::new(Config::default()));

    for image in 0..50 {
        shared.replace_and_read(image, distinct_scan(0, 1_000)).await;
        unshared.replace_and_read(image, distinct_scan(image, 1_000)).await;
    }

    let (shared, unshared) = (shared.bytes(), unshared.bytes());
    assert!(shared < 50_000 * 24, "{shared} bytes for 50,000 findings that are alike");
    assert!(shared * 8 < unshared, "{shared} and {unshared} bytes");
}

#[tokio::test]
async fn distinct_images_stay_within_memory_limit() {
    let _guard = EXCLUSIVE.lock().await;
    let config = Config { max_scan_bytes: 4 * 1024 * 1024, ..Config::default() };
    let harness = Harness::new(config.clone());

    for image in 0..1_000 {
        harness.replace_and_read(image, distinct_scan(image, 100)).await;
        let bytes = harness.bytes();
        assert!(bytes <= config.max_scan_bytes, "{bytes} bytes after {image} images");
    }
    assert!(harness.bytes() > config.max_scan_bytes / 2, "there was room for more");
}

/// A value outlives the image that added it if an image of little weight shares it.
#[tokio::test]
async fn inherited_values_stay_within_memory_limit() {
    let _guard = EXCLUSIVE.lock().await;
    let config = Config { max_scan_bytes: 4 * 1024 * 1024, ..Config::default() };
    let harness = Harness::new(config.clone());

    for image in 0..500 {
        let (owner, sharer) = (image, image + 1_000);
        harness.replace_and_read(owner, distinct_scan(image, 100)).await;
        harness.replace_and_read(sharer, distinct_scan(image, 100)).await;
        harness.replace_and_read(owner, scan(Vec::new())).await;
        let bytes = harness.bytes();
        assert!(bytes <= config.max_scan_bytes, "{bytes} bytes after {image} images");
    }
}

/// An image that inherits values outweighs the images that it evicts, and is admitted all the same.
#[tokio::test]
async fn latest_scan_is_cached_in_full_cache() {
    let _guard = EXCLUSIVE.lock().await;
    let harness = Harness::new(Config { max_scan_bytes: 4 * 1024 * 1024, ..Config::default() });
    for image in 0..500 {
        let (owner, sharer) = (image, image + 1_000);
        harness.replace_and_read(owner, distinct_scan(image, 100)).await;
        harness.replace_and_read(sharer, distinct_scan(image, 100)).await;
        // Frequent use of old entries must not keep out new ones.
        harness.read(sharer, Freshness::default()).await;
        harness.replace_and_read(owner, scan(Vec::new())).await;
        harness.bytes();

        let is_cached =
            |image| harness.cached.cached_since(&repository(APP), &manifest(image), Freshness::default()).is_some();
        assert!(is_cached(owner) && is_cached(sharer), "image {image} is not cached");
    }
}

/// Cleared scans must be dropped at once. Otherwise each of the next readings would exceed the limit, and clear the
/// cache again.
#[tokio::test]
async fn overfull_cache_is_cleared_once() {
    let _guard = EXCLUSIVE.lock().await;
    let (bytes, unsettled_ttl) = (1024 * 1024, Duration::from_mins(1));
    let harness = Harness::new(Config { max_scan_bytes: bytes, unsettled_ttl, ..Config::default() });

    for image in 0..200_u64 {
        harness.replace_and_read(image, distinct_scan(image, 100)).await;
        harness.read(image.saturating_sub(1), Freshness::default()).await;
    }

    // The cache has room for some forty; a few reads follow a clearing.
    let repeated = harness.reads() - 200;
    assert!(repeated < 50, "{repeated} of 200 images were dropped as soon as they were read");
}

#[tokio::test]
async fn text_is_dropped_with_last_image() {
    let harness = Harness::new(Config::default());
    let empty = {
        harness.replace_and_read(3, scan(Vec::new())).await;
        harness.replace_and_read(4, scan(Vec::new())).await;
        harness.bytes()
    };
    let read = harness.replace_and_read(3, distinct_scan(0, 500)).await;
    harness.replace_and_read(4, distinct_scan(0, 500)).await;
    let text = read.findings()[0].description.as_ref().map(Arc::downgrade).unwrap();
    drop(read);

    harness.replace_and_read(3, scan(Vec::new())).await;
    assert!(text.upgrade().is_some());
    harness.replace_and_read(4, scan(Vec::new())).await;

    assert_eq!(harness.bytes(), empty);
    assert!(text.upgrade().is_none());
}
