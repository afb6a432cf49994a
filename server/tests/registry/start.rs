//! Starting scans.

use std::time::Duration;

use jiff::Timestamp;
use scangate_core::{
    image::Digest,
    scan::{Content, Manifest},
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, World};
use scangate_server::registry::{Error, Freshness, Registry, Started, ecr::Ecr};

use crate::support::{APP, Harness, IMAGE, basic, ecr, enhanced, reference, repository};

async fn start(harness: &Harness<Ecr>) -> Result<Started, Error> {
    let resolved = harness.registry.resolve(&reference(IMAGE), &[], Freshness::default()).await?;
    let [manifest] = resolved.manifests.as_slice() else { panic!("not one manifest") };
    harness.registry.start_scan(&repository(APP), manifest).await
}

fn quota() -> Fault {
    Fault::error("LimitExceededException", "The scan quota per image has been exceeded. Wait and try again.")
}

#[tokio::test]
async fn image_without_scan_gets_one() {
    let harness = ecr(basic(ScanScript::never())).await;

    assert_eq!(start(&harness).await.unwrap(), Started::Started);
    assert_eq!(start(&harness).await.unwrap(), Started::AlreadyInProgress);
    assert_eq!(harness.calls("StartImageScan"), 1);
}

#[tokio::test]
async fn scan_within_quota_period_returns_next_time() {
    let harness = ecr(basic(ScanScript::clean())).await;

    let started = start(&harness).await.unwrap();

    let Started::AlreadyScanned { next_scan_time: Some(at) } = started else { panic!("{started:?}") };
    let hours = at.duration_since(Timestamp::now()).as_secs_f64() / 3600.0;
    assert!((22.9..=23.1).contains(&hours), "{hours}");
    assert_eq!(harness.calls("StartImageScan"), 1, "the 24-hour rule was asked again");
}

#[tokio::test]
async fn scan_after_quota_period_starts() {
    let harness = ecr(basic(ScanScript::clean().completed_ago(Duration::from_hours(30)))).await;

    assert_eq!(start(&harness).await.unwrap(), Started::Started);
}

#[tokio::test]
async fn quota_hit_long_after_scan_names_no_time() {
    let harness = ecr(basic(ScanScript::clean().completed_ago(Duration::from_hours(30)))).await;
    harness.simulator.faults().script(quota().on("StartImageScan"));

    assert_eq!(start(&harness).await.unwrap(), Started::AlreadyScanned { next_scan_time: None });
}

#[tokio::test]
async fn quota_hit_during_scan_is_already_in_progress() {
    let harness = ecr(basic(ScanScript::running())).await;
    let unknown = Fault::error("ScanNotFoundException", "not yet");
    harness.simulator.faults().script(unknown.on("DescribeImageScanFindings").once());
    harness.simulator.faults().script(quota().on("StartImageScan"));

    assert_eq!(start(&harness).await.unwrap(), Started::AlreadyInProgress);
}

#[tokio::test]
async fn quota_hit_without_scan_has_no_next_time() {
    let harness = ecr(basic(ScanScript::never())).await;
    harness.simulator.faults().script(quota().on("StartImageScan"));

    assert_eq!(start(&harness).await.unwrap(), Started::AlreadyScanned { next_scan_time: None });
}

#[tokio::test]
async fn enhanced_scanning_is_managed_by_inspector() {
    let harness = ecr(enhanced(ScanScript::clean())).await;

    assert_eq!(start(&harness).await.unwrap(), Started::ManagedByInspector);
    assert_eq!(harness.calls("StartImageScan"), 0);
}

#[tokio::test]
async fn switch_to_enhanced_scanning_is_detected() {
    let harness = ecr(basic(ScanScript::never())).await;
    let disabled = Fault::error("ValidationException", "This feature is disabled");
    harness.simulator.faults().script(disabled.on("StartImageScan"));

    assert_eq!(start(&harness).await.unwrap(), Started::ManagedByInspector);
}

#[tokio::test]
async fn unsupported_image_is_reported_with_reason() {
    let mut world = World::new();
    world.push(ImageSpec::helm_chart(APP, "1"));

    let started = start(&ecr(world).await).await.unwrap();

    assert!(matches!(&started, Started::Unsupported(why) if why.contains("cannot be scanned")), "{started:?}");
}

#[tokio::test]
async fn archived_image_is_not_scanned() {
    let mut world = World::new();
    let digest = world.push(ImageSpec::single(APP, "1").archived()).digest;
    let harness = ecr(world).await;
    let archived = |started: &Started| matches!(started, Started::Unsupported(why) if why.contains("archived"));

    let known = start(&harness).await.unwrap();
    let digest = Digest::parse(&digest).unwrap();
    let manifest = Manifest {
        digest,
        platform: None,
        push_time: None,
        content: Content::Image,
        archived: false,
        unreadable: None,
    };
    let found_out = harness.registry.start_scan(&repository(APP), &manifest).await.unwrap();

    assert!(archived(&known), "{known:?}");
    assert!(archived(&found_out), "{found_out:?}");
    assert_eq!(harness.calls("StartImageScan"), 0);
}

#[tokio::test]
async fn throttled_start_is_retried() {
    for fault in [Fault::Throttle400, Fault::Throttle429, Fault::Throttle429Empty] {
        let harness = ecr(basic(ScanScript::never())).await;
        harness.simulator.faults().script(fault.on("StartImageScan").once());

        assert_eq!(start(&harness).await.unwrap(), Started::Started);
        assert_eq!(harness.calls("StartImageScan"), 2);
    }
}

#[tokio::test]
async fn lost_response_is_recovered_from_scan_status() {
    // The request is accepted, and its response is cut off.
    let harness = ecr(basic(ScanScript::never().takes(Duration::from_hours(1)))).await;
    harness.simulator.faults().script(Fault::CutConnection.on("StartImageScan"));

    assert_eq!(start(&harness).await.unwrap(), Started::Started);
    assert_eq!(harness.calls("StartImageScan"), 1);
}

#[tokio::test]
async fn lost_request_is_unavailable() {
    let harness = ecr(basic(ScanScript::never())).await;
    harness.simulator.faults().script(Fault::ServerError500.on("StartImageScan"));

    let error = start(&harness).await.unwrap_err();

    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(harness.calls("StartImageScan"), 1);
}
