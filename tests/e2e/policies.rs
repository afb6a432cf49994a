//! The shared policy store from the outside.

use scangate_client::{
    Code,
    v1::{
        CreatePolicyRequest, DeletePolicyRequest, EvaluateGateRequest, FindingFilter, GetPolicyRequest, Grace,
        GraceClock, ListPoliciesRequest, Policy, PolicyMatch, PolicyMode, Rule, RuleEffect, ScanRequirements, Severity,
        ShortfallAction, UpdatePolicyRequest, Verdict,
    },
};
use scangate_ecr_simulator::{ImageSpec, ScanScript, World, generate};

use crate::harness::{create, gate, no_findings_from, question, rejection};

fn get(name: &str) -> GetPolicyRequest {
    GetPolicyRequest { name: name.to_owned(), ..Default::default() }
}

fn for_shop(policy: Policy) -> Policy {
    let matches = PolicyMatch { repositories: vec!["shop/*".into()], ..Default::default() };
    Policy { r#match: Some(matches), ..policy }
}

#[tokio::test]
async fn a_policy_is_in_force_from_the_answer_to_its_write_on() {
    let gate = gate(World::demo()).start().await;
    assert_eq!(gate.decide("shop/web:1.4.2").await.verdict(), Verdict::Deny);
    let lax = Policy { rules: Vec::new(), ..for_shop(Policy::default()) };

    let created = gate.client.create_policy(create("lax", lax)).await.unwrap();
    let under_lax = gate.decide("shop/web:1.4.2").await;
    let delete = DeletePolicyRequest {
        name: "policies/lax".into(),
        etag: created.policy.as_ref().unwrap().etag.clone(),
        ..Default::default()
    };
    gate.client.delete_policy(delete).await.unwrap();
    let without = gate.decide("shop/web:1.4.2").await;

    assert_eq!(under_lax.verdict(), Verdict::Allow);
    assert_eq!(under_lax.policies[0].name, "policies/lax");
    assert_eq!(under_lax.revision, created.revision);
    assert!(created.notes[0].contains("policies/default"));
    assert_eq!(without.verdict(), Verdict::Deny);
}

fn denying(id: &str, when: FindingFilter) -> Rule {
    Rule { id: id.into(), when: Some(when), effect: RuleEffect::Deny.into(), ..Default::default() }
}

fn listed(severities: &[Severity]) -> FindingFilter {
    let severities = severities.iter().map(|severity| (*severity).into()).collect();
    FindingFilter { severities, ..Default::default() }
}

#[tokio::test]
async fn a_rule_that_worse_findings_pass_by_is_noted() {
    let gate = gate(World::demo()).start().await;
    let high = || denying("high", listed(&[Severity::High]));
    let openssl = FindingFilter { packages: vec!["openssl".into()], ..listed(&[Severity::Critical]) };
    let gaps = [
        (vec![high()], Some("rule high denies HIGH but not CRITICAL")),
        (
            vec![denying("low", listed(&[Severity::Low, Severity::High]))],
            Some("denies LOW but not CRITICAL and MEDIUM"),
        ),
        (vec![high(), denying("critical", openssl)], Some("rule high denies HIGH but not CRITICAL")),
        (vec![high(), Rule { allow: 1, ..denying("critical", listed(&[Severity::Critical])) }], Some("not CRITICAL")),
        (vec![high(), denying("critical", listed(&[Severity::Critical]))], None),
        (vec![denying("both", listed(&[Severity::High, Severity::Critical]))], None),
        (vec![denying("unrated", listed(&[Severity::Unrated]))], None),
        (vec![Rule { effect: RuleEffect::Warn.into(), ..high() }], None),
    ];
    for (rules, expected) in gaps {
        let policy = Policy { mode: PolicyMode::Warn.into(), rules, ..Policy::default() };
        let request = CreatePolicyRequest { validate_only: true, ..create("gap", policy.clone()) };

        let notes = gate.client.create_policy(request).await.unwrap().notes;

        let told = notes.iter().find(|note| note.starts_with("rule "));
        assert_eq!(told.is_some(), expected.is_some(), "{policy:?}: {notes:?}");
        assert!(told.is_none_or(|told| told.contains(expected.unwrap())), "{told:?}");
    }
}

/// An image that the default policy allows, though it has findings.
fn with_low_findings() -> World {
    let mut world = World::new();
    let scan = ScanScript::complete(generate::basic_of(&["LOW"], 3, 1));
    world.push(ImageSpec::index("team/app", "1").platform("linux/amd64", scan));
    world
}

#[tokio::test]
async fn what_is_allowed_elsewhere_starts_no_grace() {
    let gate = gate(with_low_findings()).start().await;
    let of = |environment: &str| EvaluateGateRequest {
        environment: environment.into(),
        max_findings_age: Some(Default::default()),
        ..question("team/app:1")
    };
    let week = scangate_client::prost_types::Duration { seconds: 604_800, nanos: 0 };
    let grace = Grace { period: Some(week), clock: GraceClock::FirstAdmitted.into() };
    let mut policy = no_findings_from(Severity::Informational);
    policy.rules[0].grace = Some(grace);
    let production = PolicyMatch { environments: vec!["production".into()], ..Default::default() };
    let policy = Policy { r#match: Some(production), ..policy };

    // Somewhere that nobody has ever heard of, where the default alone governs.
    let anywhere = gate.client.evaluate(of("anywhere")).await.unwrap();
    let unnamed = gate.evaluate("team/app:1").await.unwrap();
    gate.client.create_policy(create("production", policy)).await.unwrap();
    let denied = gate.client.evaluate(of("production")).await.unwrap();
    let again = gate.client.evaluate(of("anywhere")).await.unwrap();
    let still = gate.client.evaluate(of("production")).await.unwrap();

    let verdicts = [&anywhere, &unnamed, &denied, &again, &still].map(scangate_client::Decision::verdict);
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Allow, Verdict::Deny, Verdict::Allow, Verdict::Deny]);
}

