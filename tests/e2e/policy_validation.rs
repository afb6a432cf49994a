//! Validation of policies: violations, notes and the dry run.

use scangate_client::{
    Code,
    v1::{
        CreatePolicyRequest, FindingCondition, GetPolicyRequest, Policy, PolicyMatch, PolicyMode,
        RollbackPolicyRequest, Rule, RuleEffect, ScanRequirements, Severity, ShortfallAction, UpdatePolicyRequest,
    },
};
use scangate_ecr_simulator::World;

use crate::harness::{create_policy_request, deny_findings_from, gate, rejection};

fn deny_rule(id: &str, when: FindingCondition) -> Rule {
    Rule { id: id.into(), when: Some(when), effect: RuleEffect::Deny.into(), ..Default::default() }
}

fn any_of(severities: &[Severity]) -> FindingCondition {
    let severities = severities.iter().map(|severity| (*severity).into()).collect();
    FindingCondition { severities, ..Default::default() }
}

#[tokio::test]
async fn rule_skipping_worse_severity_gets_note() {
    let gate = gate(World::demo()).start().await;
    let high = || deny_rule("high", any_of(&[Severity::High]));
    let openssl = FindingCondition { packages: vec!["openssl".into()], ..any_of(&[Severity::Critical]) };
    let gaps = [
        (vec![high()], Some("rule high denies HIGH but not CRITICAL")),
        (
            vec![deny_rule("low", any_of(&[Severity::Low, Severity::High]))],
            Some("denies LOW but not CRITICAL and MEDIUM"),
        ),
        (vec![high(), deny_rule("critical", openssl)], Some("rule high denies HIGH but not CRITICAL")),
        (
            vec![high(), Rule { allowed_count: 1, ..deny_rule("critical", any_of(&[Severity::Critical])) }],
            Some("not CRITICAL"),
        ),
        (vec![high(), deny_rule("critical", any_of(&[Severity::Critical]))], None),
        (vec![deny_rule("both", any_of(&[Severity::High, Severity::Critical]))], None),
        (vec![deny_rule("unrated", any_of(&[Severity::Unrated]))], None),
        (vec![Rule { effect: RuleEffect::Warn.into(), ..high() }], None),
    ];
    for (rules, expected) in gaps {
        let policy = Policy { mode: PolicyMode::Warn.into(), rules, ..Policy::default() };
        let request = CreatePolicyRequest { validate_only: true, ..create_policy_request("gap", policy.clone()) };

        let notes = gate.client.create_policy(request).await.unwrap().notes;

        let note = notes.iter().find(|note| note.starts_with("rule "));
        assert_eq!(note.is_some(), expected.is_some(), "{policy:?}: {notes:?}");
        assert!(note.is_none_or(|note| note.contains(expected.unwrap())), "{note:?}");
    }
}

#[tokio::test]
async fn replacement_of_default_is_noted_on_every_write() {
    let gate = gate(World::demo()).start().await;
    let takes_place = "takes the place of policies/default for what it matches";
    let dev = PolicyMatch { environments: vec!["dev".into()], ..Default::default() };
    let replacing = Policy { replaces_default: Some(true), r#match: Some(dev), ..Policy::default() };

    let created = gate.create_policy("dev", replacing.clone()).await;
    let stored = created.policy.unwrap();
    let later = Some(scangate_client::prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let later = Policy { effective_time: later, ..stored.clone() };
    let update = UpdatePolicyRequest { policy: Some(later), ..Default::default() };
    let updated = gate.client.update_policy(update).await.unwrap();
    let rollback =
        RollbackPolicyRequest { name: stored.name, revision: created.revision, etag: "*".into(), ..Default::default() };
    let restored = gate.client.policies().rollback_policy(rollback).await.unwrap().into_inner();

    for notes in [&created.notes, &updated.notes, &restored.notes] {
        assert!(notes[0].contains(takes_place), "{notes:?}");
        assert!(notes[1].contains("calls without an environment"), "{notes:?}");
    }
    assert!(updated.notes[2].contains("policies/default stays in its place until then"), "{:?}", updated.notes);
}

#[tokio::test]
async fn validate_only_reports_errors_without_writing() {
    let gate = gate(World::demo()).start().await;
    let valid = CreatePolicyRequest {
        validate_only: true,
        ..create_policy_request("team", deny_findings_from(Severity::High))
    };
    let taken = CreatePolicyRequest { validate_only: true, ..create_policy_request("default", Policy::default()) };

    gate.client.create_policy(valid).await.unwrap();
    let refused = rejection(gate.client.create_policy(taken).await);

    assert_eq!(
        rejection(
            gate.client.get_policy(GetPolicyRequest { name: "policies/team".into(), ..Default::default() }).await
        )
        .reason,
        "POLICY_NOT_FOUND"
    );
    assert_eq!(refused.reason, "POLICY_EXISTS");
}

#[tokio::test]
async fn policy_violations_name_field_paths() {
    let gate = gate(World::demo()).start().await;
    let rule = |id: &str, when: FindingCondition| Rule { id: id.into(), when: Some(when), ..Default::default() };
    let invalid = Policy {
        mode: 99,
        r#match: Some(PolicyMatch { repositories: vec![String::new()], ..Default::default() }),
        scan: Some(ScanRequirements { archived: ShortfallAction::StartScan.into(), ..Default::default() }),
        unrated_as: Severity::Unrated.into(),
        rules: vec![
            rule("No!", FindingCondition { min_cvss: Some(11.0), ..Default::default() }),
            rule("empty", FindingCondition::default()),
            rule("empty", FindingCondition { min_epss: Some(f64::NAN), ..Default::default() }),
        ],
        ..Default::default()
    };

    let refused = rejection(gate.client.create_policy(create_policy_request("invalid", invalid)).await);

    let mut fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "policy.match.repositories[0]",
            "policy.mode",
            "policy.rules[0].id",
            "policy.rules[0].when.min_cvss",
            "policy.rules[1].when",
            "policy.rules[2].id",
            "policy.rules[2].when.min_epss",
            "policy.scan.archived",
            "policy.unrated_as",
        ]
    );
}

#[tokio::test]
async fn invalid_expression_reports_place_and_fix() {
    let gate = gate(World::demo()).start().await;
    let mut policy = deny_findings_from(Severity::High);
    let when = policy.rules[0].when.as_mut().unwrap();
    when.expression = "finding.rated &&\n  finding.sevverity == \"HIGH\"".into();

    let refused = rejection(gate.client.create_policy(create_policy_request("words", policy)).await);

    assert_eq!(refused.code, Code::InvalidArgument);
    let [violation] = refused.violations.as_slice() else { panic!("{:?}", refused.violations) };
    assert_eq!(violation.field, "policy.rules[0].when.expression");
    for part in ["no field \"finding.sevverity\"", "(line 2, column 3)", "did you mean `finding.severity`?"] {
        assert!(violation.description.contains(part), "{}", violation.description);
    }
}
