//! PreviewPolicy: recorded decisions under a draft policy or waiver.

use scangate_client::{
    Code, Rejection, prost_types,
    v1::{
        FlippedDecision, Policy, PolicyMode, PreviewPolicyRequest, PreviewPolicyResponse, RuleReference,
        ScanRequirements, Severity, ShortfallAction, Verdict, Waiver, preview_policy_request::Draft,
    },
};
use scangate_ecr_simulator::World;
use tonic::{Status, Streaming};

use crate::harness::{Gate, deny_findings_from, gate, status_rejection, waiver};

const IMAGES: [&str; 5] =
    ["shop/web:1.4.2", "shop/api:2.0.0", "shop/worker:3.1.0", "shop/gateway:1.1.0", "shop/search:5.0.0"];

/// Starts a preview over the decisions of the last hour.
async fn start_preview(gate: &Gate, draft: Draft) -> Result<Streaming<PreviewPolicyResponse>, Status> {
    let window = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let request = PreviewPolicyRequest { draft: Some(draft), window, ..Default::default() };
    Ok(gate.client.policies().preview_policy(request).await?.into_inner())
}

/// The cause as `policy/rule`, or the policy alone.
fn cause(flipped: &FlippedDecision) -> String {
    let RuleReference { policy, rule } = flipped.flipped_by.clone().unwrap();
    if rule.is_empty() { policy } else { format!("{policy}/{rule}") }
}

/// The number of replayed decisions, and the changed ones: decision, new verdict and the cause of the change.
async fn preview(gate: &Gate, draft: Draft) -> (i32, Vec<(String, Verdict, String)>) {
    let mut stream = start_preview(gate, draft).await.unwrap();
    let (mut totals, mut changed) = ((0, 0), Vec::new());
    while let Some(message) = stream.message().await.unwrap() {
        totals = (message.evaluated_count, message.flipped_count);
        let more =
            message.decisions.iter().map(|flipped| (flipped.decision.clone(), flipped.would_be(), cause(flipped)));
        changed.extend(more);
    }
    assert_eq!(usize::try_from(totals.1).unwrap(), changed.len());
    (totals.0, changed)
}

#[tokio::test]
async fn preview_lists_changed_verdicts() {
    let gate = gate(World::demo()).start().await;
    let mut names = Vec::new();
    for image in IMAGES {
        names.push(gate.decide(image).await.name.clone());
    }

    let strict = Policy { name: "policies/strict".into(), ..deny_findings_from(Severity::Low) };
    let lax = Policy { name: "policies/lax".into(), replaces_default: Some(true), ..Policy::default() };

    assert_eq!(preview(&gate, Draft::Policy(strict)).await, (5, Vec::new()), "denied decisions stay denied");
    let (replayed, changed) = preview(&gate, Draft::Policy(lax.clone())).await;
    let changed_names: Vec<&str> = changed.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!((replayed, changed_names), (5, vec![names[2].as_str(), names[0].as_str()]));
    assert!(
        changed.iter().all(|(_, would_be, by)| *would_be == Verdict::Allow && by.starts_with("policies/default/no-"))
    );
    let (_, changed) = preview(&gate, Draft::Waiver(waiver("CVE-2022-2274"))).await;
    assert_eq!(changed, [(names[2].clone(), Verdict::Allow, "policies/default/no-critical".to_owned())]);
    let later = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let lax_later = Policy { effective_time: Some(later), ..lax };
    assert_eq!(
        preview(&gate, Draft::Policy(lax_later)).await.1.len(),
        2,
        "the draft is evaluated as if it were effective"
    );
}

#[tokio::test]
async fn preview_notes_depend_on_draft_mode() {
    let gate = gate(World::demo()).start().await;
    let notes = async |mode: PolicyMode| {
        let draft = Draft::Policy(Policy { mode: mode.into(), replaces_default: Some(true), ..Policy::default() });
        let mut stream = start_preview(&gate, draft).await.unwrap();
        stream.message().await.unwrap().unwrap().notes
    };

    let (enforced, warning) = (notes(PolicyMode::Enforce).await, notes(PolicyMode::Warn).await);

    assert!(enforced[0].contains("takes the place of policies/default"), "{enforced:?}");
    assert!(warning[0].contains("never denies"), "{warning:?}");
}

#[tokio::test]
async fn changed_verdict_names_policy_that_waits() {
    let gate = gate(World::demo()).start().await;
    let shop = |scan| Policy {
        name: "policies/shop".into(),
        replaces_default: Some(true),
        scan: Some(scan),
        ..Policy::default()
    };
    let warn = ShortfallAction::Warn.into();
    let lax = shop(ScanRequirements { never_scanned: warn, scanning: warn, ..Default::default() });
    let waiting = gate.decide("shop/cart:0.9.0").await;
    gate.create_policy("shop", lax.clone()).await;
    let allowed = gate.decide("shop/search:5.0.0").await;
    assert_eq!([waiting.verdict(), allowed.verdict()], [Verdict::Indeterminate, Verdict::Allow]);

    let strict = shop(ScanRequirements {
        never_scanned: ShortfallAction::StartScan.into(),
        scanning: warn,
        ..Default::default()
    });
    let (_, changed) = preview(&gate, Draft::Policy(strict)).await;

    let expected = [
        (allowed.name.clone(), Verdict::Indeterminate, "policies/shop".to_owned()),
        (waiting.name.clone(), Verdict::Allow, "policies/default".to_owned()),
    ];
    assert_eq!(changed, expected);
}

#[tokio::test]
async fn named_draft_replaces_its_namesake() {
    let gate = gate(World::demo()).start().await;
    gate.create_waiver("w", waiver("CVE-2022-2274")).await;
    let allowed = gate.decide(IMAGES[2]).await;
    assert_eq!(allowed.verdict(), Verdict::Allow);

    let mut narrower = Waiver { name: "waivers/w".into(), ..waiver("CVE-2022-2274") };
    let scope = narrower.scope.as_mut().unwrap();
    (scope.repository, scope.everywhere) = ("elsewhere/*".into(), None);
    let (_, changed) = preview(&gate, Draft::Waiver(narrower)).await;

    assert_eq!(changed, [(allowed.name.clone(), Verdict::Deny, "policies/default/no-critical".to_owned())]);
}

#[tokio::test]
async fn invalid_draft_name_rejects_preview() {
    let gate = gate(World::demo()).start().await;
    let rejection = async |draft| -> Rejection { status_rejection(start_preview(&gate, draft).await.map(|_| ())) };

    let missing = rejection(Draft::DeletePolicy("policies/none".into())).await;
    let malformed = rejection(Draft::Policy(Policy { name: "none".into(), ..Policy::default() })).await;

    assert_eq!((missing.code, missing.reason.as_str()), (Code::NotFound, "POLICY_NOT_FOUND"));
    assert_eq!((malformed.code, malformed.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
}

#[tokio::test]
async fn unnamed_draft_replaces_no_policy() {
    let gate = gate(World::demo()).start().await;
    let strict = deny_findings_from(Severity::Informational);
    gate.create_policy("draft", strict).await;
    let denied = gate.decide(IMAGES[0]).await;
    assert_eq!(denied.verdict(), Verdict::Deny);

    let (replayed, changed) = preview(&gate, Draft::Policy(Policy::default())).await;

    assert_eq!((replayed, changed), (1, Vec::new()), "policies/draft still denies");
}