#[tokio::test]
async fn what_was_let_in_before_the_rule_has_its_grace() {
    let gate = gate(with_low_findings()).start().await;
    let asked = EvaluateGateRequest { environment: "production".into(), ..question("team/app:1") };
    let week = scangate_client::prost_types::Duration { seconds: 604_800, nanos: 0 };
    let mut policy = no_findings_from(Severity::Informational);
    policy.rules[0].grace = Some(Grace { period: Some(week), clock: GraceClock::FirstAdmitted.into() });

    let _ = gate.client.evaluate(asked.clone()).await.unwrap();
    gate.client.create_policy(create("production", policy)).await.unwrap();
    let decision = gate.client.evaluate(asked).await.unwrap().into_message();

    assert_eq!(decision.verdict(), Verdict::Allow);
    assert!(decision.warnings[0].denies_from.is_some());
}

#[tokio::test]
async fn a_stored_policy_comes_back_as_it_was_written() {
    let gate = gate(World::demo()).start().await;
    let scan = ScanRequirements {
        max_scan_age: Some(scangate_client::prost_types::Duration { seconds: 604_800, nanos: 0 }),
        never_scanned: ShortfallAction::StartScan.into(),
        unknown: ShortfallAction::Warn.into(),
        ..Default::default()
    };
    let filter = FindingFilter {
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
        id: "all-of-it".into(),
        description: "What to do.".into(),
        when: Some(filter),
        allow: 3,
        effect: RuleEffect::Warn.into(),
        waivable: Some(false),
        grace: None,
    };
    let written = Policy {
        description: "Everything at once.".into(),
        mode: PolicyMode::Warn.into(),
        scan: Some(scan),
        rules: vec![rule],
        unrated_as: Severity::Critical.into(),
        honour_suppression: true,
        ..for_shop(Policy::default())
    };

    gate.client.create_policy(create("whole", written.clone())).await.unwrap();
    let read = gate.client.get_policy(get("policies/whole")).await.unwrap().policy.unwrap();

    let stripped = Policy {
        name: String::new(),
        etag: String::new(),
        revision: 0,
        content_digest: String::new(),
        create_time: None,
        update_time: None,
        ..read.clone()
    };
    assert_eq!(stripped, written);
    assert_eq!(read.content_digest.len(), 64);
}

