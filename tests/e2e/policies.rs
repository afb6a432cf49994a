//! Policies: writes, lists and their effect on decisions.

use scangate_client::{
    Code,
    prost_types::FieldMask,
    v1::{
        CreatePolicyRequest, DeletePolicyRequest, EvaluateGateRequest, FindingCondition, GetPolicyRequest,
        ListPoliciesRequest, Policy, PolicyFilter, PolicyMatch, PolicyMode, Rule, RuleEffect, ScanRequirements,
        Severity, ShortfallAction, UpdatePolicyRequest, Verdict,
    },
};
use scangate_ecr_simulator::{EnhancedFinding, ImageSpec, ScanScript, World};

use crate::harness::{create_policy_request, deny_findings_from, evaluate_request, gate, rejection};

fn get(name: &str) -> GetPolicyRequest {
    GetPolicyRequest { name: name.to_owned(), ..Default::default() }
}

fn for_shop(policy: Policy) -> Policy {
    let matches = PolicyMatch { repositories: vec!["shop/*".into()], ..Default::default() };
    Policy { r#match: Some(matches), ..policy }
}

#[tokio::test]
async fn policy_applies_once_its_write_returns() {
    let gate = gate(World::demo()).start().await;
    assert_eq!(gate.decide("shop/web:1.4.2").await.verdict(), Verdict::Deny);
    let lax = Policy { replaces_default: Some(true), ..for_shop(Policy::default()) };

    let created = gate.create_policy("lax", lax).await;
    let under_lax = gate.decide("shop/web:1.4.2").await;
    let delete = DeletePolicyRequest {
        name: "policies/lax".into(),
        etag: created.policy.as_ref().unwrap().etag.clone(),
        ..Default::default()
    };
    gate.client.delete_policy(delete).await.unwrap();
    let without = gate.decide("shop/web:1.4.2").await;

    assert_eq!(under_lax.verdict(), Verdict::Allow);
    assert_eq!(under_lax.policies[0].policy, "policies/lax");
    assert!(under_lax.policies[0].replaces_default && under_lax.policies.len() == 1);
    assert!(under_lax.reasons[1].contains("takes the place of policies/default"), "{:?}", under_lax.reasons);
    assert_eq!(under_lax.revision, created.revision);
    assert!(created.notes[0].contains("takes the place of policies/default"), "{:?}", created.notes);
    assert_eq!(without.verdict(), Verdict::Deny);
}

/// A policy with a value in every field.
fn complete_policy() -> Policy {
    let scan = ScanRequirements {
        max_scan_age: Some(scangate_client::prost_types::Duration { seconds: 604_800, nanos: 0 }),
        max_basic_scan_age: Some(scangate_client::prost_types::Duration { seconds: 86_400, nanos: 0 }),
        max_source_age: Some(scangate_client::prost_types::Duration { seconds: 1_209_600, nanos: 5 }),
        never_scanned: ShortfallAction::StartScan.into(),
        unknown: ShortfallAction::Warn.into(),
        ..Default::default()
    };
    let filter = FindingCondition {
        min_severity: Severity::Medium.into(),
        severities: vec![Severity::Unrated.into()],
        min_cvss: Some(7.5),
        min_epss: Some(0.25),
        vulnerability_ids: vec!["CVE-2021-*".into()],
        packages: vec!["openssl*".into()],
        package_managers: vec!["OS".into()],
        ..Default::default()
    };
    let rule = Rule {
        id: "complete".into(),
        description: "Upgrade the package.".into(),
        when: Some(filter),
        allowed_count: 3,
        effect: RuleEffect::Warn.into(),
        waivable: Some(false),
        grace: None,
    };
    Policy {
        description: "All fields.".into(),
        mode: PolicyMode::Warn.into(),
        scan: Some(scan),
        rules: vec![rule],
        unrated_as: Severity::Critical.into(),
        honor_suppression: Some(true),
        replaces_default: Some(true),
        ..for_shop(Policy::default())
    }
}

#[tokio::test]
async fn stored_policy_equals_written_policy() {
    let gate = gate(World::demo()).start().await;
    let written = complete_policy();

    gate.create_policy("whole", written.clone()).await;
    let read = gate.client.get_policy(get("policies/whole")).await.unwrap().policy.unwrap();

    let stripped = Policy {
        name: String::new(),
        etag: String::new(),
        revision: String::new(),
        content_digest: String::new(),
        create_time: None,
        update_time: None,
        update_author: String::new(),
        ..read.clone()
    };
    assert_eq!(stripped, written);
    assert_eq!((read.content_digest.len(), read.update_author.as_str()), (64, "anonymous"));
}

#[tokio::test]
async fn policy_without_replacement_only_tightens() {
    let gate = gate(World::demo()).start().await;
    let before = gate.decide("shop/web:1.4.2").await;
    let written = gate.create_policy("team", for_shop(Policy::default())).await;

    let after = gate.decide("shop/web:1.4.2").await;

    assert_eq!([before.verdict(), after.verdict()], [Verdict::Deny; 2]);
    let names: Vec<&str> = after.policies.iter().map(|reference| reference.policy.as_str()).collect();
    assert_eq!(names, ["policies/default", "policies/team"]);
    assert!(after.policies.iter().all(|policy| !policy.replaces_default));
    assert_eq!(written.notes, Vec::<String>::new());
}

#[tokio::test]
async fn malicious_package_denies_under_default() {
    let finding = EnhancedFinding::new("MAL-2026-1234", "UNTRIAGED").package("leftpad", "9.9.9");
    let mut world = World::enhanced();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(vec![finding])));
    let gate = gate(world).start().await;

    let decision = gate.decide("team/app:1").await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert!(decision.violations.iter().any(|violation| violation.rule == "no-malicious"), "{:?}", decision.violations);
}

