//! Sentences for people: why a decision is what it is.

use std::fmt;

use crate::{
    decide::Cause,
    decision::{Breach, Decision, ManifestInput, Verdict, Violation},
    evidence::Evidence,
    name::Environment,
};

/// The most sentences that a decision gives; what it rests on is in its violations all the same.
const MAX_SENTENCES: usize = 20;

/// A violation in one sentence.
pub(crate) fn of_violation(violation: &Violation, denies: bool) -> String {
    let policy = violation.policy.resource_name();
    let effect = match violation.denies_from {
        Some(from) => format!(" (warning, denies from {from})"),
        None if denies => String::new(),
        None => " (warning)".to_owned(),
    };
    match &violation.breach {
        Breach::Rule { rule, matched, allowed, findings } => {
            let worst = findings.first().map_or_else(String::new, |worst| {
                format!(", worst {} {} in {}", worst.severity.label(), worst.id, worst.package.name)
            });
            format!("{policy}, rule {rule}{effect}: {matched} matching, {allowed} allowed{worst}")
        }
        Breach::Scan(evidence) => format!("{policy}{effect}: {evidence}: {}", violation.description),
    }
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GraceBegins { policy, rule, finding } => {
                write!(
                    f,
                    "the grace period of {}, rule {} for {} begins",
                    policy.id.resource_name(),
                    rule.id,
                    finding.id
                )
            }
            Self::GraceEnds { policy, rule, finding } => {
                write!(f, "the grace period of {}, rule {} for {} ends", policy.id.resource_name(), rule.id, finding.id)
            }
            Self::MatchBegins { policy, rule, finding } => {
                write!(f, "{} begins to match {}, rule {}", finding.id, policy.id.resource_name(), rule.id)
            }
            Self::MatchEnds { policy, rule, finding } => {
                write!(f, "{} ceases to match {}, rule {}", finding.id, policy.id.resource_name(), rule.id)
            }
            Self::WaiverBegins(waiver) => write!(f, "{} begins", waiver.id.resource_name()),
            Self::WaiverEnds(waiver) => write!(f, "{} ends", waiver.id.resource_name()),
            Self::Effective(policy) => write!(f, "{} becomes effective", policy.id.resource_name()),
            Self::TooOld(policy, examined) => {
                write!(f, "the scan of {} becomes too old for {}", named(examined), policy.id.resource_name())
            }
            Self::Evidence(examined) => {
                write!(f, "the time in which the scan of {} may still arrive or settle ends", named(examined))
            }
        }
    }
}

fn named(examined: &ManifestInput) -> String {
    examined.manifest.platform.as_ref().map_or_else(|| examined.manifest.digest.to_string(), ToString::to_string)
}

/// Every sentence of a decision; the first says why in brief.
pub(crate) fn of_decision(decision: &Decision, enforced: bool, unnamed: Option<&Environment>) -> Vec<String> {
    let mut sentences = vec![brief(decision, enforced)];
    if let Some(environment) = unnamed {
        sentences.push(format!("no policy names the environment {environment}; it is governed like any other"));
    }
    for manifest in &decision.manifests {
        if manifest.verdict == Verdict::Allow && decision.warnings.is_empty() {
            continue;
        }
        let subject = manifest.platform.as_ref().map_or_else(String::new, |platform| format!("{platform}: "));
        sentences.extend(manifest.reasons.iter().map(|reason| format!("{subject}{reason}")));
    }
    if sentences.len() > MAX_SENTENCES {
        let left_out = sentences.len() - MAX_SENTENCES;
        sentences.truncate(MAX_SENTENCES);
        sentences.push(format!("and {left_out} more reasons: see the violations"));
    }
    sentences
}

fn brief(decision: &Decision, enforced: bool) -> String {
    let with = |verdict| decision.manifests.iter().filter(|manifest| manifest.verdict == verdict).count();
    let all = decision.manifests.len();
    if all == 0 {
        return "the image has no manifest that could be deployed, so nothing is proven".to_owned();
    }
    if !enforced {
        return "no enforced policy governs the image, so nothing allows it".to_owned();
    }
    let policies: Vec<String> = decision.policies.iter().map(|applied| applied.id.resource_name()).collect();
    let policies = policies.join(", ");
    let of_them = |verdict| match all {
        1 => String::new(),
        _ => format!(" for {} of {all} manifests", with(verdict)),
    };
    let unproven =
        decision.manifests.iter().filter(|manifest| manifest.assessment.evidence != Evidence::Proven).count();
    match decision.verdict {
        Verdict::Allow if unproven == 0 => format!("every scan is proven, and satisfied: {policies}"),
        Verdict::Allow => format!("satisfied, although {unproven} of {all} scans prove nothing: {policies}"),
        Verdict::Indeterminate => {
            format!("no verdict yet{}: a scan has not ended; ask again", of_them(Verdict::Indeterminate))
        }
        Verdict::Deny => format!("not satisfied{}: {policies}", of_them(Verdict::Deny)),
    }
}