#[tokio::test]
async fn a_write_over_somebody_elses_is_refused() {
    let gate = gate(World::demo()).start().await;
    let mine = gate.client.create_policy(create("team", no_findings_from(Severity::High))).await.unwrap();
    let mine = mine.policy.unwrap();
    let update = |policy: Policy| UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
    let theirs = Policy { description: "theirs".into(), ..mine.clone() };
    gate.client.update_policy(update(theirs)).await.unwrap();

    let refused = rejection(gate.client.update_policy(update(Policy { description: "mine".into(), ..mine })).await);
    let without = Policy { name: "policies/team".into(), ..no_findings_from(Severity::Low) };
    let unconditional = rejection(gate.client.update_policy(update(without)).await);

    assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(unconditional.violations[0].field, "policy.etag");
    let kept = gate.client.get_policy(get("policies/team")).await.unwrap().policy.unwrap();
    assert_eq!(kept.description, "theirs");
}

#[tokio::test]
async fn a_retry_of_a_write_does_not_act_twice_and_a_reused_id_is_refused() {
    let gate = gate(World::demo()).start().await;
    let request = CreatePolicyRequest { request_id: "once".into(), ..create("team", no_findings_from(Severity::High)) };

    let first = gate.client.create_policy(request.clone()).await.unwrap();
    let again = gate.client.create_policy(request).await.unwrap();
    let other = CreatePolicyRequest { request_id: "once".into(), ..create("other", no_findings_from(Severity::Low)) };
    let refused = rejection(gate.client.create_policy(other).await);

    assert_eq!(first.policy, again.policy);
    assert_eq!(first.revision, again.revision);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn validate_only_changes_nothing_and_says_what_would_be_wrong() {
    let gate = gate(World::demo()).start().await;
    let good = CreatePolicyRequest { validate_only: true, ..create("team", no_findings_from(Severity::High)) };
    let taken = CreatePolicyRequest { validate_only: true, ..create("default", Policy::default()) };

    gate.client.create_policy(good).await.unwrap();
    let refused = rejection(gate.client.create_policy(taken).await);

    assert_eq!(rejection(gate.client.get_policy(get("policies/team")).await).reason, "POLICY_NOT_FOUND");
    assert_eq!(refused.reason, "POLICY_EXISTS");
}

#[tokio::test]
async fn the_default_policy_can_be_changed_but_not_removed_narrowed_or_switched_off() {
    let gate = gate(World::demo()).start().await;
    let default = gate.client.get_policy(get("policies/default")).await.unwrap().policy.unwrap();
    let update = |policy: Policy| UpdatePolicyRequest { policy: Some(policy), ..Default::default() };

    let off = Policy { mode: PolicyMode::Off.into(), ..for_shop(default.clone()) };
    let refused = rejection(gate.client.update_policy(update(off)).await);
    let delete =
        DeletePolicyRequest { name: "policies/default".into(), etag: default.etag.clone(), ..Default::default() };
    let kept = rejection(gate.client.delete_policy(delete).await);
    gate.client.update_policy(update(Policy { rules: Vec::new(), ..default })).await.unwrap();

    let fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["policy.match", "policy.mode"]);
    assert_eq!(kept.reason, "DEFAULT_POLICY_REQUIRED");
    assert_eq!(gate.decide("shop/web:1.4.2").await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn every_mistake_in_a_policy_is_named_with_its_path() {
    let gate = gate(World::demo()).start().await;
    let rule = |id: &str, when: FindingFilter| Rule { id: id.into(), when: Some(when), ..Default::default() };
    let wrong = Policy {
        mode: 99,
        r#match: Some(PolicyMatch { repositories: vec![String::new()], ..Default::default() }),
        scan: Some(ScanRequirements { archived: ShortfallAction::StartScan.into(), ..Default::default() }),
        unrated_as: Severity::Unrated.into(),
        rules: vec![
            rule("No!", FindingFilter { min_cvss: Some(11.0), ..Default::default() }),
            rule("empty", FindingFilter::default()),
            rule("empty", FindingFilter { min_epss: Some(f64::NAN), ..Default::default() }),
        ],
        ..Default::default()
    };

    let refused = rejection(gate.client.create_policy(create("wrong", wrong)).await);

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
async fn an_expression_comes_back_as_it_was_written_and_decides() {
    let gate = gate(World::demo()).start().await;
    let expressive = |expression: &str| Policy {
        rules: vec![Rule {
            id: "own-words".into(),
            when: Some(FindingFilter { expression: expression.into(), ..Default::default() }),
            ..Default::default()
        }],
        ..for_shop(no_findings_from(Severity::High))
    };
    let kernel = "finding.severity >= \"MEDIUM\" &&\n  finding.package.name.startsWith(\"linux\")";
    let nothing = "finding.package.name == \"no-such-package\"";

    let written = gate.client.create_policy(create("words", expressive(kernel))).await.unwrap();
    let denied = gate.decide("shop/web:1.4.2").await;
    let policy = written.policy.unwrap();
    let looser = Policy { etag: policy.etag.clone(), name: policy.name.clone(), ..expressive(nothing) };
    let update = UpdatePolicyRequest { policy: Some(looser), ..Default::default() };
    gate.client.update_policy(update).await.unwrap();
    let allowed = gate.decide("shop/web:1.4.2").await;

    assert_eq!(policy.rules[0].when.as_ref().unwrap().expression, kernel);
    assert_eq!(denied.verdict(), Verdict::Deny);
    assert_eq!(allowed.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn an_expression_that_is_wrong_is_refused_with_its_place_and_what_would_be_right() {
    let gate = gate(World::demo()).start().await;
    let mut expressive = no_findings_from(Severity::High);
    let when = expressive.rules[0].when.as_mut().unwrap();
    when.expression = "finding.rated &&\n  finding.sevverity == \"HIGH\"".into();

    let refused = rejection(gate.client.create_policy(create("words", expressive)).await);

    assert_eq!(refused.code, Code::InvalidArgument);
    let [violation] = refused.violations.as_slice() else { panic!("{:?}", refused.violations) };
    assert_eq!(violation.field, "policy.rules[0].when.expression");
    for part in ["no field \"finding.sevverity\"", "(line 2, column 3)", "did you mean `finding.severity`?"] {
        assert!(violation.description.contains(part), "{}", violation.description);
    }
}

#[tokio::test]
async fn lists_are_ordered_filtered_and_paged() {
    let gate = gate(World::demo()).start().await;
    for id in ["c", "a", "b"] {
        gate.client.create_policy(create(id, for_shop(no_findings_from(Severity::High)))).await.unwrap();
    }
    let elsewhere = PolicyMatch { repositories: vec!["other/*".into()], ..Default::default() };
    let elsewhere = Policy { r#match: Some(elsewhere), ..no_findings_from(Severity::Low) };
    gate.client.create_policy(create("elsewhere", elsewhere)).await.unwrap();

    let listed = gate
        .client
        .list_policies(ListPoliciesRequest { page_size: 2, repository: "shop/web".into(), ..Default::default() })
        .await
        .unwrap();

    let names: Vec<&str> = listed.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["policies/a", "policies/b", "policies/c", "policies/default"]);
}

#[tokio::test]
async fn a_decision_that_must_see_a_write_sees_it_or_says_that_it_cannot() {
    let gate = gate(World::demo()).start().await;
    let written = gate.client.create_policy(create("team", no_findings_from(Severity::High))).await.unwrap();
    let seen = EvaluateGateRequest { at_least_as_fresh: written.revision_token, ..question("shop/api:2.0.0") };
    let unseen = EvaluateGateRequest { at_least_as_fresh: "rev-1000000".into(), ..question("shop/api:2.0.0") };

    assert!(gate.client.evaluate(seen).await.unwrap().as_message().revision >= written.revision);
    let refused = rejection(gate.client.evaluate(unseen).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "REVISION_NOT_REACHED"));
}

#[tokio::test]
async fn a_policy_that_the_caller_names_gives_advice_only() {
    let gate = gate(World::demo()).start().await;
    let lax = Policy { mode: PolicyMode::Off.into(), ..Policy::default() };
    gate.client.create_policy(create("lax", lax)).await.unwrap();

    let request = EvaluateGateRequest { policy: "policies/lax".into(), ..question("shop/web:1.4.2") };
    let advice = gate.client.evaluate(request).await.unwrap();

    assert_eq!(advice.verdict(), Verdict::Allow);
    assert!(advice.require_allowed().is_err());
    let advice = advice.into_message();
    assert!(!advice.authoritative);
    assert!(advice.deploy_image.is_empty() && advice.manifests.iter().all(|manifest| manifest.deploy_image.is_empty()));
}
