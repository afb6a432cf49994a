//! Policies from the wire: every field checked, every mistake named.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;
use scangate_core::{
    expression::Expression,
    finding::Score,
    glob::Glob,
    name::{PolicyId, RuleId},
    policy::{Action, Match, Mode, Policy, ScanRequirements},
    rule::{Effect, Filter, FixFilter, Grace, GraceClock, Rule, SeverityChoice},
    severity::Severity,
    unknown::WhenUnknown,
};
use scangate_proto::v1;

use super::super::{
    finding::parse_severity,
    time::{parse_duration, parse_timestamp},
};
use crate::{grpc::field_violations::Fields, policy_store::Precondition};

const MAX_RULES: usize = 100;
const MAX_MATCH_GLOBS: usize = 100;
const MAX_RULE_GLOBS: usize = 1000;
const MAX_DESCRIPTION: usize = 1000;
const MAX_MANAGERS: usize = 100;
const MAX_SEVERITIES: usize = 10;
const MIN_SCAN_AGE: Duration = Duration::from_mins(1);
const MAX_SCAN_AGE: Duration = Duration::from_hours(3650 * 24);

/// `policies/{id}`.
pub(crate) fn parse_name(fields: &mut Fields, path: &str, given: &str) -> Option<PolicyId> {
    let Some(id) = given.strip_prefix("policies/") else {
        fields.refuse(path, "must have the form policies/{id}");
        return None;
    };
    fields.check(path, PolicyId::parse(id))
}

/// The name of a policy that is only tried; empty: one that nobody has.
pub(crate) fn parse_draft_name(fields: &mut Fields, given: &str) -> Option<PolicyId> {
    if given.is_empty() { Some(PolicyId::draft()) } else { parse_name(fields, "policy.name", given) }
}

/// A token of a revision, as writes give it.
pub(crate) fn parse_revision_token(fields: &mut Fields, given: &str) -> Option<u64> {
    let parse = |given: &str| {
        given.strip_prefix("rev-").and_then(|revision| revision.parse().ok()).ok_or("is no revision_token of a write")
    };
    fields.optional("at_least_as_fresh", given, parse)
}

/// The token of a revision.
pub(crate) fn render_revision_token(revision: u64) -> String {
    format!("rev-{revision}")
}

/// What a write expects to find, from the etag that it carries.
pub(crate) fn parse_etag(fields: &mut Fields, path: &str, given: &str) -> Option<Precondition> {
    match given {
        "" => {
            fields.refuse(
                path,
                "is missing: read the policy and send the etag that it has, or `*` to write over whatever there is",
            );
            None
        }
        "*" => Some(Precondition::Any),
        // An etag that is none of ours is one that does not match: no revision is zero.
        given => Some(Precondition::Revision(given.strip_prefix("p-").and_then(|etag| etag.parse().ok()).unwrap_or(0))),
    }
}

/// The etag of a policy's revision.
pub(crate) fn render_etag(revision: u64) -> String {
    format!("p-{revision}")
}

/// A policy under the id that it is to have.
pub(crate) fn parse_policy(fields: &mut Fields, id: Option<PolicyId>, given: Option<&v1::Policy>) -> Option<Policy> {
    let Some(given) = given else {
        fields.refuse("policy", "must be given");
        return None;
    };
    check_description(fields, "policy.description", &given.description);
    let effective_time = parse_timestamp(fields, "policy.effective_time", given.effective_time.as_ref());
    let matches = given.r#match.clone().unwrap_or_default();
    let matches = Match {
        registries: parse_globs(fields, "policy.match.registries", &matches.registries, MAX_MATCH_GLOBS),
        repositories: parse_globs(fields, "policy.match.repositories", &matches.repositories, MAX_MATCH_GLOBS),
        environments: parse_globs(fields, "policy.match.environments", &matches.environments, MAX_MATCH_GLOBS),
    };
    let mode = parse_mode(fields, given.mode);
    let scan = parse_scan_requirements(fields, given.scan.as_ref());
    let rules = parse_rules(fields, &given.rules);
    let unrated_as = parse_severity(fields, "policy.unrated_as", given.unrated_as).unwrap_or(Severity::High);
    if id.as_ref().is_some_and(PolicyId::is_default) {
        check_default(fields, &matches, mode);
        if effective_time.is_some() {
            fields
                .refuse("policy.effective_time", "must not be given for policies/default: it governs at every instant");
        }
    }
    Some(Policy {
        id: id?,
        description: given.description.clone(),
        matches,
        mode: mode?,
        effective_time,
        scan,
        rules,
        unrated_as,
        honour_suppression: given.honour_suppression,
    })
}

