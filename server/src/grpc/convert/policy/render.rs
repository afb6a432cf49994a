//! Rendering of policies.

use scangate_core::{
    decision::AppliedPolicy,
    glob::Glob,
    policy::{Action, Match, Mode, Revision, ScanRequirements},
    rule::{Condition, Effect, FixFilter, Grace, GraceClock, Rule, SeverityChoice},
    unknown::WhenUnknown,
};
use scangate_proto::v1;

use super::super::{
    count::render_count,
    finding::render_severity,
    policy::render_etag,
    revision::render_revision,
    time::{render_duration, render_timestamp},
};

/// Renders a stored policy.
pub(crate) fn render_policy(revision: &Revision) -> v1::Policy {
    let policy = &revision.policy;
    v1::Policy {
        name: policy.id.resource_name(),
        description: policy.description.clone(),
        r#match: (policy.matches != Match::default()).then(|| v1::PolicyMatch {
            registries: render_globs(&policy.matches.registries),
            repositories: render_globs(&policy.matches.repositories),
            environments: render_globs(&policy.matches.environments),
        }),
        mode: render_mode(policy.mode).into(),
        effective_time: policy.effective_time.map(render_timestamp),
        replaces_default: policy.replaces_default.then_some(true),
        scan: (policy.scan != ScanRequirements::default()).then(|| render_scan(&policy.scan)),
        rules: policy.rules.iter().map(render_rule).collect(),
        unrated_as: render_severity(policy.unrated_as).into(),
        honor_suppression: policy.honor_suppression.then_some(true),
        etag: render_etag(revision.revision),
        revision: render_revision(revision.revision),
        content_digest: revision.content_digest.clone(),
        create_time: Some(render_timestamp(revision.create_time)),
        update_time: Some(render_timestamp(revision.update_time)),
        not_understood: revision.not_understood.clone(),
        update_author: revision.update_author.clone(),
    }
}

/// Renders a reference to a policy that a decision applied.
pub(crate) fn render_applied_policy(applied: &AppliedPolicy) -> v1::PolicyReference {
    v1::PolicyReference {
        policy: applied.id.resource_name(),
        revision: render_revision(applied.revision),
        content_digest: applied.content_digest.clone(),
        mode: render_mode(applied.mode).into(),
        replaces_default: applied.replaces_default,
    }
}

fn render_globs(globs: &[Glob]) -> Vec<String> {
    globs.iter().map(ToString::to_string).collect()
}

fn render_mode(mode: Mode) -> v1::PolicyMode {
    match mode {
        Mode::Enforce => v1::PolicyMode::Enforce,
        Mode::Warn => v1::PolicyMode::Warn,
        Mode::Off => v1::PolicyMode::Off,
    }
}

fn render_scan(scan: &ScanRequirements) -> v1::ScanRequirements {
    let action = |action: Option<Action>| -> i32 {
        match action {
            None => v1::ShortfallAction::Unspecified,
            Some(Action::Deny) => v1::ShortfallAction::Deny,
            Some(Action::Warn) => v1::ShortfallAction::Warn,
            Some(Action::StartScan) => v1::ShortfallAction::StartScan,
        }
        .into()
    };
    v1::ScanRequirements {
        max_scan_age: scan.max_scan_age.map(render_duration),
        max_basic_scan_age: scan.max_basic_scan_age.map(render_duration),
        max_source_age: scan.max_source_age.map(render_duration),
        never_scanned: action(scan.never_scanned),
        scanning: action(scan.scanning),
        failed: action(scan.failed),
        unsupported: action(scan.unsupported),
        eligibility_expired: action(scan.eligibility_expired),
        findings_unavailable: action(scan.findings_unavailable),
        archived: action(scan.archived),
        too_old: action(scan.too_old),
        unknown: action(scan.unknown),
    }
}

fn render_rule(rule: &Rule) -> v1::Rule {
    v1::Rule {
        id: rule.id.to_string(),
        description: rule.description.clone(),
        when: Some(render_condition(&rule.when)),
        allowed_count: render_count(rule.allowed_count),
        grace: rule.grace.map(render_grace),
        effect: match rule.effect {
            Effect::Deny => v1::RuleEffect::Deny,
            Effect::Warn => v1::RuleEffect::Warn,
        }
        .into(),
        waivable: (!rule.waivable).then_some(false),
    }
}

fn render_grace(grace: Grace) -> v1::Grace {
    v1::Grace {
        period: Some(render_duration(grace.period)),
        clock: match grace.clock {
            GraceClock::FindingPublished => v1::GraceClock::FindingPublished,
            GraceClock::FirstObserved => v1::GraceClock::FirstObserved,
            GraceClock::FixFirstObserved => v1::GraceClock::FixFirstObserved,
            GraceClock::FirstAdmitted => v1::GraceClock::FirstAdmitted,
        }
        .into(),
    }
}

fn render_condition(condition: &Condition) -> v1::FindingCondition {
    let choice = |choice: &SeverityChoice| match choice {
        SeverityChoice::Unrated => v1::Severity::Unrated,
        SeverityChoice::Rated(severity) => render_severity(*severity),
    };
    v1::FindingCondition {
        min_severity: condition.min_severity.map_or(v1::Severity::Unspecified, render_severity).into(),
        severities: condition.severities.iter().map(|severity| choice(severity).into()).collect(),
        fix: match condition.fix {
            FixFilter::Any => v1::FixFilter::Unspecified,
            FixFilter::Available => v1::FixFilter::Available,
            FixFilter::None => v1::FixFilter::None,
        }
        .into(),
        min_cvss: condition.min_cvss.map(f64::from),
        min_epss: condition.min_epss.map(f64::from),
        exploit: if condition.exploit_known { v1::ExploitFilter::Known } else { v1::ExploitFilter::Unspecified }.into(),
        vulnerability_ids: render_globs(&condition.vulnerability_ids),
        packages: render_globs(&condition.packages),
        package_managers: condition.package_managers.clone(),
        expression: condition.expression.as_ref().map(|expression| expression.source().to_owned()).unwrap_or_default(),
        when_unknown: match condition.when_unknown {
            WhenUnknown::Match => v1::WhenUnknown::Unspecified,
            WhenUnknown::NoMatch => v1::WhenUnknown::NoMatch,
        }
        .into(),
    }
}