#[tokio::test]
async fn update_with_stale_or_missing_etag_is_rejected() {
    let gate = gate(World::demo()).start().await;
    let created = gate.create_policy("team", deny_findings_from(Severity::High)).await;
    let created = created.policy.unwrap();
    let update = |policy: Policy| UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
    let concurrent = Policy { description: "concurrent".into(), ..created.clone() };
    gate.client.update_policy(update(concurrent)).await.unwrap();

    let refused = rejection(gate.client.update_policy(update(Policy { description: "stale".into(), ..created })).await);
    let without_etag = Policy { name: "policies/team".into(), ..deny_findings_from(Severity::Low) };
    let missing_etag = rejection(gate.client.update_policy(update(without_etag)).await);

    assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(missing_etag.violations[0].field, "policy.etag");
    let stored = gate.client.get_policy(get("policies/team")).await.unwrap().policy.unwrap();
    assert_eq!(stored.description, "concurrent");
}

#[tokio::test]
async fn request_id_applies_once_and_rejects_reuse() {
    let gate = gate(World::demo()).start().await;
    let request = CreatePolicyRequest {
        request_id: "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f".into(),
        ..create_policy_request("team", deny_findings_from(Severity::High))
    };

    let first = gate.client.create_policy(request.clone()).await.unwrap();
    let again = gate.client.create_policy(request).await.unwrap();
    let other = CreatePolicyRequest {
        request_id: "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f".into(),
        ..create_policy_request("other", deny_findings_from(Severity::Low))
    };
    let refused = rejection(gate.client.create_policy(other).await);

    assert_eq!(first.policy, again.policy);
    assert_eq!(first.revision, again.revision);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn default_policy_stays_present_and_unrestricted() {
    let gate = gate(World::demo()).start().await;
    let default = gate.client.get_policy(get("policies/default")).await.unwrap().policy.unwrap();
    let update = |policy: Policy| UpdatePolicyRequest { policy: Some(policy), ..Default::default() };

    let off = Policy { mode: PolicyMode::Off.into(), replaces_default: Some(true), ..for_shop(default.clone()) };
    let refused = rejection(gate.client.update_policy(update(off)).await);
    let delete =
        DeletePolicyRequest { name: "policies/default".into(), etag: default.etag.clone(), ..Default::default() };
    let undeleted = rejection(gate.client.delete_policy(delete).await);
    let without_rules = UpdatePolicyRequest {
        update_mask: Some(FieldMask { paths: vec!["rules".into()] }),
        ..update(Policy { rules: Vec::new(), ..default })
    };
    gate.client.update_policy(without_rules).await.unwrap();

    let fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["policy.match", "policy.mode", "policy.replaces_default"]);
    assert_eq!(undeleted.reason, "DEFAULT_POLICY_REQUIRED");
    assert_eq!(gate.decide("shop/web:1.4.2").await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn stored_expression_is_verbatim_and_enforced() {
    let gate = gate(World::demo()).start().await;
    let policy_with = |expression: &str| Policy {
        rules: vec![Rule {
            id: "expression".into(),
            when: Some(FindingCondition { expression: expression.into(), ..Default::default() }),
            ..Default::default()
        }],
        replaces_default: Some(true),
        ..for_shop(deny_findings_from(Severity::High))
    };
    let kernel = "finding.severity >= \"MEDIUM\" &&\n  finding.package.name.startsWith(\"linux\")";
    let nothing = "finding.package.name == \"no-such-package\"";

    let written = gate.create_policy("words", policy_with(kernel)).await;
    let denied = gate.decide("shop/web:1.4.2").await;
    let policy = written.policy.unwrap();
    let looser = Policy { etag: policy.etag.clone(), name: policy.name.clone(), ..policy_with(nothing) };
    let update = UpdatePolicyRequest { policy: Some(looser), ..Default::default() };
    gate.client.update_policy(update).await.unwrap();
    let allowed = gate.decide("shop/web:1.4.2").await;

    assert_eq!(policy.rules[0].when.as_ref().unwrap().expression, kernel);
    assert_eq!(denied.verdict(), Verdict::Deny);
    assert_eq!(allowed.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn policy_list_is_ordered_filtered_and_paged() {
    let gate = gate(World::demo()).start().await;
    for id in ["c", "a", "b"] {
        gate.create_policy(id, for_shop(deny_findings_from(Severity::High))).await;
    }
    let elsewhere = PolicyMatch { repositories: vec!["other/*".into()], ..Default::default() };
    let elsewhere = Policy { r#match: Some(elsewhere), ..deny_findings_from(Severity::Low) };
    gate.create_policy("elsewhere", elsewhere).await;

    let listed = gate
        .client
        .list_policies(ListPoliciesRequest {
            page_size: 2,
            filter: Some(PolicyFilter { repository: "shop/web".into(), ..Default::default() }),
            ..Default::default()
        })
        .await
        .unwrap();

    let names: Vec<&str> = listed.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["policies/a", "policies/b", "policies/c", "policies/default"]);
}

#[tokio::test]
async fn freshness_token_is_honoured_or_rejected() {
    let gate = gate(World::demo()).start().await;
    let written = gate.create_policy("team", deny_findings_from(Severity::High)).await;
    let seen =
        EvaluateGateRequest { at_least_as_fresh: written.revision.clone(), ..evaluate_request("shop/api:2.0.0") };
    let unseen = EvaluateGateRequest { at_least_as_fresh: "rev-1000000".into(), ..evaluate_request("shop/api:2.0.0") };

    assert_eq!(gate.client.evaluate(seen).await.unwrap().as_message().revision, written.revision);
    let refused = rejection(gate.client.evaluate(unseen).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "REVISION_NOT_REACHED"));
}

#[tokio::test]
async fn revision_in_other_form_is_refused() {
    let gate = gate(World::demo()).start().await;

    for at_least_as_fresh in ["1", "rev-", "rev-01", "rev-+1", "rev-1 ", "REV-1", "rev--1", "rev-18446744073709551616"]
    {
        let at_least_as_fresh = at_least_as_fresh.to_owned();
        let request = EvaluateGateRequest { at_least_as_fresh, ..evaluate_request("shop/api:2.0.0") };
        let refused = rejection(gate.client.evaluate(request).await);
        assert_eq!(refused.violations[0].field, "at_least_as_fresh", "{refused:?}");
    }
}
