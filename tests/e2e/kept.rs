//! Decisions that are kept are given again only where deciding again would say the same.

use scangate_client::v1::{EvaluateGateRequest, GetFindingsRequest, Policy, Severity, Verdict};
use scangate_ecr_simulator::{BasicFinding, ImageSpec, ScanScript, World};

use crate::harness::{create, gate, no_findings_from, question};

const IMAGE: &str = "team/app:1";

fn clean() -> World {
    let mut world = World::new();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    world
}

#[tokio::test]
async fn a_decision_is_made_anew_on_a_reading_that_somebody_else_has_had_since() {
    let gate = gate(clean()).start().await;
    let first = [gate.decide(IMAGE).await.verdict(), gate.decide(IMAGE).await.verdict()];
    let worse = ScanScript::complete([BasicFinding::new("CVE-1", "CRITICAL")]);
    gate.ecr.world(|world| world.rescan("team/app", "1", worse)).unwrap();

    let unread = gate.decide(IMAGE).await;
    let read = GetFindingsRequest {
        image: IMAGE.to_owned(),
        max_findings_age: Some(Default::default()),
        ..Default::default()
    };
    let _ = gate.client.all_findings(read).await.unwrap();
    let decided = gate.decide(IMAGE).await;

    assert_eq!(first, [Verdict::Allow; 2]);
    assert_eq!((unread.verdict(), decided.verdict()), (Verdict::Allow, Verdict::Deny));
}

#[tokio::test]
async fn advice_is_never_given_for_a_decision_nor_one_policys_for_anothers() {
    let mut world = clean();
    world.rescan("team/app", "1", ScanScript::complete([BasicFinding::new("CVE-1", "CRITICAL")])).unwrap();
    let gate = gate(world).start().await;
    gate.client.create_policy(create("lax", Policy::default())).await.unwrap();
    gate.client.create_policy(create("strict", no_findings_from(Severity::Low))).await.unwrap();
    let ask = async |policy: &str| {
        let asked = EvaluateGateRequest { policy: policy.to_owned(), ..question(IMAGE) };
        let decision = gate.client.evaluate(asked).await.unwrap();
        (decision.verdict(), decision.as_message().authoritative)
    };

    for _ in 0..2 {
        assert_eq!(ask("policies/lax").await, (Verdict::Allow, false));
        assert_eq!(ask("").await, (Verdict::Deny, true));
        assert_eq!(ask("policies/strict").await, (Verdict::Deny, false));
    }
}