/// The default governs what nothing else does: were it narrower or off, those images would have no answer but DENY.
fn check_default(fields: &mut Fields, matches: &Match, mode: Option<Mode>) {
    if *matches != Match::default() {
        fields.refuse("policy.match", "must be empty: policies/default governs whatever no other policy does");
    }
    if mode.is_some_and(|mode| mode != Mode::Enforce) {
        fields.refuse("policy.mode", "must be POLICY_MODE_ENFORCE for policies/default: loosen its rules instead");
    }
}

fn check_description(fields: &mut Fields, path: &str, given: &str) {
    if given.chars().count() > MAX_DESCRIPTION {
        fields.refuse(path, format!("must be at most {MAX_DESCRIPTION} characters long"));
    }
}

fn parse_globs(fields: &mut Fields, path: &str, given: &[String], most: usize) -> Vec<Glob> {
    fields.check_length(path, given.len(), most);
    fields.each(path, given, |fields, path, glob| fields.check(path, Glob::parse(glob)))
}

fn parse_mode(fields: &mut Fields, given: i32) -> Option<Mode> {
    match v1::PolicyMode::try_from(given) {
        Ok(v1::PolicyMode::Unspecified | v1::PolicyMode::Enforce) => Some(Mode::Enforce),
        Ok(v1::PolicyMode::Warn) => Some(Mode::Warn),
        Ok(v1::PolicyMode::Off) => Some(Mode::Off),
        Err(_) => {
            fields.refuse("policy.mode", "must be POLICY_MODE_ENFORCE, _WARN or _OFF");
            None
        }
    }
}

fn parse_scan_requirements(fields: &mut Fields, given: Option<&v1::ScanRequirements>) -> ScanRequirements {
    let Some(given) = given else { return ScanRequirements::default() };
    let age = parse_duration(fields, "policy.scan.max_scan_age", given.max_scan_age.as_ref(), MAX_SCAN_AGE);
    if age.is_some_and(|age| age < MIN_SCAN_AGE) {
        fields.refuse(
            "policy.scan.max_scan_age",
            "must be at least 60s: no scan is younger than that when it can be used",
        );
    }
    ScanRequirements {
        max_scan_age: age.and_then(|age| SignedDuration::try_from(age).ok()),
        never_scanned: parse_action(fields, "never_scanned", given.never_scanned, true),
        scanning: parse_action(fields, "scanning", given.scanning, true),
        failed: parse_action(fields, "failed", given.failed, true),
        unsupported: parse_action(fields, "unsupported", given.unsupported, false),
        eligibility_expired: parse_action(fields, "eligibility_expired", given.eligibility_expired, false),
        findings_unavailable: parse_action(fields, "findings_unavailable", given.findings_unavailable, false),
        archived: parse_action(fields, "archived", given.archived, false),
        too_old: parse_action(fields, "too_old", given.too_old, true),
        unknown: parse_action(fields, "unknown", given.unknown, false),
    }
}

