//! Waivers from the outside: made, seen in decisions, ended, imported.

use std::time::{Duration, SystemTime};

use crate::harness::{Gate, create as create_policy, gate, no_findings_from, question, refused};
use scangate_client::{
    Code,
    prost_types::Timestamp,
    v1::{
        CreateWaiverRequest, EvaluateGateRequest, GetWaiverRequest, Grace, GraceClock, ImportWaiversRequest,
        ListWaiversRequest, RevokeWaiverRequest, Severity, UpdateWaiverRequest, Verdict, Waiver, WaiverConditions,
        WaiverScope, WaiverState,
    },
};
use scangate_ecr_simulator::{ImageSpec, ScanScript, World, generate};

/// The one finding of an image of the demo that denies it.
const CVE: &str = "CVE-2022-2274";
const IMAGE: &str = "shop/worker:3.1.0";

fn waive(vulnerability: &str) -> Waiver {
    let scope = WaiverScope { vulnerability_id: vulnerability.into(), ..Default::default() };
    Waiver { scope: Some(scope), reason: "not reachable".into(), approver: "bob".into(), ..Default::default() }
}

fn create(id: &str, waiver: Waiver) -> CreateWaiverRequest {
    CreateWaiverRequest { waiver_id: id.into(), waiver: Some(waiver), ..Default::default() }
}

fn get(name: &str) -> GetWaiverRequest {
    GetWaiverRequest { name: name.into(), ..Default::default() }
}

fn within(duration: Duration) -> Timestamp {
    (SystemTime::now() + duration).into()
}

async fn made(gate: &Gate, request: CreateWaiverRequest) -> Waiver {
    gate.client.policies().create_waiver(request).await.unwrap().into_inner().waiver.unwrap()
}

#[tokio::test]
async fn a_waived_finding_no_longer_denies_and_stays_visible_until_the_waiver_is_revoked() {
    let gate = gate(World::demo()).start().await;
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Deny);

    let waiver = made(&gate, create("accepted", waive(CVE))).await;
    let allowed = gate.decide(IMAGE).await;
    let revoke =
        RevokeWaiverRequest { name: waiver.name, etag: waiver.etag, reason: "fixed".into(), ..Default::default() };
    let revoked = gate.client.policies().revoke_waiver(revoke).await.unwrap().into_inner().waiver.unwrap();
    let denied = gate.decide(IMAGE).await;

    assert_eq!(allowed.verdict(), Verdict::Allow);
    let shown = &allowed.waived[0];
    assert_eq!((shown.waiver.as_str(), shown.reason.as_str()), ("waivers/accepted", "not reachable"));
    assert_eq!(shown.finding.as_ref().unwrap().vulnerability_id, CVE);
    assert_eq!(allowed.valid_until, shown.until);
    assert!(allowed.next_change.as_ref().unwrap().reason.contains("waivers/accepted ends"));
    assert_eq!((revoked.state(), revoked.revoke_reason.as_str()), (WaiverState::Revoked, "fixed"));
    assert_eq!(denied.verdict(), Verdict::Deny);
    assert!(denied.waived.is_empty());
}

#[tokio::test]
async fn a_waiver_ends_at_its_instant_however_warm_the_decision_is() {
    let gate = gate(World::demo()).start().await;
    let short = Waiver { expire_time: Some(within(Duration::from_secs(2))), ..waive(CVE) };
    made(&gate, create("short", short)).await;

    let before = gate.decide(IMAGE).await;
    let again = gate.decide(IMAGE).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let after = gate.decide(IMAGE).await;

    assert_eq!((before.verdict(), again.verdict(), after.verdict()), (Verdict::Allow, Verdict::Allow, Verdict::Deny));
}

