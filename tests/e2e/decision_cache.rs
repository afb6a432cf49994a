//! The decision cache returns a decision only while a new evaluation would return the same.

use scangate_client::v1::{EvaluateGateRequest, GetFindingsRequest, Policy, Severity, Verdict};
use scangate_ecr_simulator::{BasicFinding, ImageSpec, ScanScript, World};

use crate::harness::{deny_findings_from, evaluate_request, gate};

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

#[tokio::test]
async fn cache_separates_advice_by_policy() {
    let mut world = clean();
    world.rescan("team/app", "1", ScanScript::complete([BasicFinding::new("CVE-1", "CRITICAL")])).unwrap();
    let gate = gate(world).start().await;
    gate.create_policy("lax", Policy::default()).await;
    gate.create_policy("strict", deny_findings_from(Severity::Low)).await;
    let evaluate = async |policy: &str| {
        let request = EvaluateGateRequest { policy: policy.to_owned(), ..evaluate_request(IMAGE) };
        let decision = gate.client.evaluate(request).await.unwrap();
        (decision.verdict(), decision.as_message().authoritative)
    };

    for _ in 0..2 {
        assert_eq!(evaluate("policies/lax").await, (Verdict::Allow, false));
        assert_eq!(evaluate("").await, (Verdict::Deny, true));
        assert_eq!(evaluate("policies/strict").await, (Verdict::Deny, false));
    }
}
