//! The instant at which Inspector stops scanning an image.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scangate_core::evidence::Evidence;
use scangate_ecr_simulator::{
    EnhancedFinding, Fault, ImageSpec, RescanDurations, Rule, ScanFrequency, ScanScript, ScanType, ScanningConfig,
    World,
};
use scangate_server::registry::ecr::{Config, Ecr};

use crate::support::{APP, Harness, basic, ecr, ecr_with, enhanced};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const GET_CONFIGURATION: &str = "GetConfiguration";

fn durations(since_push: &str, since_use: &str, mode: &str) -> RescanDurations {
    let [since_push, since_use, mode] = [since_push, since_use, mode].map(str::to_owned);
    RescanDurations { since_push, since_use, mode, ..RescanDurations::default() }
}

fn limited(world: World) -> World {
    world.with_rescan_durations(durations("DAYS_14", "DAYS_30", "LAST_IN_USE_AT"))
}

/// Sets the last use in Inspector's coverage.
fn used(member: &str, at: Timestamp) -> Rule {
    let pointer = format!("/coveredResources/0/resourceMetadata/ecrImage/{member}");
    Fault::SetField { pointer, value: at.as_second().into() }.on("ListCoverage")
}

/// The present instant in whole seconds, as in a scripted response.
fn whole_second() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

async fn in_use_now(world: World) -> (Harness<Ecr>, Timestamp) {
    let (harness, now) = (ecr(world).await, whole_second());
    harness.simulator.faults().script(used("lastInUseAt", now));
    (harness, now)
}

#[tokio::test]
async fn end_follows_last_use_in_its_mode() {
    for (mode, member) in [("LAST_IN_USE_AT", "lastInUseAt"), ("LAST_PULL_DATE", "imagePulledAt")] {
        let world = enhanced(ScanScript::clean()).with_rescan_durations(durations("DAYS_14", "DAYS_30", mode));
        let (harness, now) = (ecr(world).await, whole_second());
        harness.simulator.faults().script(used(member, now));

        let read = harness.read().await;

        assert_eq!(read.scan.eligibility_expire_time, now.checked_add(DAY * 30).ok(), "{mode}");
    }
}

#[tokio::test]
async fn end_is_known_beside_findings() {
    let mut world = limited(World::enhanced());
    let scan = ScanScript::complete([EnhancedFinding::new("CVE-2024-1", "LOW").package("openssl", "3.0.1")]);
    world.push(ImageSpec::single(APP, "1").scan(scan).in_use(2, Duration::from_hours(1)));

    let scan = ecr(world).await.read().await.scan;

    assert!(scan.usage.last_in_use_time.is_some());
    assert_eq!(
        scan.eligibility_expire_time,
        scan.usage.last_in_use_time.and_then(|used| used.checked_add(DAY * 30).ok())
    );
}

#[tokio::test]
async fn end_follows_push_if_that_is_later() {
    let world = enhanced(ScanScript::clean()).with_rescan_durations(durations("DAYS_90", "DAYS_3", "LAST_IN_USE_AT"));
    let (harness, _) = in_use_now(world).await;

    let read = harness.read().await;

    let push_time = read.manifest.push_time.unwrap();
    assert_eq!(read.scan.eligibility_expire_time, push_time.checked_add(DAY * 90).ok());
}

#[tokio::test]
async fn uncertain_end_is_unknown() {
    let on_push =
        ScanningConfig { scan_type: ScanType::Enhanced, rules: Vec::new() }.rule(ScanFrequency::OnPush, &["*"]);
    let cases = [
        enhanced(ScanScript::clean()),
        limited(enhanced(ScanScript::eligibility_expired())),
        limited(enhanced(ScanScript::clean()).with_scanning(on_push)),
        limited(basic(ScanScript::clean())),
    ];
    for world in cases {
        let (harness, _) = in_use_now(world).await;

        assert_eq!(harness.read().await.scan.eligibility_expire_time, None);
    }
    assert_eq!(ecr(limited(enhanced(ScanScript::clean()))).await.read().await.scan.eligibility_expire_time, None);
}

#[tokio::test]
async fn durations_are_read_once_for_many_scans() {
    let (harness, _) = in_use_now(limited(enhanced(ScanScript::clean()))).await;

    for _ in 0..3 {
        assert!(harness.read().await.scan.eligibility_expire_time.is_some());
    }

    assert_eq!(harness.calls(GET_CONFIGURATION), 1);
}

#[tokio::test]
async fn missing_permission_is_no_error() {
    for fault in [Fault::access_denied(), Fault::ServerError500, Fault::Html(403), Fault::EmptyObject] {
        let (harness, _) = in_use_now(limited(enhanced(ScanScript::clean()))).await;
        harness.simulator.faults().script(fault.clone().on(GET_CONFIGURATION));

        let read = harness.read().await;

        assert_eq!(
            (read.scan.eligibility_expire_time, read.assessment().evidence),
            (None, Evidence::Proven),
            "{fault:?}"
        );
        let calls = harness.calls(GET_CONFIGURATION);
        harness.read().await;
        assert_eq!(harness.calls(GET_CONFIGURATION), calls, "{fault:?}");
    }
}

#[tokio::test]
async fn hanging_inspector_delays_no_scan() {
    let short = |config| Config { operation_timeout: Duration::from_secs(5), ..config };
    let harness = ecr_with(limited(enhanced(ScanScript::clean())), short).await;
    harness.simulator.faults().script(used("lastInUseAt", whole_second()));
    harness.simulator.faults().script(Fault::Hang.on(GET_CONFIGURATION));

    let read = tokio::time::timeout(Duration::from_secs(4), harness.read()).await.unwrap();

    assert_eq!(read.scan.eligibility_expire_time, None);
}