#[tokio::test]
async fn an_end_of_a_waiver_can_be_tried_without_ending_it() {
    let gate = gate(World::demo()).start().await;
    let waiver = made(&gate, create("accepted", waive(CVE))).await;
    let revoke = |etag: &str| {
        let (name, etag, reason) = ("waivers/accepted".into(), etag.into(), "fixed".into());
        let request = RevokeWaiverRequest { name, etag, reason, validate_only: true, ..Default::default() };
        let mut policies = gate.client.policies();
        async move { policies.revoke_waiver(request).await }
    };

    let tried = revoke(&waiver.etag).await.unwrap().into_inner();
    let conflict = refused(revoke("p-1").await);

    assert_eq!((tried.revision, tried.waiver.unwrap().state()), (waiver.revision, WaiverState::Revoked));
    assert_eq!(conflict.code, Code::Aborted);
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn what_a_waiver_let_in_has_no_grace_when_the_waiver_ends() {
    let mut world = World::new();
    let scan = ScanScript::complete(generate::basic_of(&["LOW"], 1_200, 1));
    world.push(ImageSpec::single("team/app", "1").scan(scan));
    let gate = gate(world).start().await;
    let week = scangate_client::prost_types::Duration { seconds: 604_800, nanos: 0 };
    let mut policy = no_findings_from(Severity::Low);
    policy.rules[0].grace = Some(Grace { period: Some(week), clock: GraceClock::FirstAdmitted.into() });
    // More findings than a decision shows must be without grace to break it.
    policy.rules[0].allow = 1_100;
    gate.client.create_policy(create_policy("team", policy)).await.unwrap();
    let mut waiver = waive("*");
    waiver.scope.as_mut().unwrap().repository = "team/app".into();
    let waiver = made(&gate, create("all", waiver)).await;

    let allowed = gate.decide("team/app:1").await;
    let revoke =
        RevokeWaiverRequest { name: waiver.name, etag: waiver.etag, reason: "over".into(), ..Default::default() };
    gate.client.policies().revoke_waiver(revoke).await.unwrap();
    let denied = gate.decide("team/app:1").await;

    assert_eq!((allowed.verdict(), allowed.waived_total), (Verdict::Allow, 1_200));
    assert_eq!(allowed.next_change.as_ref().unwrap().verdict(), Verdict::Deny);
    assert_eq!(denied.verdict(), Verdict::Deny);
}

#[tokio::test]
async fn a_waiver_for_one_environment_helps_there_alone() {
    let gate = gate(World::demo()).start().await;
    let mut waiver = waive(CVE);
    waiver.scope.as_mut().unwrap().environment = "dev*".into();
    made(&gate, create("dev", waiver)).await;

    for (environment, verdict) in [("dev-1", Verdict::Allow), ("prod", Verdict::Deny), ("", Verdict::Deny)] {
        let asked = EvaluateGateRequest { environment: environment.into(), ..question(IMAGE) };
        assert_eq!(gate.client.evaluate(asked).await.unwrap().verdict(), verdict, "{environment:?}");
    }
}

#[tokio::test]
async fn everything_wrong_with_a_waiver_is_named_at_once() {
    let gate = gate(World::demo()).start().await;
    let wrong = Waiver {
        scope: Some(WaiverScope { vulnerability_id: "*".into(), digest: String::new(), ..Default::default() }),
        conditions: Some(WaiverConditions { max_epss: Some(2.0), ..Default::default() }),
        reason: " ".into(),
        ticket: "x".repeat(300),
        start_time: Some(within(Duration::from_mins(1))),
        expire_time: Some(within(Duration::from_secs(1))),
        ..Default::default()
    };

    let refused = refused(gate.client.policies().create_waiver(create("Not an id", wrong)).await);

    let mut fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "waiver.conditions.max_epss",
            "waiver.expire_time",
            "waiver.reason",
            "waiver.scope.vulnerability_id",
            "waiver.ticket",
            "waiver_id",
        ]
    );
}

#[tokio::test]
async fn a_server_that_asks_for_two_people_takes_no_less() {
    let gate =
        gate(World::demo()).flag("--waiver-needs-approver", "true").flag("--waiver-max-term", "10d").start().await;
    let by = |author: &str, approver: &str| Waiver { author: author.into(), approver: approver.into(), ..waive(CVE) };

    for (author, approver) in [("", "bob"), ("ann", ""), ("Ann", " ann ")] {
        let refused = refused(gate.client.policies().create_waiver(create("w", by(author, approver))).await);
        assert_eq!(refused.code, Code::InvalidArgument, "{author:?} {approver:?}");
    }
    let waiver = made(&gate, create("w", by("ann", "bob"))).await;
    let term = waiver.expire_time.unwrap().seconds - waiver.start_time.unwrap().seconds;

    assert_eq!(term, 10 * 86_400, "the default is no longer than the most");
}

