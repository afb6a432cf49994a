//! The caching decorator: concurrent callers cost few calls, and nothing is cached for too long.

use std::{sync::Arc, time::Duration};

use scangate_core::{
    evidence::Evidence,
    scan::{Manifest, ScanType, Status},
};
use scangate_ecr_simulator::{BasicFinding, Fault, ImageSpec, ScanScript, World, generate};
use scangate_server::registry::{
    Error, Freshness, Registry, RegistryScanning, Started,
    cache::{CachedRegistry, Config},
};

use crate::support::{APP, Harness, IMAGE, Read, basic, cached, enhanced, reference, registry_id, repository, scan};

const NOW: Duration = Duration::ZERO;

async fn read(harness: &Harness<Arc<CachedRegistry>>, freshness: Freshness) -> Read {
    match scan(&*harness.registry, IMAGE, freshness).await {
        Ok(read) => read,
        Err(error) => panic!("{IMAGE} cannot be read: {error}"),
    }
}

async fn any_age(harness: &Harness<Arc<CachedRegistry>>) -> Read {
    read(harness, Freshness::default()).await
}

async fn manifest(harness: &Harness<Arc<CachedRegistry>>) -> Manifest {
    any_age(harness).await.manifest
}

fn findings() -> ScanScript {
    ScanScript::complete(generate::basic(250, 1))
}

/// Caches no unsettled scan, so that no test waits for an expiry.
fn uncached_unsettled() -> Config {
    Config { unsettled_ttl: Duration::ZERO, ..Config::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_cost_calls_of_one() {
    let world = || {
        let mut world = World::enhanced();
        let scan = ScanScript::complete(generate::enhanced(250, 1));
        world.push(ImageSpec::index(APP, "1").platform("linux/amd64", scan).attestation());
        world
    };
    let alone = cached(world(), Config::default()).await;
    any_age(&alone).await;
    let together = cached(world(), Config::default()).await;

    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let registry = Arc::clone(&together.registry);
            tokio::spawn(async move { scan(&*registry, IMAGE, Freshness::default()).await })
        })
        .collect();

    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().scan.findings().len(), 250);
    }
    for operation in [
        "DescribeImages",
        "BatchGetImage",
        "GetRegistryScanningConfiguration",
        "BatchGetRepositoryScanningConfiguration",
        "DescribeImageScanFindings",
    ] {
        assert_eq!(together.calls(operation), alone.calls(operation), "{operation}");
    }
    assert_eq!(together.simulator.calls().total(), alone.simulator.calls().total());
}

#[tokio::test]
async fn cached_image_costs_no_call() {
    let harness = cached(basic(findings()), Config::default()).await;
    any_age(&harness).await;
    harness.simulator.calls().clear();

    let read = any_age(&harness).await;

    assert_eq!(read.scan.findings().len(), 250);
    assert_eq!(harness.simulator.calls().total(), 0);
}

#[tokio::test]
async fn strict_freshness_forces_new_reading() {
    let harness = cached(basic(findings()), Config::default()).await;
    any_age(&harness).await;
    harness.simulator.world(|world| world.rescan(APP, "1", ScanScript::failed())).unwrap();

    let cached = any_age(&harness).await;
    let now = read(&harness, Freshness::within(NOW)).await;
    let after = any_age(&harness).await;

    assert_eq!(cached.scan.status, Status::Complete);
    assert_eq!(now.scan.status, Status::Failed);
    assert_eq!(after.scan.status, Status::Failed);
    assert_eq!(harness.calls("DescribeImages"), 2);
}

