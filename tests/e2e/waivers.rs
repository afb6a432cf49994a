//! Waivers: creation, effect on decisions, update, revocation and lists.

use std::time::{Duration, SystemTime};

use scangate_client::{
    Code, prost_types,
    v1::{
        EvaluateGateRequest, GetWaiverRequest, ListWaiversRequest, RevokeWaiverRequest, UpdateWaiverRequest, Verdict,
        Waiver, WaiverConditions, WaiverFilter, WaiverScope, WaiverState,
    },
};
use scangate_ecr_simulator::World;

use crate::harness::{Gate, create_waiver_request, evaluate_request, gate, status_rejection, waiver};

/// The only finding that denies [`IMAGE`] in the demo.
const CVE: &str = "CVE-2022-2274";
const IMAGE: &str = "shop/worker:3.1.0";

fn get(name: &str) -> GetWaiverRequest {
    GetWaiverRequest { name: name.into(), ..Default::default() }
}

fn in_future(duration: Duration) -> prost_types::Timestamp {
    (SystemTime::now() + duration).into()
}

#[tokio::test]
async fn waiver_covers_finding_until_revoked() {
    let gate = gate(World::demo()).start().await;
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Deny);

    // It ends before the scan becomes too old for the default.
    let waiver = Waiver { expire_time: Some(in_future(Duration::from_hours(24))), ..waiver(CVE) };
    let waiver = gate.create_waiver("accepted", waiver).await;
    let allowed = gate.decide(IMAGE).await;
    let revoke =
        RevokeWaiverRequest { name: waiver.name, etag: waiver.etag, reason: "fixed".into(), ..Default::default() };
    let revoked = gate.client.policies().revoke_waiver(revoke).await.unwrap().into_inner().waiver.unwrap();
    let denied = gate.decide(IMAGE).await;

    assert_eq!(allowed.verdict(), Verdict::Allow);
    let shown = &allowed.waived_findings[0];
    assert_eq!(
        (shown.waivers[0].waiver.as_str(), shown.waivers[0].reason.as_str()),
        ("waivers/accepted", "not reachable")
    );
    assert_eq!(shown.finding.as_ref().unwrap().vulnerability_id, CVE);
    assert_eq!(allowed.expire_time, shown.expire_time);
    assert!(allowed.next_change.as_ref().unwrap().reason.contains("waivers/accepted ends"));
    assert_eq!((revoked.state(), revoked.revoke_reason.as_str()), (WaiverState::Revoked, "fixed"));
    assert_eq!(denied.verdict(), Verdict::Deny);
    assert!(denied.waived_findings.is_empty());
}

#[tokio::test]
async fn cached_decision_ends_with_its_waiver() {
    let gate = gate(World::demo()).start().await;
    let short = Waiver { expire_time: Some(in_future(Duration::from_secs(2))), ..waiver(CVE) };
    gate.create_waiver("short", short).await;

    let before = gate.decide(IMAGE).await;
    let again = gate.decide(IMAGE).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let after = gate.decide(IMAGE).await;

    assert_eq!((before.verdict(), again.verdict(), after.verdict()), (Verdict::Allow, Verdict::Allow, Verdict::Deny));
}

#[tokio::test]
async fn revoke_dry_run_keeps_waiver_active() {
    let gate = gate(World::demo()).start().await;
    let waiver = gate.create_waiver("accepted", waiver(CVE)).await;
    let revoke = |etag: &str| {
        let (name, etag, reason) = ("waivers/accepted".into(), etag.into(), "fixed".into());
        let request = RevokeWaiverRequest { name, etag, reason, validate_only: true, ..Default::default() };
        let mut policies = gate.client.policies();
        async move { policies.revoke_waiver(request).await }
    };

    let previewed = revoke(&waiver.etag).await.unwrap().into_inner();
    let conflict = status_rejection(revoke("p-1").await);

    assert_eq!((previewed.revision, previewed.waiver.unwrap().state()), (waiver.revision, WaiverState::Revoked));
    assert_eq!(conflict.code, Code::Aborted);
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn waiver_covers_only_its_environment() {
    let gate = gate(World::demo()).start().await;
    let mut waiver = waiver(CVE);
    let scope = waiver.scope.as_mut().unwrap();
    (scope.environment, scope.everywhere) = ("dev*".into(), None);
    gate.create_waiver("dev", waiver).await;

    for (environment, verdict) in [("dev-1", Verdict::Allow), ("prod", Verdict::Deny), ("", Verdict::Deny)] {
        let request = EvaluateGateRequest { environment: environment.into(), ..evaluate_request(IMAGE) };
        assert_eq!(gate.client.evaluate(request).await.unwrap().verdict(), verdict, "{environment:?}");
    }
}

#[tokio::test]
async fn waiver_violations_are_reported_together() {
    let gate = gate(World::demo()).start().await;
    let invalid = Waiver {
        scope: Some(WaiverScope {
            vulnerability_id: "*".into(),
            environment: "prod".into(),
            everywhere: Some(true),
            ..Default::default()
        }),
        conditions: Some(WaiverConditions { max_epss: Some(2.0), ..Default::default() }),
        reason: " ".into(),
        ticket: "x".repeat(300),
        start_time: Some(in_future(Duration::from_mins(1))),
        expire_time: Some(in_future(Duration::from_secs(1))),
        ..Default::default()
    };

    let refused =
        status_rejection(gate.client.policies().create_waiver(create_waiver_request("Not an id", invalid)).await);

    let mut fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "waiver.conditions.max_epss",
            "waiver.expire_time",
            "waiver.reason",
            "waiver.scope.everywhere",
            "waiver.scope.vulnerability_id",
            "waiver.ticket",
            "waiver_id",
        ]
    );
}

