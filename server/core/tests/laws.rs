//! The laws of evaluation, over everything that a registry could answer and a policy could say.

#![expect(clippy::unwrap_used, reason = "generated input that does not parse must fail")]

#[path = "laws/given.rs"]
mod given;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*, sample::Index};
use scangate_core::{
    Decision, Verdict, decide,
    decide::Selection,
    decision::{Applied, Breach, Examined, MAX_FINDINGS},
    evidence::{CLOCK_SLACK, Evidence, SETTLE_DELAY, SETTLE_TIME},
    finding::Finding,
    glob::Glob,
    name::PolicyId,
    policy::{Action, Match, Mode, Policy, PolicySet},
    scan::{Content, Frequency, ScanType, Status},
    severity::{Rating, Severity},
};

use self::given::{
    Counting, Draft, Question, Subject, any_draft, any_subject, consistent_subjects, crowd, finding, image, numbered,
    policy, question, question_over, revised, rule,
};

/// Law 1 in one word: what did not allow does not allow now.
fn did_not_loosen(before: &Decision, after: &Decision) -> bool {
    before.verdict == Verdict::Allow || after.verdict != Verdict::Allow
}

/// The list that a finding can be added to. There is none where none came: one that comes is news of another kind. And a
/// first finding is itself proof that an enhanced scan ran, the one case in which a finding may help.
fn open_list(draft: &mut Draft) -> Option<&mut Vec<Finding>> {
    let is_proof = draft.scan.scan_type == ScanType::Enhanced;
    draft.findings.as_mut().filter(|findings| !(is_proof && findings.is_empty()))
}

fn raised(rating: &Rating) -> Rating {
    match rating {
        Rating::Rated(Severity::Informational) => Rating::Rated(Severity::Low),
        Rating::Rated(Severity::Low) => Rating::Rated(Severity::Medium),
        Rating::Rated(Severity::Medium) => Rating::Rated(Severity::High),
        Rating::Rated(Severity::High | Severity::Critical) => Rating::Rated(Severity::Critical),
        Rating::Unrated(label) => Rating::Unrated(Arc::clone(label)),
    }
}

/// What a scan must have been for its manifest to be proven, written down a second time.
fn is_proof(subject: &Subject, now: Timestamp) -> bool {
    let scan = subject.draft.scan();
    let (Some(report), Some(pushed_at)) = (&scan.report, subject.manifest.pushed_at) else { return false };
    let Some(findings) = &report.findings else { return false };
    let not_ahead = |at: Timestamp| at.duration_since(now) <= CLOCK_SLACK;
    let settled = |at: Timestamp| {
        scan.read_at.min(now).duration_since(at) >= SETTLE_TIME
            || scan.read_at.duration_since(scan.unchanged_since) >= SETTLE_DELAY
    };
    let proven_from = if scan.scan_type == ScanType::Enhanced && findings.is_empty() {
        let coverage = scan.coverage.as_ref().filter(|coverage| coverage.active);
        coverage.and_then(|coverage| coverage.last_scanned_at)
    } else {
        report.completed_at
    };
    let nothing_listed_or_counted = report.counts.iter().flatten().all(|(_, count)| *count == 0);
    let counted = match &subject.draft.counting {
        Counting::AsListed => true,
        Counting::Missing => scan.scan_type == ScanType::Enhanced && findings.is_empty(),
        Counting::These(counts) => {
            counts.iter().filter(|(_, count)| **count > 0).eq(report.enumerated.iter())
                && (!findings.is_empty() || nothing_listed_or_counted)
        }
    };
    scan.flaws.is_empty()
        && matches!(scan.status, Status::Complete | Status::Active)
        && scan.frequency != Frequency::Unrecognised
        && !(scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::Manual)
        && subject.manifest.content == Content::Image
        && !subject.manifest.archived
        && counted
        && proven_from.is_some_and(|at| at >= pushed_at && not_ahead(at) && settled(at))
        && report.source_updated_at.is_none_or(not_ahead)
}