#[tokio::test]
async fn strict_freshness_sees_moved_tag() {
    let harness = cached(basic(findings()), Config::default()).await;
    let first = manifest(&harness).await;
    harness.simulator.world(|world| world.push(ImageSpec::single(APP, "1").content("another")));

    let image = reference(IMAGE);
    let second = harness.registry.resolve(&image, &[], Freshness::within(NOW)).await.unwrap();

    assert_ne!(first.digest, second.image.digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_concurrent_callers_cost_two_readings() {
    let harness = cached(basic(ScanScript::clean()), Config::default()).await;
    let manifest = manifest(&harness).await;
    harness.simulator.calls().clear();
    harness.simulator.faults().script(Fault::Delay(Duration::from_millis(100)).on("DescribeImageScanFindings"));

    // Each sets its freshness before the first flight can have ended.
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (registry, manifest, now) = (Arc::clone(&harness.registry), manifest.clone(), Freshness::within(NOW));
            tokio::spawn(async move { registry.scan(&repository(APP), &manifest, now).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }

    assert!(harness.calls("DescribeImageScanFindings") <= 2);
}

#[tokio::test]
async fn cancelled_caller_leaves_others_running() {
    let harness = cached(basic(ScanScript::clean()), Config::default()).await;
    let manifest = manifest(&harness).await;
    harness.simulator.calls().clear();
    harness.simulator.faults().script(Fault::Delay(Duration::from_millis(200)).on("DescribeImageScanFindings"));
    let (app, now) = (repository(APP), Freshness::within(NOW));

    let cancelled = harness.registry.scan(&app, &manifest, now);
    assert!(tokio::time::timeout(Duration::from_millis(20), cancelled).await.is_err());
    let completed = harness.registry.scan(&app, &manifest, now).await;

    assert!(completed.is_ok());
    assert_eq!(harness.calls("DescribeImageScanFindings"), 1);
}

#[tokio::test]
async fn failure_is_never_cached() {
    let harness = cached(basic(findings()), Config::default()).await;
    for operation in ["DescribeImages", "DescribeImageScanFindings", "GetRegistryScanningConfiguration"] {
        harness.simulator.faults().script(Fault::access_denied().on(operation).once());
        let now = Freshness::within(NOW);

        let failed = scan(&*harness.registry, IMAGE, now).await;
        let after = scan(&*harness.registry, IMAGE, now).await;

        assert!(matches!(failed, Err(Error::AccessDenied { .. })), "{operation}: {failed:?}");
        assert!(after.is_ok(), "{operation}: {after:?}");
        harness.registry.put_scan_on_push(&repository(APP), true).await.unwrap();
    }
}

#[tokio::test]
async fn unsettled_scan_is_cached_briefly() {
    let just_now = Duration::from_secs(30);
    let unsettled = [
        basic(ScanScript::never()),
        basic(ScanScript::running()),
        enhanced(ScanScript::running()),
        basic(findings().completed_ago(just_now)),
        enhanced(ScanScript::clean().completed_ago(just_now)),
        enhanced(ScanScript::clean().uncovered()),
        enhanced(ScanScript::findings_unavailable()),
        basic(ScanScript::status("SOMETHING_NEW")),
    ];
    for world in unsettled {
        let harness = cached(world, uncached_unsettled()).await;

        let first = any_age(&harness).await;
        any_age(&harness).await;

        assert_eq!(harness.calls("DescribeImageScanFindings"), 2, "{:?}", first.scan);
    }
}

#[tokio::test]
async fn settled_scan_is_cached() {
    let settled = [
        basic(ScanScript::clean()),
        enhanced(ScanScript::clean()),
        basic(ScanScript::failed()),
        enhanced(ScanScript::unsupported()),
        enhanced(ScanScript::eligibility_expired()),
        enhanced(ScanScript::image_size_exceeded()),
    ];
    for world in settled {
        let harness = cached(world, uncached_unsettled()).await;

        any_age(&harness).await;
        any_age(&harness).await;

        assert_eq!(harness.calls("DescribeImageScanFindings"), 1);
    }
}

#[tokio::test]
async fn flawed_reading_is_cached_briefly() {
    let harness = cached(basic(findings()), uncached_unsettled()).await;
    harness.simulator.faults().script(Fault::WrongDigest.on("DescribeImageScanFindings").once());

    let flawed = any_age(&harness).await;
    let healed = any_age(&harness).await;

    assert_eq!(flawed.assessment().evidence, Evidence::Mismatch);
    assert_eq!(healed.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn equal_readings_are_unchanged_since_first() {
    let harness = cached(basic(findings().completed_ago(Duration::from_secs(30))), uncached_unsettled()).await;

    let first = any_age(&harness).await.scan;
    let second = any_age(&harness).await.scan;
    harness
        .simulator
        .world(|world| world.rescan(APP, "1", ScanScript::complete([BasicFinding::new("CVE-1", "LOW")])))
        .unwrap();
    let third = any_age(&harness).await.scan;

    assert_eq!(first.unchanged_since, first.read_time);
    assert_eq!(second.unchanged_since, first.read_time);
    assert!(second.read_time > first.read_time);
    assert_eq!(third.unchanged_since, third.read_time);
}

#[tokio::test]
async fn cached_resolution_has_requested_host() {
    let harness = cached(basic(findings()), Config::default()).await;
    let resolve = async |image: &str| {
        let resolved = harness.registry.resolve(&reference(image), &[], Freshness::default()).await;
        resolved.map(|resolved| resolved.image.host.clone())
    };

    let short = resolve(IMAGE).await.unwrap();
    let long = resolve(&format!("123456789012.dkr-ecr.eu-west-1.on.aws/{IMAGE}")).await.unwrap();

    assert_eq!(short, "123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    assert_eq!(long, "123456789012.dkr-ecr.eu-west-1.on.aws");
    assert_eq!(harness.calls("DescribeImages"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_scan_starts_cost_one_call() {
    let harness = cached(basic(ScanScript::never()), Config::default()).await;
    let manifest = manifest(&harness).await;
    harness.simulator.faults().script(Fault::Delay(Duration::from_millis(100)).on("StartImageScan"));

    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (registry, manifest) = (Arc::clone(&harness.registry), manifest.clone());
            tokio::spawn(async move { registry.start_scan(&repository(APP), &manifest).await })
        })
        .collect();
    for caller in callers {
        let started = caller.await.unwrap().unwrap();
        assert!(matches!(started, Started::Started | Started::AlreadyInProgress), "{started:?}");
    }

    assert_eq!(harness.calls("StartImageScan"), 1);
}

#[tokio::test]
async fn started_scan_is_visible_at_once() {
    let long_ago = findings().completed_ago(Duration::from_hours(48)).takes(Duration::from_hours(1));
    let harness = cached(basic(long_ago), Config::default()).await;
    let manifest = manifest(&harness).await;

    assert_eq!(any_age(&harness).await.scan.status, Status::Complete);
    assert_eq!(harness.registry.start_scan(&repository(APP), &manifest).await.unwrap(), Started::Started);

    assert_eq!(any_age(&harness).await.scan.status, Status::InProgress);
}

#[tokio::test]
async fn configuration_change_is_visible_at_once() {
    let harness = cached(basic(findings()), Config::default()).await;
    assert_eq!(any_age(&harness).await.scan.scan_type, ScanType::Basic);
    let enhanced = RegistryScanning { scan_type: ScanType::Enhanced, rules: Vec::new(), accepts_rules: true };

    harness.registry.put_registry_scanning(&registry_id(), &enhanced).await.unwrap();

    assert_eq!(any_age(&harness).await.scan.scan_type, ScanType::Enhanced);
}

#[tokio::test]
async fn change_of_cancelled_caller_is_visible() {
    let harness = cached(basic(findings()), Config::default()).await;
    any_age(&harness).await;
    let slow = Fault::Delay(Duration::from_millis(100));
    harness.simulator.faults().script(slow.on("PutRegistryScanningConfiguration"));
    let (registry, enhanced) =
        (registry_id(), RegistryScanning { scan_type: ScanType::Enhanced, rules: Vec::new(), accepts_rules: true });

    let cancelled = harness.registry.put_registry_scanning(&registry, &enhanced);
    assert!(tokio::time::timeout(Duration::from_millis(50), cancelled).await.is_err());

    let seen = async {
        while any_age(&harness).await.scan.scan_type == ScanType::Basic {
            // A cached read is ready at once: without this, the task that completes the change would not run.
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), seen).await.is_ok());
}

#[tokio::test]
async fn cache_without_memory_still_reads() {
    let harness = cached(basic(findings()), Config { max_scan_bytes: 0, ..Config::default() }).await;

    any_age(&harness).await;
    let read = any_age(&harness).await;

    assert_eq!(read.scan.findings().len(), 250);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uncached_images_wait_for_permit() {
    let mut world = World::new();
    for number in 0..200 {
        world.push(ImageSpec::single(APP, &format!("v{number}")).scan(ScanScript::clean()));
    }
    let harness = cached(world, Config::default()).await;

    let callers: Vec<_> = (0..200)
        .map(|number| {
            let registry = Arc::clone(&harness.registry);
            tokio::spawn(async move { scan(&*registry, &format!("{APP}:v{number}"), Freshness::default()).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }

    assert_eq!(harness.calls("DescribeImageScanFindings"), 200);
    assert_eq!(harness.calls("GetRegistryScanningConfiguration"), 1);
    assert_eq!(harness.calls("BatchGetRepositoryScanningConfiguration"), 1);
}
