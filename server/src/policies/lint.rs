//! Things to know of a policy that is right, and perhaps not what its author means.

use jiff::Timestamp;
use scangate_core::{
    policy::{Mode, Policy},
    rule::{Effect, Filter, Rule, SeverityChoice},
    severity::Severity,
};

/// What somebody who writes this policy should know.
pub fn notes(policy: &Policy) -> Vec<String> {
    let mut notes = match policy.mode {
        Mode::Enforce if !policy.id.is_default() => vec![
            "for what it governs, this policy takes the place of policies/default: rules of the default that it does not repeat no longer apply there"
                .to_owned(),
        ],
        Mode::Enforce => Vec::new(),
        Mode::Warn => vec!["this policy reports and denies nothing; policies/default goes on governing what it matches".to_owned()],
        Mode::Off => vec!["this policy is not evaluated; policies/default goes on governing what it matches".to_owned()],
    };
    notes.extend(policy.rules.iter().filter_map(|rule| gap(policy, rule)));
    if let (Mode::Enforce, Some(effective)) = (policy.mode, policy.effective_time.filter(|at| *at > Timestamp::now())) {
        notes.push(format!("it only warns until {effective}"));
    }
    notes
}

/// Severities that a rule passes by although it denies lower ones, and that no other rule of the policy denies for certain.
fn gap(policy: &Policy, rule: &Rule) -> Option<String> {
    if rule.effect != Effect::Deny || rule.when.severities.is_empty() {
        return None;
    }
    let lowest = Severity::WORST_FIRST.into_iter().rfind(|severity| admits(&rule.when, *severity))?;
    let passed_by = |severity: &Severity| {
        *severity > lowest
            && !policy.rules.iter().any(|other| admits(&other.when, *severity) && is_as_strict(other, rule))
    };
    let missing: Vec<_> =
        Severity::WORST_FIRST.into_iter().filter(passed_by).map(|severity| severity.to_string()).collect();
    (!missing.is_empty()).then(|| {
        let missing = missing.join(" and ");
        format!(
            "rule {} denies {lowest} and not {missing}: a finding that is raised to it is no longer denied; min_severity leaves no such gap",
            rule.id
        )
    })
}

/// Whether the severities that the filter asks for have this one.
fn admits(filter: &Filter, severity: Severity) -> bool {
    filter.min_severity.is_none_or(|least| severity >= least)
        && (filter.severities.is_empty() || filter.severities.contains(&SeverityChoice::Rated(severity)))
}

/// Whether a rule denies whatever another would, severities aside. There are other ways to be as strict than those looked for here:
/// a note too many does no harm.
fn is_as_strict(rule: &Rule, other: &Rule) -> bool {
    let rest = |rule: &Rule| Filter { min_severity: None, severities: Vec::new(), ..rule.when.clone() };
    rule.effect == Effect::Deny
        && (rest(rule).is_empty() || rest(rule) == rest(other))
        && rule.allow <= other.allow
        && (rule.grace.is_none() || rule.grace == other.grace)
        && (!rule.waivable || other.waivable)
}