fn parse_action(fields: &mut Fields, field: &str, given: i32, startable: bool) -> Option<Action> {
    let path = format!("policy.scan.{field}");
    match v1::ShortfallAction::try_from(given) {
        Ok(v1::ShortfallAction::Unspecified) => None,
        Ok(v1::ShortfallAction::Deny) => Some(Action::Deny),
        Ok(v1::ShortfallAction::Warn) => Some(Action::Warn),
        Ok(v1::ShortfallAction::StartScan) if startable => Some(Action::StartScan),
        Ok(v1::ShortfallAction::StartScan) => {
            fields.refuse(path, "cannot be SHORTFALL_ACTION_START_SCAN: no scan would help in this situation");
            None
        }
        Err(_) => {
            fields.refuse(path, "must be SHORTFALL_ACTION_DENY, _WARN or _START_SCAN");
            None
        }
    }
}

fn parse_rules(fields: &mut Fields, given: &[v1::Rule]) -> Vec<Rule> {
    fields.check_length("policy.rules", given.len(), MAX_RULES);
    let mut seen = BTreeSet::new();
    fields.each("policy.rules", given, |fields, path, given| {
        let rule = parse_rule(fields, path, given)?;
        if !seen.insert(rule.id.clone()) {
            fields.refuse(format!("{path}.id"), format!("{} is the id of an earlier rule", rule.id));
        }
        Some(rule)
    })
}

fn parse_rule(fields: &mut Fields, path: &str, given: &v1::Rule) -> Option<Rule> {
    let id = fields.check(&format!("{path}.id"), RuleId::parse(&given.id));
    check_description(fields, &format!("{path}.description"), &given.description);
    let grace = given.grace.as_ref().and_then(|given| parse_grace(fields, &format!("{path}.grace"), given));
    let effect = match v1::RuleEffect::try_from(given.effect) {
        Ok(v1::RuleEffect::Unspecified | v1::RuleEffect::Deny) => Some(Effect::Deny),
        Ok(v1::RuleEffect::Warn) => Some(Effect::Warn),
        Err(_) => {
            fields.refuse(format!("{path}.effect"), "must be RULE_EFFECT_DENY or RULE_EFFECT_WARN");
            None
        }
    };
    let when = parse_filter(fields, &format!("{path}.when"), given.when.as_ref());
    Some(Rule {
        id: id?,
        description: given.description.clone(),
        when,
        allow: given.allow,
        grace,
        effect: effect?,
        waivable: given.waivable.unwrap_or(true),
    })
}

fn parse_grace(fields: &mut Fields, path: &str, given: &v1::Grace) -> Option<Grace> {
    let clock = match v1::GraceClock::try_from(given.clock) {
        Ok(v1::GraceClock::FindingPublished) => Some(GraceClock::FindingPublished),
        Ok(v1::GraceClock::FirstObserved) => Some(GraceClock::FirstObserved),
        Ok(v1::GraceClock::FixFirstSeen) => Some(GraceClock::FixFirstSeen),
        Ok(v1::GraceClock::FirstAdmitted) => Some(GraceClock::FirstAdmitted),
        Ok(v1::GraceClock::Unspecified) | Err(_) => {
            fields.refuse(
                format!("{path}.clock"),
                "must be GRACE_CLOCK_FINDING_PUBLISHED, _FIRST_OBSERVED, _FIX_FIRST_SEEN or _FIRST_ADMITTED",
            );
            None
        }
    };
    let path = format!("{path}.period");
    let length = parse_duration(fields, &path, given.period.as_ref(), MAX_SCAN_AGE).unwrap_or_default();
    if length.is_zero() {
        fields.refuse(path, "must be more than 0s; leave `grace` out for none");
    }
    Some(Grace { period: SignedDuration::try_from(length).ok()?, clock: clock? })
}

