//! The decision cache returns a decision only while a new evaluation would return the same.

use scangate_client::v1::{GetFindingsRequest, Verdict};
use scangate_ecr_simulator::{BasicFinding, ImageSpec, ScanScript, World};

use crate::harness::gate;

const IMAGE: &str = "team/app:1";

fn clean() -> World {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    world
}

#[tokio::test]
async fn newer_scan_reading_replaces_cached_decision() {
    let gate = gate(clean()).start().await;
    let first = [gate.decide(IMAGE).await.verdict(), gate.decide(IMAGE).await.verdict()];
    let worse = ScanScript::complete([BasicFinding::new("CVE-1", "CRITICAL")]);
    gate.ecr.world(|world| world.rescan("team/app", "1", worse)).unwrap();

    let cached = gate.decide(IMAGE).await;
    let fresh = GetFindingsRequest {
        image: IMAGE.to_owned(),
        max_findings_age: Some(Default::default()),
        ..Default::default()
    };
    let _ = gate.client.all_findings(fresh).await.unwrap();
    let after_read = gate.decide(IMAGE).await;

    assert_eq!(first, [Verdict::Allow; 2]);
    assert_eq!((cached.verdict(), after_read.verdict()), (Verdict::Allow, Verdict::Deny));
}
