//! The reasons of a decision, as text for its readers.

use crate::{
    decision::{AppliedPolicy, Breach, Decision, ManifestDecision, Verdict, Violation},
    evidence::Evidence,
    finding::Finding,
    name::Environment,
    rule::Rule,
    vulnerability_id::is_blank,
};

/// The maximum number of reasons of a decision. Its violations stay complete.
const MAX_REASONS: usize = 20;

/// The maximum number of policies that a reason names. `Decision::policies` has all of them.
const MAX_NAMES: usize = 5;

/// Describes a violation in one sentence.
pub(crate) fn for_violation(violation: &Violation, denies: bool) -> String {
    let policy = violation.policy.resource_name();
    let effect = match violation.deny_time {
        Some(from) => format!(" (warning, denies from {from})"),
        None if denies => String::new(),
        None => " (warning)".to_owned(),
    };
    match &violation.breach {
        Breach::Rule { rule, matched, allowed, findings } => {
            let worst = findings.first().map_or_else(String::new, |worst| {
                let package = match &*worst.package.name {
                    name if is_blank(name) => "a package without a name",
                    name => name,
                };
                let fix = if worst.is_fix_unknown() { " (fix unknown)" } else { "" };
                format!(", worst {} {} in {package}{fix}", worst.severity.label(), worst.id)
            });
            format!("{policy}, rule {rule}{effect}: {matched} matching, {allowed} allowed{worst}")
        }
        Breach::Scan(evidence) => format!("{policy}{effect}: {evidence}: {}", violation.description),
        Breach::NotUnderstood => format!("{policy}{effect}: {}", violation.description),
    }
}

/// Describes a broken rule: its own description, and the share of the findings whose fix is unknown.
pub(crate) fn for_rule(rule: &Rule, findings: &[&Finding]) -> String {
    let unknown = findings.iter().filter(|finding| finding.is_fix_unknown()).count();
    let share = match unknown {
        0 => return rule.description.clone(),
        all if all == findings.len() => "every finding",
        _ => "some findings",
    };
    let note = format!("Fix unknown for {share}: the scan names no fixed version.");
    if rule.description.is_empty() { note } else { format!("{} {note}", rule.description) }
}

/// Lists the reasons of a decision; the first one is a summary. `unnamed` is an environment that no policy names.
pub(crate) fn for_decision(decision: &Decision, enforced: bool, unnamed: Option<&Environment>) -> Vec<String> {
    let mut reasons = vec![summary(decision, enforced)];
    reasons.extend(replacement(decision));
    if let Some(environment) = unnamed {
        reasons.push(format!(
            "no policy names the environment {environment}; policies for all environments apply, check the spelling"
        ));
    }
    for manifest in &decision.manifests {
        if manifest.verdict == Verdict::Allow && decision.warnings.is_empty() {
            continue;
        }
        let prefix = manifest.platform.as_ref().map_or_else(String::new, |platform| format!("{platform}: "));
        // One sentence at the end states the ages of all scans.
        let ages = manifest.assessment.ages.describe();
        let others = manifest.reasons.iter().filter(|reason| Some(*reason) != ages.as_ref());
        reasons.extend(others.map(|reason| format!("{prefix}{reason}")));
    }
    if reasons.len() > MAX_REASONS {
        let left_out = reasons.len() - MAX_REASONS;
        reasons.truncate(MAX_REASONS);
        reasons.push(format!("and {left_out} more reasons; see the violations"));
    }
    reasons.extend(ages(&decision.manifests));
    reasons
}

/// Names the policies that took the place of the default.
fn replacement(decision: &Decision) -> Option<String> {
    let replacing = decision.policies.iter().filter(|applied| applied.replaces_default);
    let verb = match replacing.clone().count() {
        0 => return None,
        1 => "takes",
        _ => "take",
    };
    Some(format!("{} {verb} the place of policies/default (replaces_default)", names(replacing)))
}

/// Lists the first policies by name, and counts the others.
fn names<'a>(policies: impl Iterator<Item = &'a AppliedPolicy> + Clone) -> String {
    let named: Vec<String> = policies.clone().take(MAX_NAMES).map(|applied| applied.id.resource_name()).collect();
    match policies.skip(MAX_NAMES).count() {
        0 => named.join(", "),
        others => format!("{} and {others} more", named.join(", ")),
    }
}

/// States the ages that the decision rests on; `None` if no scan has any.
fn ages(manifests: &[ManifestDecision]) -> Option<String> {
    if let [only] = manifests {
        return only.assessment.ages.describe();
    }
    let ages = || manifests.iter().map(|manifest| &manifest.assessment.ages);
    let as_of_time = ages().filter_map(|ages| ages.as_of_time).min()?;
    let source = ages().filter_map(|ages| ages.source_update_time).min();
    let source = source.map_or_else(String::new, |source| format!(", the oldest vulnerability data from {source}"));
    Some(format!("the oldest scan dates from {as_of_time}{source}"))
}

fn summary(decision: &Decision, enforced: bool) -> String {
    let manifests = &decision.manifests;
    if manifests.is_empty() {
        return "the image has no deployable manifest, so nothing is proven".to_owned();
    }
    if !enforced {
        return "neither policies/default nor a policy in its place is enforced, so the image is denied; set the mode of policies/default to ENFORCE".to_owned();
    }
    let total = manifests.len();
    let share = |verdict| match total {
        1 => String::new(),
        _ => format!(
            " for {} of {total} manifests",
            manifests.iter().filter(|manifest| manifest.verdict == verdict).count()
        ),
    };
    let policies = names(decision.policies.iter());
    let unproven = manifests.iter().filter(|manifest| manifest.assessment.evidence != Evidence::Proven).count();
    match decision.verdict {
        Verdict::Allow if unproven == 0 => format!("every scan is proven and every policy is satisfied: {policies}"),
        Verdict::Allow => {
            format!("every policy is satisfied, although {unproven} of {total} scans prove nothing: {policies}")
        }
        Verdict::Indeterminate => {
            format!("no verdict yet{}: a scan has not ended; retry later", share(Verdict::Indeterminate))
        }
        Verdict::Deny => format!("the policies are not satisfied{}: {policies}", share(Verdict::Deny)),
    }
}
