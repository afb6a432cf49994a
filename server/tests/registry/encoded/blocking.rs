//! The threads that encode and decode scans.

use std::{
    pin::pin,
    sync::mpsc,
    time::{Duration, Instant},
};

use scangate_server::registry::{Freshness, Registry as _, cache::Config};
use tokio::{
    runtime::{Builder, Runtime},
    task::{spawn_blocking, yield_now},
    time::timeout,
};

use super::{Harness, distinct_scan, manifest};
use crate::support::{APP, repository};

const SOON: Duration = Duration::from_millis(200);
/// A number of findings beyond the size that an async worker takes.
const LARGE: u64 = 6_000;

/// A runtime with one async worker and one thread for blocking work.
fn runtime() -> Runtime {
    Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap()
}

#[test]
fn cancelled_readers_leave_one_decode() {
    runtime().block_on(async {
        let harness = Harness::new(Config::default());
        drop(harness.replace_and_read(1, distinct_scan(1, LARGE)).await);
        let began = Instant::now();
        drop(harness.read(1, Freshness::default()).await);
        let alone = began.elapsed();

        for _ in 0..20 {
            assert!(timeout(Duration::ZERO, harness.read(1, Freshness::default())).await.is_err());
            yield_now().await;
        }
        let began = Instant::now();
        spawn_blocking(|| ()).await.unwrap();
        let left = began.elapsed();

        assert!(left < 5 * alone, "{left:?}, one alone {alone:?}");
    });
}

#[test]
fn cancelled_readers_of_many_scans_leave_few_decodes() {
    runtime().block_on(async {
        let harness = Harness::new(Config::default());
        for image in 0..12 {
            drop(harness.replace_and_read(image, distinct_scan(image, LARGE)).await);
        }
        let began = Instant::now();
        drop(harness.read(0, Freshness::default()).await);
        let alone = began.elapsed();

        for image in 0..12 {
            assert!(timeout(Duration::ZERO, harness.read(image, Freshness::default())).await.is_err());
            yield_now().await;
        }
        let began = Instant::now();
        spawn_blocking(|| ()).await.unwrap();
        let left = began.elapsed();

        assert!(left < 8 * alone, "{left:?}, one alone {alone:?}");
    });
}

#[test]
fn large_scan_is_encoded_on_a_blocking_thread() {
    runtime().block_on(async {
        let harness = Harness::new(Config::default());
        let (release, held) = mpsc::channel::<()>();
        let busy = spawn_blocking(move || held.recv());
        let mut reading = pin!(harness.replace_and_read(1, distinct_scan(1, LARGE)));

        assert!(timeout(SOON, &mut reading).await.is_err());
        let cached_since = harness.cached.cached_since(&repository(APP), &manifest(1), Freshness::default());
        drop(release);
        assert!(busy.await.unwrap().is_err());

        assert_eq!(cached_since, None);
        assert_eq!(reading.await.findings().len(), 6_000);
    });
}

#[test]
fn small_scan_needs_no_blocking_thread() {
    runtime().block_on(async {
        let harness = Harness::new(Config::default());
        let (release, held) = mpsc::channel::<()>();
        let _busy = spawn_blocking(move || held.recv());

        let read = timeout(SOON, harness.replace_and_read(1, distinct_scan(1, 500))).await;
        let again = timeout(Duration::ZERO, harness.read(1, Freshness::default())).await;
        drop(release);

        assert!(read.is_ok() && again.is_ok());
    });
}
