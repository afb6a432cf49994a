//! Lints a valid policy for effects that its author may not intend.

use jiff::Timestamp;
use scangate_core::{
    policy::{Mode, Policy},
    rule::{Condition, Effect, Rule, SeverityChoice},
    severity::Severity,
};

/// Returns notes on a policy, one sentence each.
pub fn lint(policy: &Policy) -> Vec<String> {
    let mut notes: Vec<String> = effect(policy).map(str::to_owned).collect();
    notes.extend(policy.rules.iter().filter_map(|rule| gap(policy, rule)));
    if let (Mode::Enforce, Some(effective)) = (policy.mode, policy.effective_time.filter(|at| *at > Timestamp::now())) {
        let floor = if policy.replaces_default { "; policies/default stays in its place until then" } else { "" };
        notes.push(format!("this policy only warns until {effective}{floor}"));
    }
    notes
}

/// Describes the effect of a policy on the verdict, and on the default.
fn effect(policy: &Policy) -> impl Iterator<Item = &'static str> {
    let mode = match (policy.mode, policy.replaces_default) {
        (Mode::Enforce, false) => None,
        (Mode::Enforce, true) => Some(
            "this policy takes the place of policies/default for what it matches: rules of policies/default that it does not repeat no longer apply there",
        ),
        (Mode::Warn, false) => Some("this policy only reports and never denies"),
        (Mode::Warn, true) => Some(
            "this policy only reports and never denies; policies/default still applies to what it matches, because only an enforced policy replaces it",
        ),
        (Mode::Off, false) => Some("this policy is not evaluated"),
        (Mode::Off, true) => Some(
            "this policy is not evaluated; policies/default still applies to what it matches, because only an enforced policy replaces it",
        ),
    };
    let is_partial =
        policy.mode == Mode::Enforce && policy.replaces_default && !policy.matches.admits_every_environment();
    let environment = "policies/default still applies to calls without an environment, because this policy does not cover all environments";
    mode.into_iter().chain(is_partial.then_some(environment))
}

/// Reports severities that a rule skips although it denies lower ones, unless another rule certainly denies them.
fn gap(policy: &Policy, rule: &Rule) -> Option<String> {
    if rule.effect != Effect::Deny || rule.when.severities.is_empty() {
        return None;
    }
    let lowest = Severity::WORST_FIRST.into_iter().rfind(|severity| admits(&rule.when, *severity))?;
    let is_skipped = |severity: &Severity| {
        *severity > lowest
            && !policy.rules.iter().any(|other| admits(&other.when, *severity) && is_as_strict(other, rule))
    };
    let missing: Vec<_> =
        Severity::WORST_FIRST.into_iter().filter(is_skipped).map(|severity| severity.to_string()).collect();
    (!missing.is_empty()).then(|| {
        let missing = missing.join(" and ");
        format!(
            "rule {} denies {lowest} but not {missing}: a finding whose severity is raised to {missing} is no longer denied; min_severity avoids this gap",
            rule.id
        )
    })
}

/// True if the severity conditions of a filter include a severity.
fn admits(filter: &Condition, severity: Severity) -> bool {
    filter.min_severity.is_none_or(|least| severity >= least)
        && (filter.severities.is_empty() || filter.severities.contains(&SeverityChoice::Rated(severity)))
}

/// True if a rule denies every finding that another denies, severities aside. Some equally strict rules are not recognised: a
/// superfluous note does no harm.
fn is_as_strict(rule: &Rule, other: &Rule) -> bool {
    let rest = |rule: &Rule| Condition { min_severity: None, severities: Vec::new(), ..rule.when.clone() };
    rule.effect == Effect::Deny
        && (rest(rule).is_empty() || rest(rule) == rest(other))
        && rule.allowed_count <= other.allowed_count
        && (rule.grace.is_none() || rule.grace == other.grace)
        && (!rule.waivable || other.waivable)
}
