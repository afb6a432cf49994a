//! Parsing of policies: checks every field and records every violation.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;
use prost::Message as _;
use scangate_core::{
    expression::Expression,
    finding::Score,
    glob::Glob,
    name::{PolicyId, RuleId},
    policy::{Action, Match, Mode, Policy, ScanRequirements},
    rule::{Condition, Effect, FixFilter, Grace, GraceClock, Rule, SeverityChoice},
    severity::Severity,
    unknown::WhenUnknown,
};
use scangate_proto::v1;

use super::{
    super::{
        finding::parse_severity,
        time::{parse_duration, parse_timestamp},
    },
    reference::parse_name,
};
use crate::grpc::field_violations::{FieldReason, Fields};

/// The largest policy, as an encoded message, so that each response with one fits.
const MAX_POLICY_BYTES: usize = 3 * 1024 * 1024;
/// The most rules of a policy.
const MAX_RULES: usize = 100;
/// The most globs of one list in `match`.
const MAX_MATCH_GLOBS: usize = 100;
/// The most globs of one list in a rule.
const MAX_RULE_GLOBS: usize = 1000;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 1000;
/// The most package managers of a rule.
const MAX_MANAGERS: usize = 100;
/// The most severities of a rule.
const MAX_SEVERITIES: usize = 10;
/// The smallest limit of an age in `scan`.
const MIN_SCAN_AGE: Duration = Duration::from_mins(1);
/// The largest limit of an age in `scan`, and the longest grace period.
const MAX_PERIOD: Duration = Duration::from_hours(3650 * 24);

/// Parses the draft of a policy; an empty name becomes a reserved name that no stored policy can have.
pub(crate) fn parse_draft(fields: &mut Fields, path: &str, draft: &v1::Policy) -> Option<Policy> {
    let id = if draft.name.is_empty() {
        Some(PolicyId::draft())
    } else {
        parse_name(fields, &format!("{path}.name"), &draft.name)
    };
    parse_policy(fields, path, id, Some(draft))
}

/// Parses a policy under its id.
pub(crate) fn parse_policy(
    fields: &mut Fields,
    path: &str,
    id: Option<PolicyId>,
    wire: Option<&v1::Policy>,
) -> Option<Policy> {
    let Some(wire) = wire else {
        fields.require(path, "must be set");
        return None;
    };
    check_complete(fields, path, &wire.not_understood);
    if wire.encoded_len() > MAX_POLICY_BYTES {
        fields.refuse(path, format!("must be at most {MAX_POLICY_BYTES} bytes long; split it into several policies"));
    }
    let field = |name: &str| format!("{path}.{name}");
    check_description(fields, &field("description"), &wire.description);
    let effective_time = parse_timestamp(fields, &field("effective_time"), wire.effective_time.as_ref());
    let matches = wire.r#match.clone().unwrap_or_default();
    let matches = Match {
        registries: parse_globs(fields, &field("match.registries"), &matches.registries, MAX_MATCH_GLOBS),
        repositories: parse_globs(fields, &field("match.repositories"), &matches.repositories, MAX_MATCH_GLOBS),
        environments: parse_globs(fields, &field("match.environments"), &matches.environments, MAX_MATCH_GLOBS),
    };
    let mode = parse_mode(fields, &field("mode"), wire.mode);
    let scan = parse_scan_requirements(fields, &field("scan"), wire.scan.as_ref());
    let rules = parse_rules(fields, &field("rules"), &wire.rules);
    let unrated_as = parse_severity(fields, &field("unrated_as"), wire.unrated_as).unwrap_or(Severity::High);
    if id.as_ref().is_some_and(PolicyId::is_default) {
        check_default(fields, path, &matches, mode);
        if effective_time.is_some() {
            fields.forbid(field("effective_time"), "must be empty for policies/default: it is always in effect");
        }
        if wire.replaces_default() {
            fields.forbid(field("replaces_default"), "must be false for policies/default: it cannot replace itself");
        }
    }
    Some(Policy {
        id: id?,
        description: wire.description.clone(),
        matches,
        mode: mode?,
        effective_time,
        replaces_default: wire.replaces_default(),
        scan,
        rules,
        unrated_as,
        honor_suppression: wire.honor_suppression(),
    })
}

