//! Grace periods that start with the first admission of a finding.

use scangate_client::{
    Decision, prost_types,
    v1::{EvaluateGateRequest, Grace, GraceClock, Policy, PolicyMatch, RevokeWaiverRequest, Severity, Verdict},
};
use scangate_ecr_simulator::{ImageSpec, ScanScript, World, generate};

use crate::harness::{deny_findings_from, evaluate_request, gate, waiver};

const IMAGE: &str = "team/app:1";

/// An image with LOW findings, which the default policy allows.
fn world_with_low_findings() -> World {
    let mut world = World::new();
    let scan = ScanScript::complete(generate::basic_of(&["LOW"], 3, 1));
    world.push(ImageSpec::index("team/app", "1").platform("linux/amd64", scan));
    world
}

/// A policy that denies findings a week after their first admission.
fn deny_after_grace(severity: Severity) -> Policy {
    let week = prost_types::Duration { seconds: 604_800, nanos: 0 };
    let mut policy = deny_findings_from(severity);
    policy.rules[0].grace = Some(Grace { period: Some(week), clock: GraceClock::FirstAdmitted.into() });
    policy
}

#[tokio::test]
async fn admission_elsewhere_starts_no_grace() {
    let gate = gate(world_with_low_findings()).start().await;
    let request = |environment: &str| EvaluateGateRequest {
        environment: environment.into(),
        max_findings_age: Some(Default::default()),
        ..evaluate_request(IMAGE)
    };
    let production = PolicyMatch { environments: vec!["production".into()], ..Default::default() };
    let policy = Policy { r#match: Some(production), ..deny_after_grace(Severity::Informational) };

    // Only the default policy governs the environment "anywhere".
    let anywhere = gate.client.evaluate(request("anywhere")).await.unwrap();
    let unnamed = gate.evaluate(IMAGE).await.unwrap();
    gate.create_policy("production", policy).await;
    let denied = gate.client.evaluate(request("production")).await.unwrap();
    let anywhere_again = gate.client.evaluate(request("anywhere")).await.unwrap();
    let denied_again = gate.client.evaluate(request("production")).await.unwrap();

    let verdicts = [&anywhere, &unnamed, &denied, &anywhere_again, &denied_again].map(Decision::verdict);
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Allow, Verdict::Deny, Verdict::Allow, Verdict::Deny]);
}

#[tokio::test]
async fn earlier_admission_starts_grace() {
    let gate = gate(world_with_low_findings()).start().await;
    let request = EvaluateGateRequest { environment: "production".into(), ..evaluate_request(IMAGE) };

    let _ = gate.client.evaluate(request.clone()).await.unwrap();
    gate.create_policy("production", deny_after_grace(Severity::Informational)).await;
    let decision = gate.client.evaluate(request).await.unwrap().into_message();

    assert_eq!(decision.verdict(), Verdict::Allow);
    assert!(decision.warnings[0].deny_time.is_some());
}

#[tokio::test]
async fn waived_admission_starts_no_grace() {
    let mut world = World::new();
    let scan = ScanScript::complete(generate::basic_of(&["LOW"], 1_200, 1));
    world.push(ImageSpec::single("team/app", "1").scan(scan));
    let gate = gate(world).start().await;
    let mut policy = deny_after_grace(Severity::Low);
    // The rule is broken only if more findings lack grace than a decision lists.
    policy.rules[0].allowed_count = 1_100;
    policy.replaces_default = Some(true);
    gate.create_policy("team", policy).await;
    let mut waiver = waiver("*");
    let scope = waiver.scope.as_mut().unwrap();
    (scope.repository, scope.everywhere) = ("team/app".into(), None);
    let waiver = gate.create_waiver("all", waiver).await;

    let allowed = gate.decide(IMAGE).await;
    let revoke =
        RevokeWaiverRequest { name: waiver.name, etag: waiver.etag, reason: "over".into(), ..Default::default() };
    gate.client.policies().revoke_waiver(revoke).await.unwrap();
    let denied = gate.decide(IMAGE).await;

    assert_eq!((allowed.verdict(), allowed.waived_finding_count), (Verdict::Allow, 1_200));
    assert_eq!(allowed.next_change.as_ref().unwrap().verdict(), Verdict::Deny);
    assert_eq!(denied.verdict(), Verdict::Deny);
}