#[tokio::test]
async fn waivers_are_listed_by_state_by_end_and_by_what_they_match() {
    let gate = gate(World::demo()).start().await;
    drop(gate.decide(IMAGE).await);
    let ends = |seconds| Waiver { expire_time: Some(within(Duration::from_secs(seconds))), ..waive(CVE) };
    made(&gate, create("soon", ends(60))).await;
    made(&gate, create("later", ends(86_400 * 20))).await;
    made(&gate, create("nothing", waive("CVE-1999-0001"))).await;
    let scheduled = Waiver { start_time: Some(within(Duration::from_hours(1))), ..waive(CVE) };
    made(&gate, create("scheduled", scheduled)).await;
    let list = async |request: ListWaiversRequest| -> Vec<String> {
        let listed = gate.client.policies().list_waivers(request).await.unwrap().into_inner();
        listed.waivers.into_iter().map(|waiver| waiver.name.replace("waivers/", "")).collect()
    };

    let expires = ListWaiversRequest {
        expires_within: Some(scangate_client::prost_types::Duration { seconds: 3600, nanos: 0 }),
        ..Default::default()
    };
    assert_eq!(list(expires).await, ["soon"]);
    assert_eq!(list(ListWaiversRequest { matches_nothing: true, ..Default::default() }).await, ["nothing"]);
    let states = vec![WaiverState::Scheduled.into()];
    assert_eq!(list(ListWaiversRequest { states, ..Default::default() }).await, ["scheduled"]);

    let first = ListWaiversRequest { page_size: 3, ..Default::default() };
    let first = gate.client.policies().list_waivers(first).await.unwrap().into_inner();
    made(&gate, create("a-new-one", waive(CVE))).await;
    let next = ListWaiversRequest { page_size: 3, page_token: first.next_page_token, ..Default::default() };
    assert_eq!(list(next).await, ["soon"], "what comes before is not told again");
}