/// Refuses a resource that an older server returned in part: to write it would drop the rest. True if it is whole.
pub(crate) fn check_complete(fields: &mut Fields, path: &str, not_understood: &[String]) -> bool {
    if !not_understood.is_empty() {
        fields.forbid(
            format!("{path}.not_understood"),
            "must be empty: a server that did not understand the whole returned it; read it from an upgraded server",
        );
    }
    not_understood.is_empty()
}

/// Checks that the default policy is a floor: it applies to every image, always.
fn check_default(fields: &mut Fields, path: &str, matches: &Match, mode: Option<Mode>) {
    if *matches != Match::default() {
        fields.forbid(
            format!("{path}.match"),
            "must be empty for policies/default: it applies to every image; create a policy with replaces_default to \
             take its place for some",
        );
    }
    if mode.is_some_and(|mode| mode != Mode::Enforce) {
        fields.forbid(
            format!("{path}.mode"),
            "must be POLICY_MODE_ENFORCE for policies/default: loosen its rules instead",
        );
    }
}

fn check_description(fields: &mut Fields, path: &str, description: &str) {
    if description.chars().count() > MAX_DESCRIPTION {
        fields.refuse_as(FieldReason::Length, path, format!("must be at most {MAX_DESCRIPTION} characters long"));
    }
}

fn parse_globs(fields: &mut Fields, path: &str, globs: &[String], max: usize) -> Vec<Glob> {
    fields.check_length(path, globs.len(), max);
    fields.each(path, globs, |fields, path, glob| fields.check(path, Glob::parse(glob)))
}

fn parse_mode(fields: &mut Fields, path: &str, mode: i32) -> Option<Mode> {
    match v1::PolicyMode::try_from(mode) {
        Ok(v1::PolicyMode::Unspecified | v1::PolicyMode::Enforce) => Some(Mode::Enforce),
        Ok(v1::PolicyMode::Warn) => Some(Mode::Warn),
        Ok(v1::PolicyMode::Off) => Some(Mode::Off),
        Err(_) => {
            fields.refuse(path, "must be POLICY_MODE_ENFORCE, POLICY_MODE_WARN or POLICY_MODE_OFF");
            None
        }
    }
}

fn parse_scan_requirements(fields: &mut Fields, path: &str, wire: Option<&v1::ScanRequirements>) -> ScanRequirements {
    let field = |name: &str| format!("{path}.{name}");
    let Some(wire) = wire else { return ScanRequirements::default() };
    ScanRequirements {
        max_scan_age: parse_max_age(fields, &field("max_scan_age"), wire.max_scan_age.as_ref()),
        max_basic_scan_age: parse_max_age(fields, &field("max_basic_scan_age"), wire.max_basic_scan_age.as_ref()),
        max_source_age: parse_max_age(fields, &field("max_source_age"), wire.max_source_age.as_ref()),
        never_scanned: parse_action(fields, &field("never_scanned"), wire.never_scanned, true),
        scanning: parse_action(fields, &field("scanning"), wire.scanning, true),
        failed: parse_action(fields, &field("failed"), wire.failed, true),
        unsupported: parse_action(fields, &field("unsupported"), wire.unsupported, false),
        eligibility_expired: parse_action(fields, &field("eligibility_expired"), wire.eligibility_expired, false),
        findings_unavailable: parse_action(fields, &field("findings_unavailable"), wire.findings_unavailable, false),
        archived: parse_action(fields, &field("archived"), wire.archived, false),
        too_old: parse_action(fields, &field("too_old"), wire.too_old, true),
        unknown: parse_action(fields, &field("unknown"), wire.unknown, false),
    }
}

fn parse_max_age(fields: &mut Fields, path: &str, wire: Option<&prost_types::Duration>) -> Option<SignedDuration> {
    let age = parse_duration(fields, path, wire, MAX_PERIOD)?;
    if age < MIN_SCAN_AGE {
        fields.refuse_as(
            FieldReason::OutOfRange,
            path,
            "must be at least 60s: a completed scan needs time to settle before it can be used",
        );
    }
    SignedDuration::try_from(age).ok()
}

fn parse_action(fields: &mut Fields, path: &str, action: i32, startable: bool) -> Option<Action> {
    match v1::ShortfallAction::try_from(action) {
        Ok(v1::ShortfallAction::Unspecified) => None,
        Ok(v1::ShortfallAction::Deny) => Some(Action::Deny),
        Ok(v1::ShortfallAction::Warn) => Some(Action::Warn),
        Ok(v1::ShortfallAction::StartScan) if startable => Some(Action::StartScan),
        Ok(v1::ShortfallAction::StartScan) => {
            fields.forbid(
                path,
                "must be SHORTFALL_ACTION_DENY or SHORTFALL_ACTION_WARN: a new scan does not change this condition",
            );
            None
        }
        Err(_) => {
            fields.refuse(path, "must be SHORTFALL_ACTION_DENY, SHORTFALL_ACTION_WARN or SHORTFALL_ACTION_START_SCAN");
            None
        }
    }
}

