//! Monotonicity: more findings, rules or policies, and fewer waivers, never turn a verdict into ALLOW.

use std::sync::Arc;

use proptest::{
    prelude::*,
    sample::{Index, select},
};
use scangate_core::{
    Decision, Verdict,
    finding::Finding,
    first_seen::FirstSeenTimes,
    name::{Environment, PolicyId},
    policy::Policy,
    scan::{ScanType, Usage},
    severity::{Rating, Severity},
    unknown::WhenUnknown,
    vulnerability_id::is_cve,
    waiver::Subject,
};

use crate::{
    config,
    fixtures::{
        Counting, Request, ScanDraft, consistent_manifests, finding, image, policy, request, request_over, rule,
    },
};

/// True unless a verdict other than ALLOW became ALLOW.
fn did_not_loosen(before: &Decision, after: &Decision) -> bool {
    before.verdict == Verdict::Allow || after.verdict != Verdict::Allow
}

/// Returns the list to which a finding can be added; `None` if the response has no list.
///
/// The first finding of an enhanced scan is itself proof that the scan ran: the only finding that may loosen a verdict.
fn open_list(scan: &mut ScanDraft) -> Option<&mut Vec<Finding>> {
    let first_is_proof = scan.base.scan_type == ScanType::Enhanced;
    scan.findings.as_mut().filter(|findings| !(first_is_proof && findings.is_empty()))
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

/// True if, under one of the policies, waivers in force cover every related CVE of a finding of this manifest.
fn is_covered_through_related_ids(finding: &Finding, request: &Request, manifest: Index) -> bool {
    let image = image();
    let manifest = &request.manifests[manifest.index(request.manifests.len())].manifest;
    let subject = Subject {
        repository: &image.repository,
        image: &image.digest,
        manifest: &manifest.digest,
        platform: manifest.platform.as_ref(),
        environment: request.environment.as_ref(),
    };
    let cves: Vec<&Arc<str>> = finding.related_ids.iter().filter(|id| is_cve(id)).collect();
    let is_waived = |id: &str, unrated_as| {
        request.waivers.iter().any(|waiver| {
            waiver.holds_at(request.now)
                && waiver.scope.includes(subject)
                && waiver.scope.names(id, finding)
                && waiver.conditions.are_met_by(finding, unrated_as)
        })
    };
    let default = Policy::built_in_default().unwrap();
    let mut ranks = std::iter::once(&default).chain(&request.policies).map(|policy| policy.unrated_as);
    !is_cve(&finding.id) && !cves.is_empty() && ranks.any(|rank| cves.iter().all(|id| is_waived(id, rank)))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn added_finding_never_loosens(
        request in request_over(consistent_manifests()), at in any::<Index>(), finding in finding(),
    ) {
        let before = request.decide();
        let mut after = request;
        let Some(findings) = open_list(&mut after.manifest(at).scan) else { return Ok(()) };
        findings.push(finding);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn finding_beyond_counts_never_loosens(
        mut request in request_over(consistent_manifests()), at in any::<Index>(), finding in finding(),
    ) {
        let scan = &mut request.manifest(at).scan;
        scan.counting = Counting::Explicit(scan.listed());
        let before = request.decide();
        let mut after = request;
        let Some(findings) = open_list(&mut after.manifest(at).scan) else { return Ok(()) };
        findings.push(finding);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    /// Expressions are excepted: they may say that a related id makes a finding harmless.
    #[test]
    fn added_related_id_never_loosens(
        request in request_over(consistent_manifests()), at in any::<Index>(), chosen in any::<Index>(),
        id in select(vec!["CVE-1", "CVE-2", "CVE-4", "GHSA-3", "ALAS-5"]),
    ) {
        let mut before = request;
        for rule in before.policies.iter_mut().flat_map(|policy| &mut policy.rules) {
            rule.when.expression = None;
        }
        let mut after = before.clone();
        let Some(findings) = &mut after.manifest(at).scan.findings else { return Ok(()) };
        prop_assume!(!findings.is_empty());
        let chosen = chosen.index(findings.len());
        let finding = &mut findings[chosen];
        finding.related_ids = finding.related_ids.iter().cloned().chain([id.into()]).collect();
        let finding = finding.clone();

        let may_be_covered = is_covered_through_related_ids(&finding, &after, at);
        prop_assert!(may_be_covered || did_not_loosen(&before.decide(), &after.decide()));
    }

    /// Every generated list of severities continues upwards from its lowest one. Lists such as `[HIGH]` are left out: a
    /// finding that is raised to CRITICAL leaves them, and a note on the write warns about it (`policies::notes`).
    #[test]
    fn raised_severity_never_loosens_upward_lists(
        request in request_over(consistent_manifests()), at in any::<Index>(), chosen in any::<Index>(),
    ) {
        let before = request.decide();
        let mut after = request;
        let Some(findings) = &mut after.manifest(at).scan.findings else { return Ok(()) };
        if findings.is_empty() {
            return Ok(());
        }
        let chosen = chosen.get(findings).clone();
        if let Some(finding) = findings.iter_mut().find(|finding| **finding == chosen) {
            finding.severity = raised(&finding.severity);
        }

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn higher_rank_of_unrated_never_loosens(request in request(), at in any::<Index>()) {
        prop_assume!(!request.policies.is_empty());
        let before = request.decide();
        let mut after = request;
        after.policy(at).unrated_as = Severity::Critical;

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn added_rule_never_loosens(request in request(), at in any::<Index>(), rule in rule()) {
        prop_assume!(!request.policies.is_empty());
        let before = request.decide();
        let mut after = request;
        after.policy(at).rules.push(rule);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn lower_allowance_never_loosens(request in request(), at in any::<Index>(), chosen in any::<Index>()) {
        prop_assume!(!request.policies.is_empty());
        let before = request.decide();
        let mut after = request;
        let rules = &mut after.policy(at).rules;
        prop_assume!(!rules.is_empty());
        let chosen = chosen.index(rules.len());
        rules[chosen].allowed_count /= 2;

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn added_policy_never_loosens(request in request(), mut policy in policy()) {
        policy.replaces_default = false;
        let before = request.decide();
        policy.id = PolicyId::parse("one-more").unwrap();
        let mut after = request;
        after.policies.push(policy);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn policy_that_replaces_no_more_never_loosens(request in request(), at in any::<Index>()) {
        prop_assume!(!request.policies.is_empty());
        let before = request.decide();
        let mut after = request;
        after.policy(at).replaces_default = false;

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn missing_environment_is_never_looser_than_any(request in request()) {
        let without = Request { environment: None, ..request.clone() }.decide();

        for environment in ["prod", "dev", "devil", "pod", "staging"] {
            let environment = Some(Environment::parse(environment).unwrap());
            let with = Request { environment, ..request.clone() }.decide();
            prop_assert!(without.verdict >= with.verdict, "{:?}", with.policies);
        }
    }

    #[test]
    fn counting_suppressed_findings_never_loosens(request in request(), at in any::<Index>()) {
        prop_assume!(!request.policies.is_empty());
        let before = request.decide();
        let mut after = request;
        after.policy(at).honor_suppression = false;

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn removed_waiver_never_loosens(request in request(), at in any::<Index>()) {
        let before = request.decide();
        let mut after = request;
        if after.waivers.is_empty() {
            return Ok(());
        }
        let at = at.index(after.waivers.len());
        after.waivers.remove(at);

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn unwaivable_rules_never_loosen(request in request(), at in any::<Index>()) {
        prop_assume!(!request.policies.is_empty());
        let before = request.decide();
        let mut after = request;
        for rule in &mut after.policy(at).rules {
            rule.waivable = false;
        }

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn removed_grace_never_loosens(request in request(), at in any::<Index>()) {
        prop_assume!(!request.policies.is_empty());
        let before = request.decide();
        let mut after = request;
        for rule in &mut after.policy(at).rules {
            rule.grace = None;
        }

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn unknown_first_seen_times_never_loosen(request in request()) {
        let before = request.decide();
        let mut after = request;
        for manifest in &mut after.manifests {
            manifest.first_seen = FirstSeenTimes::default();
        }

        prop_assert!(did_not_loosen(&before, &after.decide()));
    }

    #[test]
    fn unknown_use_never_loosens(request in request()) {
        let mut before = request;
        for rule in before.policies.iter_mut().flat_map(|policy| &mut policy.rules) {
            rule.when.when_unknown = WhenUnknown::Match;
        }
        let mut after = before.clone();
        for manifest in &mut after.manifests {
            manifest.scan.base.usage = Usage::default();
        }

        prop_assert!(did_not_loosen(&before.decide(), &after.decide()));
    }
}