#[tokio::test]
async fn default_term_is_capped_at_maximum() {
    let gate = gate(World::demo()).flag("--waiver-max-term", "10d").start().await;

    let waiver = gate.create_waiver("w", waiver(CVE)).await;

    let term = waiver.expire_time.unwrap().seconds - waiver.start_time.unwrap().seconds;
    assert_eq!(term, 10 * 86_400);
}

/// A gate with two waivers that end at different times, one without a matching finding and one that has not started.
async fn gate_with_four_waivers() -> Gate {
    let gate = gate(World::demo()).start().await;
    drop(gate.decide(IMAGE).await);
    let ends = |seconds| Waiver { expire_time: Some(in_future(Duration::from_secs(seconds))), ..waiver(CVE) };
    let scheduled = Waiver { start_time: Some(in_future(Duration::from_hours(1))), ..waiver(CVE) };
    for (id, waiver) in [
        ("soon", ends(60)),
        ("later", ends(86_400 * 20)),
        ("nothing", waiver("CVE-1999-0001")),
        ("scheduled", scheduled),
    ] {
        gate.create_waiver(id, waiver).await;
    }
    gate
}

/// The ids of the listed waivers, and the token of the next page.
async fn list(gate: &Gate, request: ListWaiversRequest) -> (Vec<String>, String) {
    let page = gate.client.policies().list_waivers(request).await.unwrap().into_inner();
    let ids = page.waivers.into_iter().map(|waiver| waiver.name.replace("waivers/", "")).collect();
    (ids, page.next_page_token)
}

fn selected(filter: WaiverFilter) -> ListWaiversRequest {
    ListWaiversRequest { filter: Some(filter), ..Default::default() }
}

#[tokio::test]
async fn waiver_filters_select_by_state_end_and_use() {
    let gate = gate_with_four_waivers().await;
    let hour = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let states = vec![WaiverState::Scheduled.into()];

    let expiring = selected(WaiverFilter { expires_within: hour, ..Default::default() });
    let unused = selected(WaiverFilter { matches_findings: Some(false), ..Default::default() });
    let used = selected(WaiverFilter { matches_findings: Some(true), ..Default::default() });
    let scheduled = selected(WaiverFilter { states, ..Default::default() });

    assert_eq!(list(&gate, expiring).await.0, ["soon"]);
    assert_eq!(list(&gate, unused).await.0, ["nothing"]);
    assert_eq!(list(&gate, used).await.0.len(), 3);
    assert_eq!(list(&gate, scheduled).await.0, ["scheduled"]);
}

#[tokio::test]
async fn waiver_pages_skip_waivers_inserted_before_token() {
    let gate = gate_with_four_waivers().await;

    let (_, page_token) = list(&gate, ListWaiversRequest { page_size: 3, ..Default::default() }).await;
    gate.create_waiver("a-new-one", waiver(CVE)).await;
    let next = ListWaiversRequest { page_size: 3, page_token, ..Default::default() };

    assert_eq!(list(&gate, next).await.0, ["soon"]);
}

fn update(waiver: &Waiver, etag: &str, ticket: &str) -> UpdateWaiverRequest {
    let waiver = Waiver { etag: etag.into(), ticket: ticket.into(), ..waiver.clone() };
    UpdateWaiverRequest { waiver: Some(waiver), ..Default::default() }
}

