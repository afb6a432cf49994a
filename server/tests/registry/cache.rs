//! Many callers, few calls; and nothing kept that should not be.

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

use crate::support::{APP, Bench, IMAGE, Read, basic, cached, enhanced, reference, registry_id, repository, scan};

const NOW: Duration = Duration::ZERO;

async fn read(bench: &Bench<Arc<CachedRegistry>>, freshness: Freshness) -> Read {
    match scan(&*bench.registry, IMAGE, freshness).await {
        Ok(read) => read,
        Err(error) => panic!("{IMAGE} cannot be read: {error}"),
    }
}

async fn any_age(bench: &Bench<Arc<CachedRegistry>>) -> Read {
    read(bench, Freshness::default()).await
}

async fn manifest(bench: &Bench<Arc<CachedRegistry>>) -> Manifest {
    any_age(bench).await.manifest
}

fn findings() -> ScanScript {
    ScanScript::complete(generate::basic(250, 1))
}

/// Nothing unsettled is kept, so that no test waits for its end.
fn restless() -> Config {
    Config { unsettled_ttl: Duration::ZERO, ..Config::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_one_cold_image_cost_the_calls_of_one() {
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
async fn a_warm_image_costs_no_call() {
    let bench = cached(basic(findings()), Config::default()).await;
    any_age(&bench).await;
    bench.simulator.calls().clear();

    let read = any_age(&bench).await;

    assert_eq!(read.scan.findings().len(), 250);
    assert_eq!(bench.simulator.calls().total(), 0);
}

#[tokio::test]
async fn a_caller_who_asks_for_now_gets_a_reading_of_now() {
    let bench = cached(basic(findings()), Config::default()).await;
    any_age(&bench).await;
    bench.simulator.world(|world| world.rescan(APP, "1", ScanScript::failed())).unwrap();

    let kept = any_age(&bench).await;
    let now = read(&bench, Freshness::within(NOW)).await;
    let after = any_age(&bench).await;

    assert_eq!(kept.scan.status, Status::Complete);
    assert_eq!(now.scan.status, Status::Failed);
    assert_eq!(after.scan.status, Status::Failed);
    assert_eq!(bench.calls("DescribeImages"), 2);
}

#[tokio::test]
async fn a_moved_tag_is_seen_by_a_caller_who_asks_for_now() {
    let bench = cached(basic(findings()), Config::default()).await;
    let first = manifest(&bench).await;
    bench.simulator.world(|world| world.push(ImageSpec::single(APP, "1").content("another")));

    let image = reference(IMAGE);
    let second = bench.registry.resolve(&image, Freshness::within(NOW)).await.unwrap();

    assert_ne!(first.digest, second.image.digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_ask_for_now_at_once_cost_two_readings_at_most() {
    let bench = cached(basic(ScanScript::clean()), Config::default()).await;
    let manifest = manifest(&bench).await;
    bench.simulator.calls().clear();
    bench.simulator.faults().script(Fault::Delay(Duration::from_millis(100)).on("DescribeImageScanFindings"));

    // Each states its instant before the first flight can have ended.
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (registry, manifest, now) = (Arc::clone(&bench.registry), manifest.clone(), Freshness::within(NOW));
            tokio::spawn(async move { registry.scan(&repository(APP), &manifest, now).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }

    assert!(bench.calls("DescribeImageScanFindings") <= 2);
}

#[tokio::test]
async fn a_caller_who_gives_up_cancels_nothing_for_the_others() {
    let bench = cached(basic(ScanScript::clean()), Config::default()).await;
    let manifest = manifest(&bench).await;
    bench.simulator.calls().clear();
    bench.simulator.faults().script(Fault::Delay(Duration::from_millis(200)).on("DescribeImageScanFindings"));
    let (app, now) = (repository(APP), Freshness::within(NOW));

    let impatient = bench.registry.scan(&app, &manifest, now);
    assert!(tokio::time::timeout(Duration::from_millis(20), impatient).await.is_err());
    let patient = bench.registry.scan(&app, &manifest, now).await;

    assert!(patient.is_ok());
    assert_eq!(bench.calls("DescribeImageScanFindings"), 1);
}

#[tokio::test]
async fn a_failure_is_never_kept() {
    let bench = cached(basic(findings()), Config::default()).await;
    for operation in ["DescribeImages", "DescribeImageScanFindings", "GetRegistryScanningConfiguration"] {
        bench.simulator.faults().script(Fault::access_denied().on(operation).once());
        let now = Freshness::within(NOW);

        let failed = scan(&*bench.registry, IMAGE, now).await;
        let after = scan(&*bench.registry, IMAGE, now).await;

        assert!(matches!(failed, Err(Error::AccessDenied { .. })), "{operation}: {failed:?}");
        assert!(after.is_ok(), "{operation}: {after:?}");
        bench.registry.put_scan_on_push(&repository(APP), true).await.unwrap();
    }
}

#[tokio::test]
async fn what_may_still_change_by_itself_is_kept_for_a_moment_only() {
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
        let bench = cached(world, restless()).await;

        let first = any_age(&bench).await;
        any_age(&bench).await;

        assert_eq!(bench.calls("DescribeImageScanFindings"), 2, "{:?}", first.scan);
    }
}

#[tokio::test]
async fn what_is_settled_is_kept() {
    let settled = [
        basic(ScanScript::clean()),
        enhanced(ScanScript::clean()),
        basic(ScanScript::failed()),
        enhanced(ScanScript::unsupported()),
        enhanced(ScanScript::eligibility_expired()),
        enhanced(ScanScript::image_size_exceeded()),
    ];
    for world in settled {
        let bench = cached(world, restless()).await;

        any_age(&bench).await;
        any_age(&bench).await;

        assert_eq!(bench.calls("DescribeImageScanFindings"), 1);
    }
}

#[tokio::test]
async fn a_flawed_reading_is_kept_for_a_moment_only() {
    let bench = cached(basic(findings()), restless()).await;
    bench.simulator.faults().script(Fault::WrongDigest.on("DescribeImageScanFindings").once());

    let flawed = any_age(&bench).await;
    let healed = any_age(&bench).await;

    assert_eq!(flawed.assessment().evidence, Evidence::Mismatch);
    assert_eq!(healed.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn equal_readings_are_unchanged_since_the_first_of_them() {
    let bench = cached(basic(findings().completed_ago(Duration::from_secs(30))), restless()).await;

    let first = any_age(&bench).await.scan;
    let second = any_age(&bench).await.scan;
    bench
        .simulator
        .world(|world| world.rescan(APP, "1", ScanScript::complete([BasicFinding::new("CVE-1", "LOW")])))
        .unwrap();
    let third = any_age(&bench).await.scan;

    assert_eq!(first.unchanged_since, first.read_at);
    assert_eq!(second.unchanged_since, first.read_at);
    assert!(second.read_at > first.read_at);
    assert_eq!(third.unchanged_since, third.read_at);
}

#[tokio::test]
async fn every_caller_gets_the_host_that_he_wrote() {
    let bench = cached(basic(findings()), Config::default()).await;
    let resolve = async |image: &str| {
        let resolved = bench.registry.resolve(&reference(image), Freshness::default()).await;
        resolved.map(|resolved| resolved.image.host.clone())
    };

    let short = resolve(IMAGE).await.unwrap();
    let long = resolve(&format!("123456789012.dkr-ecr.eu-west-1.on.aws/{IMAGE}")).await.unwrap();

    assert_eq!(short, "123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    assert_eq!(long, "123456789012.dkr-ecr.eu-west-1.on.aws");
    assert_eq!(bench.calls("DescribeImages"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_to_scan_one_image_are_one() {
    let bench = cached(basic(ScanScript::never()), Config::default()).await;
    let manifest = manifest(&bench).await;
    bench.simulator.faults().script(Fault::Delay(Duration::from_millis(100)).on("StartImageScan"));

    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (registry, manifest) = (Arc::clone(&bench.registry), manifest.clone());
            tokio::spawn(async move { registry.start_scan(&repository(APP), &manifest).await })
        })
        .collect();
    for caller in callers {
        let started = caller.await.unwrap().unwrap();
        assert!(matches!(started, Started::Started | Started::AlreadyInProgress), "{started:?}");
    }

    assert_eq!(bench.calls("StartImageScan"), 1);
}

#[tokio::test]
async fn a_started_scan_is_seen_at_once() {
    let long_ago = findings().completed_ago(Duration::from_hours(48)).takes(Duration::from_hours(1));
    let bench = cached(basic(long_ago), Config::default()).await;
    let manifest = manifest(&bench).await;

    assert_eq!(any_age(&bench).await.scan.status, Status::Complete);
    assert_eq!(bench.registry.start_scan(&repository(APP), &manifest).await.unwrap(), Started::Started);

    assert_eq!(any_age(&bench).await.scan.status, Status::InProgress);
}

#[tokio::test]
async fn a_changed_configuration_is_seen_at_once() {
    let bench = cached(basic(findings()), Config::default()).await;
    assert_eq!(any_age(&bench).await.scan.scan_type, ScanType::Basic);
    let enhanced = RegistryScanning { scan_type: ScanType::Enhanced, rules: Vec::new() };

    bench.registry.put_registry_scanning(&registry_id(), &enhanced).await.unwrap();

    assert_eq!(any_age(&bench).await.scan.scan_type, ScanType::Enhanced);
}

#[tokio::test]
async fn a_change_whose_caller_has_gone_is_seen_too() {
    let bench = cached(basic(findings()), Config::default()).await;
    any_age(&bench).await;
    let slow = Fault::Delay(Duration::from_millis(100));
    bench.simulator.faults().script(slow.on("PutRegistryScanningConfiguration"));
    let (registry, enhanced) = (registry_id(), RegistryScanning { scan_type: ScanType::Enhanced, rules: Vec::new() });

    let gone = bench.registry.put_registry_scanning(&registry, &enhanced);
    assert!(tokio::time::timeout(Duration::from_millis(50), gone).await.is_err());

    let seen = async { while any_age(&bench).await.scan.scan_type == ScanType::Basic {} };
    assert!(tokio::time::timeout(Duration::from_secs(10), seen).await.is_ok());
}

#[tokio::test]
async fn a_cache_without_room_keeps_nothing_and_still_answers() {
    let bench = cached(basic(findings()), Config { bytes: 0, ..Config::default() }).await;

    any_age(&bench).await;
    let read = any_age(&bench).await;

    assert_eq!(read.scan.findings().len(), 250);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_cold_images_wait_for_their_turn() {
    let mut world = World::new();
    for number in 0..200 {
        world.push(ImageSpec::single(APP, &format!("v{number}")).scan(ScanScript::clean()));
    }
    let bench = cached(world, Config::default()).await;

    let callers: Vec<_> = (0..200)
        .map(|number| {
            let registry = Arc::clone(&bench.registry);
            tokio::spawn(async move { scan(&*registry, &format!("{APP}:v{number}"), Freshness::default()).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }

    assert_eq!(bench.calls("DescribeImageScanFindings"), 200);
    assert_eq!(bench.calls("GetRegistryScanningConfiguration"), 1);
    assert_eq!(bench.calls("BatchGetRepositoryScanningConfiguration"), 1);
}
