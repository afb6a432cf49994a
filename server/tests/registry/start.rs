//! Starting scans.

use std::time::Duration;

use jiff::Timestamp;
use scangate_core::{
    image::Digest,
    scan::{Content, Manifest},
};
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, World};
use scangate_server::registry::{Error, Freshness, Registry, Started, ecr::Ecr};

use crate::support::{APP, Bench, IMAGE, basic, ecr, enhanced, reference, repository};

async fn start(bench: &Bench<Ecr>) -> Result<Started, Error> {
    let resolved = bench.registry.resolve(&reference(IMAGE), Freshness::default()).await?;
    let [manifest] = resolved.manifests.as_slice() else { panic!("not one manifest") };
    bench.registry.start_scan(&repository(APP), manifest).await
}

fn quota() -> Fault {
    Fault::error("LimitExceededException", "The scan quota per image has been exceeded. Wait and try again.")
}

#[tokio::test]
async fn an_image_without_a_scan_gets_one() {
    let bench = ecr(basic(ScanScript::never())).await;

    assert_eq!(start(&bench).await.unwrap(), Started::Started);
    assert_eq!(start(&bench).await.unwrap(), Started::AlreadyInProgress);
    assert_eq!(bench.calls("StartImageScan"), 1);
}

#[tokio::test]
async fn within_24_hours_the_answer_names_when_the_next_scan_is_possible() {
    let bench = ecr(basic(ScanScript::clean())).await;

    let started = start(&bench).await.unwrap();

    let Started::AlreadyScanned { next_possible_at: Some(at) } = started else { panic!("{started:?}") };
    let hours = at.duration_since(Timestamp::now()).as_secs_f64() / 3600.0;
    assert!((22.9..=23.1).contains(&hours), "{hours}");
    assert_eq!(bench.calls("StartImageScan"), 1, "the 24-hour rule was asked again");
}

#[tokio::test]
async fn after_24_hours_another_scan_starts() {
    let bench = ecr(basic(ScanScript::clean().completed_ago(Duration::from_hours(30)))).await;

    assert_eq!(start(&bench).await.unwrap(), Started::Started);
}

#[tokio::test]
async fn a_quota_hit_while_a_scan_runs_is_that_scan() {
    let bench = ecr(basic(ScanScript::running())).await;
    let unknown = Fault::error("ScanNotFoundException", "not yet");
    bench.simulator.faults().script(unknown.on("DescribeImageScanFindings").once());
    bench.simulator.faults().script(quota().on("StartImageScan"));

    assert_eq!(start(&bench).await.unwrap(), Started::AlreadyInProgress);
}

#[tokio::test]
async fn a_quota_hit_without_any_scan_names_no_time() {
    let bench = ecr(basic(ScanScript::never())).await;
    bench.simulator.faults().script(quota().on("StartImageScan"));

    assert_eq!(start(&bench).await.unwrap(), Started::AlreadyScanned { next_possible_at: None });
}

#[tokio::test]
async fn under_enhanced_scanning_inspector_scans_by_itself() {
    let bench = ecr(enhanced(ScanScript::clean())).await;

    assert_eq!(start(&bench).await.unwrap(), Started::ManagedContinuously);
    assert_eq!(bench.calls("StartImageScan"), 0);
}

#[tokio::test]
async fn a_registry_that_went_over_to_enhanced_scanning_says_so() {
    let bench = ecr(basic(ScanScript::never())).await;
    let disabled = Fault::error("ValidationException", "This feature is disabled");
    bench.simulator.faults().script(disabled.on("StartImageScan"));

    assert_eq!(start(&bench).await.unwrap(), Started::ManagedContinuously);
}

#[tokio::test]
async fn what_ecr_cannot_scan_is_told_with_its_words() {
    let mut world = World::new();
    world.push(ImageSpec::helm_chart(APP, "1"));

    let started = start(&ecr(world).await).await.unwrap();

    assert!(matches!(&started, Started::Unsupported(why) if why.contains("cannot be scanned")), "{started:?}");
}

#[tokio::test]
async fn an_archived_image_is_not_scanned() {
    let mut world = World::new();
    let digest = world.push(ImageSpec::single(APP, "1").archived()).digest;
    let bench = ecr(world).await;
    let archived = |started: &Started| matches!(started, Started::Unsupported(why) if why.contains("archived"));

    let known = start(&bench).await.unwrap();
    let digest = Digest::parse(&digest).unwrap();
    let manifest = Manifest { digest, platform: None, pushed_at: None, content: Content::Image, archived: false };
    let found_out = bench.registry.start_scan(&repository(APP), &manifest).await.unwrap();

    assert!(archived(&known), "{known:?}");
    assert!(archived(&found_out), "{found_out:?}");
    assert_eq!(bench.calls("StartImageScan"), 0);
}

#[tokio::test]
async fn throttling_is_asked_again() {
    for fault in [Fault::Throttle400, Fault::Throttle429, Fault::Throttle429Empty] {
        let bench = ecr(basic(ScanScript::never())).await;
        bench.simulator.faults().script(fault.on("StartImageScan").once());

        assert_eq!(start(&bench).await.unwrap(), Started::Started);
        assert_eq!(bench.calls("StartImageScan"), 2);
    }
}

#[tokio::test]
async fn an_answer_lost_on_the_way_is_looked_for_in_the_scan() {
    // The request is taken and its answer breaks off.
    let bench = ecr(basic(ScanScript::never().takes(Duration::from_hours(1)))).await;
    bench.simulator.faults().script(Fault::CutConnection.on("StartImageScan"));

    assert_eq!(start(&bench).await.unwrap(), Started::Started);
    assert_eq!(bench.calls("StartImageScan"), 1);
}

#[tokio::test]
async fn a_request_lost_on_the_way_is_an_outage() {
    let bench = ecr(basic(ScanScript::never())).await;
    bench.simulator.faults().script(Fault::ServerError500.on("StartImageScan"));

    let error = start(&bench).await.unwrap_err();

    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(bench.calls("StartImageScan"), 1);
}