#[tokio::test]
async fn an_update_replaces_the_waiver_that_was_read_and_no_other() {
    let gate = gate(World::demo()).start().await;
    let waiver = made(&gate, create("w", waive(CVE))).await;
    let update = |etag: &str, ticket: &str| UpdateWaiverRequest {
        waiver: Some(Waiver { etag: etag.into(), ticket: ticket.into(), ..waiver.clone() }),
        ..Default::default()
    };

    let updated = gate.client.policies().update_waiver(update(&waiver.etag, "SEC-1")).await.unwrap().into_inner();
    let stale = refused(gate.client.policies().update_waiver(update(&waiver.etag, "SEC-2")).await);
    let read = gate.client.policies().get_waiver(get("waivers/w")).await.unwrap();

    assert_eq!((stale.code, stale.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(read.into_inner().waiver, updated.waiver);
    let revoke =
        RevokeWaiverRequest { name: "waivers/w".into(), etag: "*".into(), reason: "over".into(), ..Default::default() };
    gate.client.policies().revoke_waiver(revoke.clone()).await.unwrap();
    gate.client.policies().revoke_waiver(revoke).await.unwrap();
    for validate_only in [false, true] {
        let update = UpdateWaiverRequest { validate_only, ..update("*", "SEC-3") };
        let gone = refused(gate.client.policies().update_waiver(update).await);
        assert_eq!((gone.code, gone.reason.as_str()), (Code::FailedPrecondition, "WAIVER_REVOKED"));
    }
    let made_up = refused(gate.client.policies().update_waiver(update("p-99", "SEC-4")).await);
    assert_eq!((made_up.code, made_up.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    let unknown = Waiver { name: "waivers/none".into(), etag: "*".into(), ..waiver.clone() };
    let unknown = UpdateWaiverRequest { waiver: Some(unknown), ..Default::default() };
    let unknown = refused(gate.client.policies().update_waiver(unknown).await);
    assert_eq!((unknown.code, unknown.reason.as_str()), (Code::NotFound, "WAIVER_NOT_FOUND"));
    let missing = refused(gate.client.policies().get_waiver(get("waivers/none")).await);
    assert_eq!((missing.code, missing.reason.as_str()), (Code::NotFound, "WAIVER_NOT_FOUND"));
}

#[tokio::test]
async fn a_vex_document_becomes_waivers_and_what_cannot_says_why() {
    let gate = gate(World::demo()).start().await;
    let openvex = format!(
        r#"{{
          "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "Security",
          "timestamp": "2026-01-01T00:00:00Z", "version": 1,
          "statements": [
            {{"vulnerability": {{"name": "{CVE}"}}, "products": [{{"@id": "pkg:deb/debian/openssl"}}],
              "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path"}},
            {{"vulnerability": {{"name": "CVE-2022-0001"}}, "products": [{{"@id": "pkg:deb/debian/openssl"}}],
              "status": "under_investigation"}},
            {{"vulnerability": {{"name": "CVE-2022-0002"}}, "products": [{{"@id": "pkg:deb/debian/openssl@1.1"}}],
              "status": "fixed"}}
          ]
        }}"#
    );
    let template = Waiver {
        scope: Some(WaiverScope { repository: "shop/*".into(), ..Default::default() }),
        approver: "bob".into(),
        ..Default::default()
    };
    let import = |validate_only| ImportWaiversRequest {
        openvex: openvex.clone().into_bytes(),
        template: Some(template.clone()),
        validate_only,
        ..Default::default()
    };

    let tried = gate.client.policies().import_waivers(import(true)).await.unwrap().into_inner();
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Deny);
    let imported = gate.client.policies().import_waivers(import(false)).await.unwrap().into_inner();
    let again = gate.client.policies().import_waivers(import(false)).await.unwrap().into_inner();

    assert_eq!((tried.waivers.len(), tried.skipped.len()), (1, 2));
    let waiver = &imported.waivers[0];
    let scope = waiver.scope.as_ref().unwrap();
    assert_eq!((scope.package.as_str(), scope.repository.as_str()), ("openssl", "shop/*"));
    assert!(waiver.reason.contains("vulnerable_code_not_in_execute_path"));
    assert_eq!((waiver.author.as_str(), waiver.ticket.as_str()), ("Security", "https://example.com/vex/1"));
    assert!(again.waivers.is_empty() && again.skipped.iter().any(|skipped| skipped.contains("already exists")));
    assert_eq!(gate.decide(IMAGE).await.verdict(), Verdict::Allow);

    // A package of whatever distribution, wherever: nobody has said that.
    let everywhere = ImportWaiversRequest { template: None, ..import(false) };
    let everywhere = gate.client.policies().import_waivers(everywhere).await.unwrap().into_inner();
    assert!(everywhere.waivers.is_empty());
    assert!(everywhere.skipped.iter().any(|skipped| skipped.contains("template.scope.repository")));

    // Somebody has changed their mind: that does not go unheard, however it is put and wherever it is imported for.
    let stands =
        format!("{}, from an earlier import, is contradicted by this document but still in force", waiver.name);
    let product = r#"[{"@id": "pkg:deb/debian/openssl"}]"#;
    for (doubted, is_told) in [
        (product, true),
        (r#"[{"@id": "pkg:deb/debian/OpenSSL"}]"#, true),
        (r#"[{"@id": "pkg:deb/debian/openssl@1.1"}]"#, true),
        ("[]", true),
        (r#"[{"@id": "pkg:deb/debian/zlib"}]"#, false),
    ] {
        let openvex = openvex.replacen("not_affected", "affected", 1).replacen(product, doubted, 1).into_bytes();
        let doubting = ImportWaiversRequest { openvex, template: None, ..import(false) };
        let answer = gate.client.policies().import_waivers(doubting).await.unwrap().into_inner();
        assert_eq!(answer.skipped.iter().any(|skipped| skipped.starts_with(&stands)), is_told, "{doubted}");
    }
}

#[tokio::test]
async fn what_is_written_around_a_reason_is_not_kept() {
    let gate = gate(World::demo()).start().await;
    let padded = |text: &str| format!("  {text}{}", " ".repeat(100_000));
    let waiver = Waiver { reason: padded("accepted"), author: padded("ann"), ..waive(CVE) };

    let made = made(&gate, create("padded", waiver)).await;

    assert_eq!((made.reason.as_str(), made.author.as_str()), ("accepted", "ann"));
}

#[tokio::test]
async fn what_is_no_vex_document_is_refused() {
    let gate = gate(World::demo()).start().await;

    for openvex in ["", "{}", "[1]", r#"{"@context": "https://openvex.dev/ns/v9.9.9", "statements": []}"#] {
        let import = ImportWaiversRequest { openvex: openvex.into(), ..Default::default() };
        let refused = refused(gate.client.policies().import_waivers(import).await);
        assert_eq!(
            (refused.code, refused.violations[0].field.as_str()),
            (Code::InvalidArgument, "openvex"),
            "{openvex}"
        );
    }
}