fn parse_filter(fields: &mut Fields, path: &str, given: Option<&v1::FindingFilter>) -> Filter {
    let given = given.cloned().unwrap_or_default();
    fields.check_length(&format!("{path}.severities"), given.severities.len(), MAX_SEVERITIES);
    let filter = Filter {
        min_severity: parse_severity(fields, &format!("{path}.min_severity"), given.min_severity),
        severities: fields.each(&format!("{path}.severities"), &given.severities, |fields, path, given| {
            parse_severity_choice(fields, path, *given)
        }),
        fix: parse_fix_filter(fields, &format!("{path}.fix"), given.fix),
        min_cvss: parse_score(fields, &format!("{path}.min_cvss"), given.min_cvss, 10.0),
        min_epss: parse_score(fields, &format!("{path}.min_epss"), given.min_epss, 1.0),
        exploit_known: parse_exploit_known(fields, &format!("{path}.exploit"), given.exploit),
        vulnerability_ids: parse_globs(
            fields,
            &format!("{path}.vulnerability_ids"),
            &given.vulnerability_ids,
            MAX_RULE_GLOBS,
        ),
        packages: parse_globs(fields, &format!("{path}.packages"), &given.packages, MAX_RULE_GLOBS),
        expression: fields.optional(&format!("{path}.expression"), &given.expression, Expression::parse),
        package_managers: parse_managers(fields, &format!("{path}.package_managers"), &given.package_managers),
        when_unknown: parse_when_unknown(fields, &format!("{path}.when_unknown"), given.when_unknown),
    };
    if filter.is_empty()
        && given == (v1::FindingFilter { when_unknown: given.when_unknown, fix: given.fix, ..Default::default() })
    {
        fields.refuse(
            path,
            "must ask for something; for a rule over every finding write min_severity: SEVERITY_INFORMATIONAL",
        );
    }
    filter
}

fn parse_severity_choice(fields: &mut Fields, path: &str, given: i32) -> Option<SeverityChoice> {
    if v1::Severity::try_from(given) == Ok(v1::Severity::Unrated) {
        return Some(SeverityChoice::Unrated);
    }
    if given == i32::from(v1::Severity::Unspecified) {
        fields.refuse(path, "must be a severity");
        return None;
    }
    parse_severity(fields, path, given).map(SeverityChoice::Rated)
}

fn parse_fix_filter(fields: &mut Fields, path: &str, given: i32) -> FixFilter {
    match v1::FixFilter::try_from(given) {
        Ok(v1::FixFilter::Unspecified | v1::FixFilter::Any) => FixFilter::Any,
        Ok(v1::FixFilter::Available) => FixFilter::Available,
        Ok(v1::FixFilter::None) => FixFilter::None,
        Err(_) => {
            fields.refuse(path, "must be FIX_FILTER_ANY, _AVAILABLE or _NONE");
            FixFilter::Any
        }
    }
}

fn parse_score(fields: &mut Fields, path: &str, given: Option<f64>, most: f64) -> Option<Score> {
    let score = Score::new(given?).ok().filter(|score| score.value() <= most);
    if score.is_none() {
        fields.refuse(path, format!("must be a number from 0 to {most}"));
    }
    score
}

fn parse_exploit_known(fields: &mut Fields, path: &str, given: i32) -> bool {
    match v1::ExploitFilter::try_from(given) {
        Ok(v1::ExploitFilter::Unspecified) => false,
        Ok(v1::ExploitFilter::Known) => true,
        Err(_) => {
            fields.refuse(path, "must be EXPLOIT_FILTER_KNOWN");
            false
        }
    }
}

fn parse_managers(fields: &mut Fields, path: &str, given: &[String]) -> Vec<String> {
    fields.check_length(path, given.len(), MAX_MANAGERS);
    fields.each(path, given, |fields, path, manager| {
        if (1..=64).contains(&manager.len()) {
            return Some(manager.clone());
        }
        fields.refuse(path, "must be 1 to 64 bytes long");
        None
    })
}

fn parse_when_unknown(fields: &mut Fields, path: &str, given: i32) -> WhenUnknown {
    match v1::WhenUnknown::try_from(given) {
        Ok(v1::WhenUnknown::Unspecified | v1::WhenUnknown::Match) => WhenUnknown::Match,
        Ok(v1::WhenUnknown::NoMatch) => WhenUnknown::NoMatch,
        Err(_) => {
            fields.refuse(path, "must be WHEN_UNKNOWN_MATCH or WHEN_UNKNOWN_NO_MATCH");
            WhenUnknown::Match
        }
    }
}