#[tokio::test]
async fn waiver_update_needs_current_etag() {
    let gate = gate(World::demo()).start().await;
    let waiver = gate.create_waiver("w", waiver(CVE)).await;
    let mut policies = gate.client.policies();

    let updated = policies.update_waiver(update(&waiver, &waiver.etag, "SEC-1")).await.unwrap().into_inner();
    let stale = status_rejection(policies.update_waiver(update(&waiver, &waiver.etag, "SEC-2")).await);
    let read = policies.get_waiver(get("waivers/w")).await.unwrap();

    assert_eq!((stale.code, stale.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(read.into_inner().waiver, updated.waiver);
}

#[tokio::test]
async fn revoked_waiver_rejects_updates() {
    let gate = gate(World::demo()).start().await;
    let waiver = gate.create_waiver("w", waiver(CVE)).await;
    let mut policies = gate.client.policies();
    let revoke =
        RevokeWaiverRequest { name: "waivers/w".into(), etag: "*".into(), reason: "over".into(), ..Default::default() };
    policies.update_waiver(update(&waiver, "*", "SEC-1")).await.unwrap();
    policies.revoke_waiver(revoke.clone()).await.unwrap();
    policies.revoke_waiver(revoke).await.unwrap();

    for validate_only in [false, true] {
        let request = UpdateWaiverRequest { validate_only, ..update(&waiver, "*", "SEC-3") };
        let refused = status_rejection(policies.update_waiver(request).await);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "WAIVER_REVOKED"));
    }
    let invented = status_rejection(policies.update_waiver(update(&waiver, "p-99", "SEC-4")).await);
    assert_eq!((invented.code, invented.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
}

#[tokio::test]
async fn missing_waiver_is_not_found() {
    let gate = gate(World::demo()).start().await;
    let mut policies = gate.client.policies();
    let unknown = Waiver { name: "waivers/none".into(), ..waiver(CVE) };

    let updated = status_rejection(policies.update_waiver(update(&unknown, "*", "SEC-1")).await);
    let read = status_rejection(policies.get_waiver(get("waivers/none")).await);

    for refused in [updated, read] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, "WAIVER_NOT_FOUND"));
    }
}

#[tokio::test]
async fn waiver_text_is_trimmed() {
    let gate = gate(World::demo()).start().await;
    let padded = |text: &str| format!("  {text}{}", " ".repeat(100_000));
    let waiver = Waiver { reason: padded("accepted"), ticket: padded("SEC-1"), ..waiver(CVE) };

    let created = gate.create_waiver("padded", waiver).await;

    assert_eq!((created.reason.as_str(), created.ticket.as_str()), ("accepted", "SEC-1"));
}

#[tokio::test]
async fn waiver_without_place_must_say_everywhere() {
    let gate = gate(World::demo()).start().await;
    let scope = |repository: &str, environment: &str, everywhere: bool| WaiverScope {
        vulnerability_id: CVE.into(),
        repository: repository.into(),
        environment: environment.into(),
        everywhere: everywhere.then_some(true),
        ..Default::default()
    };

    for (scope, refused_field) in [
        (scope("", "", false), Some("waiver.scope")),
        (scope("*", "**", false), Some("waiver.scope")),
        (scope("shop/*", "", true), Some("waiver.scope.everywhere")),
        (scope("*", "", true), None),
        (scope("shop/*", "", false), None),
        (scope("", "prod", false), None),
    ] {
        let request = create_waiver_request("", Waiver { scope: Some(scope.clone()), ..waiver(CVE) });
        let created = gate.client.policies().create_waiver(request).await;
        match (created, refused_field) {
            (Ok(created), None) => assert_eq!(created.into_inner().waiver.unwrap().scope, Some(scope)),
            (created, field) => {
                let refused = status_rejection(created);
                assert_eq!(Some(refused.violations[0].field.as_str()), field, "{scope:?}");
            }
        }
    }
}

#[tokio::test]
async fn waiver_that_can_match_nothing_is_noted() {
    let gate = gate(World::demo()).start().await;
    drop(gate.decide(IMAGE).await);

    for (id, part) in [
        (CVE, None),
        ("CVE-2022-*", None),
        ("CVE-2026-38", Some("this gate has seen no finding")),
        ("CVE-2026-38 exp:2026-12-31", Some("set the end of a waiver as its expire_time")),
        ("cve-2022-2274", Some("waivers compare ids exactly")),
        (" CVE-2022-2274", Some("can match nothing")),
    ] {
        let request = create_waiver_request("", waiver(id));
        let created = gate.client.policies().create_waiver(request).await.unwrap().into_inner();

        assert_eq!(created.notes.len(), usize::from(part.is_some()), "{id}: {:?}", created.notes);
        assert!(part.is_none_or(|part| created.notes[0].contains(part)), "{id}: {:?}", created.notes);
        assert_eq!(created.waiver.unwrap().matches_findings, Some(part.is_none()), "{id}");
    }
    let waiver = gate.create_waiver("w", waiver(CVE)).await;
    let mut misspelt = update(&waiver, &waiver.etag, "");
    misspelt.waiver.as_mut().unwrap().scope.as_mut().unwrap().package = "open ssl".into();
    let updated = gate.client.policies().update_waiver(misspelt).await.unwrap().into_inner();
    assert!(updated.notes[0].contains("package names have no white space"), "{:?}", updated.notes);
}