fn parse_rules(fields: &mut Fields, path: &str, rules: &[v1::Rule]) -> Vec<Rule> {
    fields.check_length(path, rules.len(), MAX_RULES);
    let mut seen = BTreeSet::new();
    fields.each(path, rules, |fields, path, rule| {
        let rule = parse_rule(fields, path, rule)?;
        if !seen.insert(rule.id.clone()) {
            fields.refuse_as(
                FieldReason::Duplicate,
                format!("{path}.id"),
                format!("must be unique: an earlier rule has the id {}", rule.id),
            );
        }
        Some(rule)
    })
}

fn parse_rule(fields: &mut Fields, path: &str, wire: &v1::Rule) -> Option<Rule> {
    let id = fields.check(&format!("{path}.id"), RuleId::parse(&wire.id));
    check_description(fields, &format!("{path}.description"), &wire.description);
    let grace = wire.grace.as_ref().and_then(|wire| parse_grace(fields, &format!("{path}.grace"), wire));
    let effect = match v1::RuleEffect::try_from(wire.effect) {
        Ok(v1::RuleEffect::Unspecified | v1::RuleEffect::Deny) => Some(Effect::Deny),
        Ok(v1::RuleEffect::Warn) => Some(Effect::Warn),
        Err(_) => {
            fields.refuse(format!("{path}.effect"), "must be RULE_EFFECT_DENY or RULE_EFFECT_WARN");
            None
        }
    };
    let allowed_count = fields
        .check(&format!("{path}.allowed_count"), u32::try_from(wire.allowed_count).map_err(|_| "must not be negative"));
    let when = parse_when(fields, &format!("{path}.when"), wire.when.as_ref());
    Some(Rule {
        id: id?,
        description: wire.description.clone(),
        when,
        allowed_count: allowed_count?,
        grace,
        effect: effect?,
        waivable: wire.waivable.unwrap_or(true),
    })
}

fn parse_grace(fields: &mut Fields, path: &str, wire: &v1::Grace) -> Option<Grace> {
    let clock = match v1::GraceClock::try_from(wire.clock) {
        Ok(v1::GraceClock::FindingPublished) => Some(GraceClock::FindingPublished),
        Ok(v1::GraceClock::FirstObserved) => Some(GraceClock::FirstObserved),
        Ok(v1::GraceClock::FixFirstObserved) => Some(GraceClock::FixFirstObserved),
        Ok(v1::GraceClock::FirstAdmitted) => Some(GraceClock::FirstAdmitted),
        Ok(v1::GraceClock::Unspecified) | Err(_) => {
            fields.refuse(
                format!("{path}.clock"),
                "must be GRACE_CLOCK_FINDING_PUBLISHED, GRACE_CLOCK_FIRST_OBSERVED, GRACE_CLOCK_FIX_FIRST_OBSERVED \
                 or GRACE_CLOCK_FIRST_ADMITTED",
            );
            None
        }
    };
    let path = format!("{path}.period");
    let length = parse_duration(fields, &path, wire.period.as_ref(), MAX_PERIOD).unwrap_or_default();
    if length.is_zero() {
        fields.refuse_as(FieldReason::OutOfRange, path, "must be more than 0s; omit `grace` for no grace period");
    }
    Some(Grace { period: SignedDuration::try_from(length).ok()?, clock: clock? })
}

/// Parses the condition of a rule, which must have a part.
fn parse_when(fields: &mut Fields, path: &str, wire: Option<&v1::FindingCondition>) -> Condition {
    let condition = parse_condition(fields, path, wire);
    // A part that was refused is a part.
    let has_part = |wire: &v1::FindingCondition| {
        let (when_unknown, fix) = (wire.when_unknown, wire.fix);
        *wire != v1::FindingCondition { when_unknown, fix, ..Default::default() }
    };
    if condition.is_empty() && !wire.is_some_and(has_part) {
        fields
            .require(path, "must have a condition; to match every finding, set min_severity to SEVERITY_INFORMATIONAL");
    }
    condition
}