fn says_warn(policy: &Policy, evidence: Evidence) -> bool {
    policy.scan.on_shortfall(evidence) == Some(Action::Warn)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 700, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_finding_more_never_loosens(
        question in question_over(consistent_subjects()), at in any::<Index>(), finding in finding(),
    ) {
        let before = question.decide();
        let mut after = question;
        let Some(findings) = open_list(&mut after.subject(at).draft) else { return Ok(()) };
        findings.push(finding);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn a_finding_more_than_ecr_counts_never_loosens(
        question in question_over(consistent_subjects()), at in any::<Index>(), finding in finding(),
    ) {
        let before = question.decide();
        let mut after = question;
        let draft = &mut after.subject(at).draft;
        let counted = draft.listed();
        let Some(findings) = open_list(draft) else { return Ok(()) };
        findings.push(finding);
        draft.counting = Counting::These(counted);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn a_severity_raised_never_loosens(
        question in question_over(consistent_subjects()), at in any::<Index>(), of in any::<Index>(),
    ) {
        let before = question.decide();
        let mut after = question;
        let Some(findings) = &mut after.subject(at).draft.findings else { return Ok(()) };
        if findings.is_empty() {
            return Ok(());
        }
        let raise = of.get(findings).clone();
        if let Some(finding) = findings.iter_mut().find(|finding| **finding == raise) {
            finding.severity = raised(&finding.severity);
        }

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn unrated_findings_that_rank_higher_never_loosen(question in question(), at in any::<Index>()) {
        prop_assume!(!question.policies.is_empty());
        let before = question.decide();
        let mut after = question;
        after.policy(at).unrated_as = Severity::Critical;

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn a_rule_more_never_loosens(question in question(), at in any::<Index>(), rule in rule()) {
        prop_assume!(!question.policies.is_empty());
        let before = question.decide();
        let mut after = question;
        after.policy(at).rules.push(rule);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn a_lower_allowance_never_loosens(question in question(), at in any::<Index>(), of in any::<Index>()) {
        prop_assume!(!question.policies.is_empty());
        let before = question.decide();
        let mut after = question;
        let rules = &mut after.policy(at).rules;
        prop_assume!(!rules.is_empty());
        let of = of.index(rules.len());
        rules[of].allow /= 2;

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn a_policy_more_never_loosens_what_own_policies_govern(question in question(), mut policy in policy()) {
        prop_assume!(question.is_governed_by_its_own());
        let before = question.decide();
        policy.id = PolicyId::parse("one-more").unwrap();
        let mut after = question;
        after.policies.push(policy);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn leaving_the_environment_out_never_loosens(question in question()) {
        let with = question.decide();
        let without = Question { environment: None, ..question }.decide();

        prop_assert!(without.verdict >= with.verdict);
    }

    #[test]
    fn honouring_no_suppression_never_loosens(question in question(), at in any::<Index>()) {
        prop_assume!(!question.policies.is_empty());
        let before = question.decide();
        let mut after = question;
        after.policy(at).honour_suppression = false;

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn nothing_unproven_is_allowed_unless_every_enforced_policy_says_so(question in question()) {
        let decision = question.decide();

        if decision.verdict != Verdict::Allow {
            return Ok(());
        }
        let set = question.set();
        let enforced: Vec<&Policy> = decision
            .policies
            .iter()
            .filter(|applied| applied.mode == Mode::Enforce)
            .map(|applied| &set.policies[&applied.id].policy)
            .collect();
        prop_assert!(!enforced.is_empty());
        prop_assert!(!decision.manifests.is_empty());
        prop_assert_eq!(decision.manifests.len(), question.subjects.len());
        prop_assert!(decision.violations.is_empty());
        for manifest in &decision.manifests {
            for policy in &enforced {
                let aged = manifest.assessment.aged(policy.scan.max_scan_age, question.now);
                prop_assert!(aged.evidence == Evidence::Proven || says_warn(policy, aged.evidence));
                let beyond = |limit| manifest.assessment.current_at.is_some_and(|at| question.now.duration_since(at) > limit);
                let is_too_old = policy.scan.max_scan_age.is_some_and(beyond);
                prop_assert!(!is_too_old || says_warn(policy, Evidence::Stale));
            }
        }
    }

    #[test]
    fn only_proof_is_called_proven(question in question()) {
        for (subject, examined) in question.subjects.iter().zip(question.examined()) {
            let assessed = scangate_core::evidence::assess(&examined.manifest, &examined.scan, question.now);

            prop_assert!(assessed.evidence != Evidence::Proven || is_proof(subject, question.now), "{assessed:?}");
            prop_assert!(assessed.evidence != Evidence::Proven || assessed.current_at.is_some());
            prop_assert_eq!(assessed.evidence == Evidence::ScanPending, assessed.retry_after.is_some());
        }
    }

    #[test]
    fn a_verdict_is_what_its_trail_says(question in question()) {
        let decision = question.decide();

        let worst = decision.manifests.iter().map(|manifest| manifest.verdict).max();
        let enforces = |applied: &&Applied| applied.mode == Mode::Enforce;
        let default = decision.policies.iter().find(|applied| applied.id.is_default());
        let enforced = default.or(decision.policies.iter().find(enforces)).as_ref().is_some_and(enforces);
        prop_assert_eq!(decision.verdict, worst.filter(|_| enforced).unwrap_or(Verdict::Deny));
        prop_assert_eq!(decision.retry_after.is_some(), decision.verdict == Verdict::Indeterminate);
        prop_assert!(!decision.reasons.is_empty());
        for manifest in &decision.manifests {
            let denied = decision.violations.iter().any(|violation| violation.manifest == manifest.digest);
            prop_assert_eq!(manifest.verdict == Verdict::Deny, denied);
        }
    }

    #[test]
    fn no_order_ever_matters(question in question(), keys in vec(any::<u64>(), 8)) {
        let decision = question.decide();
        let mut shuffled = question.clone();
        shuffle(&mut shuffled.subjects, &keys);
        for Subject { draft, .. } in &mut shuffled.subjects {
            if let Some(findings) = &mut draft.findings {
                shuffle(findings, &keys);
            }
            shuffle(&mut draft.scan.flaws, &keys);
        }
        shuffle(&mut shuffled.policies, &keys);

        prop_assert_eq!(format!("{:?}", shuffled.decide()), format!("{decision:?}"));
    }

    #[test]
    fn the_same_input_gives_the_same_decision_even_by_way_of_the_wire(question in question()) {
        let set = question.set();
        let told_again: Vec<Examined> = question
            .examined()
            .into_iter()
            .map(|examined| Examined {
                manifest: through_json(&examined.manifest),
                scan: Arc::new(through_json(&*examined.scan)),
                start: examined.start,
            })
            .collect();
        let policies = set.policies.values().map(|revised| through_json(&revised.policy));
        let set_again = PolicySet {
            revision: set.revision,
            policies: policies.map(|policy| (policy.id.clone(), revised(&policy))).collect(),
        };
        let environment = question.environment.as_ref();

        let again = decide(&image(), environment, Selection::Governing(&set_again), &told_again, question.now);

        prop_assert_eq!(format!("{again:?}"), format!("{:?}", question.decide()));
        prop_assert_eq!(format!("{again:?}"), format!("{:?}", question.decide()));
    }

    #[test]
    fn no_instant_makes_evaluation_panic(
        question in question_over(vec(any_subject(any_draft(), false), 0..3).prop_map(numbered)),
        now in (Timestamp::MIN.as_second()..=Timestamp::MAX.as_second()),
        age in any::<(i64, i32)>(),
    ) {
        let mut question = question;
        question.now = Timestamp::from_second(now).unwrap();
        for policy in &mut question.policies {
            policy.scan.max_scan_age = Some(SignedDuration::new(age.0 / 2, age.1 % 1_000_000_000));
        }

        let decision = question.decide();

        prop_assert!(decision.retry_after.is_none_or(|after| after <= SETTLE_DELAY && after > SignedDuration::ZERO));
    }

    #[test]
    fn advice_is_what_the_policy_alone_would_enforce(question in question(), mut policy in policy()) {
        let advised = revised(&policy);
        let selection = Selection::Only { policy: &advised, revision: 1 };
        let advice = decide(&image(), None, selection, &question.examined(), question.now);
        policy.mode = Mode::Enforce;
        policy.matches = Match::default();
        policy.id = PolicyId::parse("own").unwrap();
        let alone = Question { policies: vec![policy], environment: None, ..question };

        prop_assert_eq!(advice.verdict, alone.decide().verdict);
        prop_assert!(!advice.authoritative);
    }
}

/// Sorts by keys that have nothing to do with the elements.
fn shuffle<T>(elements: &mut [T], keys: &[u64]) {
    for (index, key) in keys.iter().enumerate() {
        if !elements.is_empty() {
            let other = usize::try_from(*key % elements.len() as u64).unwrap();
            elements.swap(index % elements.len(), other);
        }
    }
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

#[test]
fn two_thousand_findings_under_twenty_rules_are_all_counted_and_the_worst_hundred_told() {
    let decision = crowd(2000).decide();

    assert_eq!(decision.verdict, Verdict::Deny);
    assert_eq!(decision.violations.len(), 20);
    for violation in &decision.violations {
        let Breach::Rule { matched, findings, .. } = &violation.breach else { panic!("{violation:?}") };
        assert_eq!((*matched, findings.len()), (2000, MAX_FINDINGS));
    }
    assert!(decision.reasons.len() <= 21);
}

#[test]
fn a_glob_full_of_stars_over_a_long_name_ends() {
    let glob = Glob::parse(&"*a".repeat(128)).unwrap();

    assert!(!glob.matches(&"ab".repeat(100_000)));
    assert!(!glob.matches(&"b".repeat(200_000)));
    assert!(glob.matches(&"a".repeat(200_000)));
}
