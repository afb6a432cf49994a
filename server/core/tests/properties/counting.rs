//! Counting: a rule counts exactly the findings that match its filter, with or without a prefilter.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use scangate_core::{
    Decision,
    decision::{Breach, ManifestInput},
    evidence::Evidence,
    finding::Finding,
    policy::{Mode, Policy},
    rule::Rule,
};

use crate::{
    config,
    fixtures::{Request, request_over, sound_manifests},
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rule_counts_exactly_its_matching_findings(request in request_over(sound_manifests())) {
        let request = without_exceptions(request);
        let decision = request.decide();

        let set = request.policy_set();
        for applied in &decision.policies {
            let policy = &set.policies[&applied.id].policy;
            for input in request.inputs().iter().filter(|input| is_proven(&decision, input)) {
                for rule in &policy.rules {
                    let matching = matching(policy, rule, input, request.now);
                    prop_assert_eq!(counted(&decision, policy, rule, input), u32::try_from(matching).unwrap());
                }
            }
        }
    }
}

/// Removes everything that keeps a matching finding from being reported: waivers, grace, allowances and limits on the
/// age.
fn without_exceptions(mut request: Request) -> Request {
    request.waivers.clear();
    if !request.policies.iter().any(|policy| policy.id.is_default()) {
        request.policies.push(Policy::built_in_default().unwrap());
    }
    for policy in &mut request.policies {
        (policy.mode, policy.effective_time) = (Mode::Enforce, None);
        // Findings that another scan may still change are not reported.
        policy.scan.max_scan_age = None;
        policy.scan.max_basic_scan_age = None;
        policy.scan.max_source_age = None;
        for rule in &mut policy.rules {
            (rule.grace, rule.allowed_count) = (None, 0);
        }
        policy.rules.truncate(1);
    }
    request
}

fn is_proven(decision: &Decision, input: &ManifestInput) -> bool {
    let manifest = decision.manifests.iter().find(|manifest| manifest.digest == input.manifest.digest);
    manifest.is_some_and(|manifest| manifest.assessment.evidence == Evidence::Proven)
}

/// Counts the findings of a manifest that match a rule, without the decision.
fn matching(policy: &Policy, rule: &Rule, input: &ManifestInput, now: Timestamp) -> usize {
    let usage = &input.scan.usage;
    let matches =
        |finding: &&Finding| policy.counts(finding) && rule.when.matches(finding, usage, policy.unrated_as, now);
    let findings = input.scan.findings().iter().filter(matches);
    let identities = findings.map(|finding| {
        let package = &finding.package;
        (&finding.id, &package.name, &package.version, &package.path)
    });
    identities.collect::<BTreeSet<_>>().len()
}

/// Returns the count that the decision reports for a rule; 0 if it reports none.
fn counted(decision: &Decision, policy: &Policy, rule: &Rule, input: &ManifestInput) -> u32 {
    let mut reported = decision.violations.iter().chain(&decision.warnings);
    let counted = reported.find_map(|violation| match &violation.breach {
        Breach::Rule { rule: broken, matched, .. }
            if violation.policy == policy.id
                && *broken == rule.id
                && violation.manifest == input.manifest.digest
                && violation.deny_time.is_none() =>
        {
            Some(*matched)
        }
        Breach::Rule { .. } | Breach::Scan(_) | Breach::NotUnderstood => None,
    });
    counted.unwrap_or_default()
}