/// Parses a condition on findings; an absent one has no parts.
pub(crate) fn parse_condition(fields: &mut Fields, path: &str, wire: Option<&v1::FindingCondition>) -> Condition {
    let wire = wire.cloned().unwrap_or_default();
    fields.check_length(&format!("{path}.severities"), wire.severities.len(), MAX_SEVERITIES);
    Condition {
        min_severity: parse_severity(fields, &format!("{path}.min_severity"), wire.min_severity),
        severities: fields.each(&format!("{path}.severities"), &wire.severities, |fields, path, wire| {
            parse_severity_choice(fields, path, *wire)
        }),
        fix: parse_fix_filter(fields, &format!("{path}.fix"), wire.fix),
        min_cvss: parse_score(fields, &format!("{path}.min_cvss"), wire.min_cvss, 10.0),
        min_epss: parse_score(fields, &format!("{path}.min_epss"), wire.min_epss, 1.0),
        exploit_known: parse_exploit_known(fields, &format!("{path}.exploit"), wire.exploit),
        vulnerability_ids: parse_globs(
            fields,
            &format!("{path}.vulnerability_ids"),
            &wire.vulnerability_ids,
            MAX_RULE_GLOBS,
        ),
        packages: parse_globs(fields, &format!("{path}.packages"), &wire.packages, MAX_RULE_GLOBS),
        expression: fields.optional(&format!("{path}.expression"), &wire.expression, Expression::parse),
        package_managers: parse_managers(fields, &format!("{path}.package_managers"), &wire.package_managers),
        when_unknown: parse_when_unknown(fields, &format!("{path}.when_unknown"), wire.when_unknown),
    }
}

fn parse_severity_choice(fields: &mut Fields, path: &str, severity: i32) -> Option<SeverityChoice> {
    if v1::Severity::try_from(severity) == Ok(v1::Severity::Unrated) {
        return Some(SeverityChoice::Unrated);
    }
    if severity == i32::from(v1::Severity::Unspecified) {
        fields.refuse(path, "must be a severity");
        return None;
    }
    parse_severity(fields, path, severity).map(SeverityChoice::Rated)
}

fn parse_fix_filter(fields: &mut Fields, path: &str, fix: i32) -> FixFilter {
    match v1::FixFilter::try_from(fix) {
        Ok(v1::FixFilter::Unspecified | v1::FixFilter::Any) => FixFilter::Any,
        Ok(v1::FixFilter::Available) => FixFilter::Available,
        Ok(v1::FixFilter::None) => FixFilter::None,
        Err(_) => {
            fields.refuse(path, "must be FIX_FILTER_ANY, FIX_FILTER_AVAILABLE or FIX_FILTER_NONE");
            FixFilter::Any
        }
    }
}

fn parse_score(fields: &mut Fields, path: &str, wire: Option<f64>, max: f64) -> Option<Score> {
    let score = Score::new(wire?).ok().filter(|score| score.value() <= max);
    if score.is_none() {
        fields.refuse_as(FieldReason::OutOfRange, path, format!("must be a number from 0 to {max}"));
    }
    score
}

fn parse_exploit_known(fields: &mut Fields, path: &str, exploit: i32) -> bool {
    match v1::ExploitFilter::try_from(exploit) {
        Ok(v1::ExploitFilter::Unspecified) => false,
        Ok(v1::ExploitFilter::Known) => true,
        Err(_) => {
            fields.refuse(path, "must be EXPLOIT_FILTER_KNOWN");
            false
        }
    }
}

fn parse_managers(fields: &mut Fields, path: &str, managers: &[String]) -> Vec<String> {
    fields.check_length(path, managers.len(), MAX_MANAGERS);
    fields.each(path, managers, |fields, path, manager| {
        if (1..=64).contains(&manager.len()) {
            return Some(manager.clone());
        }
        fields.refuse_as(FieldReason::Length, path, "must be 1 to 64 bytes long");
        None
    })
}

fn parse_when_unknown(fields: &mut Fields, path: &str, value: i32) -> WhenUnknown {
    match v1::WhenUnknown::try_from(value) {
        Ok(v1::WhenUnknown::Unspecified | v1::WhenUnknown::Match) => WhenUnknown::Match,
        Ok(v1::WhenUnknown::NoMatch) => WhenUnknown::NoMatch,
        Err(_) => {
            fields.refuse(path, "must be WHEN_UNKNOWN_MATCH or WHEN_UNKNOWN_NO_MATCH");
            WhenUnknown::Match
        }
    }
}
