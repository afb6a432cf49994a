//! Policies for the wire.

use scangate_core::{
    decision::AppliedPolicy,
    glob::Glob,
    policy::{Action, Match, Mode, Revision, ScanRequirements},
    rule::{Effect, Filter, FixFilter, Grace, GraceClock, Rule, SeverityChoice},
    unknown::WhenUnknown,
};
use scangate_proto::v1;

use super::super::{
    finding::severity_out,
    policy::etag_out,
    time::{duration, timestamp},
};

/// A policy as stored.
pub(crate) fn policy_out(revised: &Revision) -> v1::Policy {
    let policy = &revised.policy;
    v1::Policy {
        name: policy.id.resource_name(),
        description: policy.description.clone(),
        r#match: (policy.matches != Match::default()).then(|| v1::PolicyMatch {
            registries: globs_out(&policy.matches.registries),
            repositories: globs_out(&policy.matches.repositories),
            environments: globs_out(&policy.matches.environments),
        }),
        mode: mode_out(policy.mode).into(),
        effective_time: policy.effective_time.map(timestamp),
        scan: (policy.scan != ScanRequirements::default()).then(|| scan_out(&policy.scan)),
        rules: policy.rules.iter().map(rule_out).collect(),
        unrated_as: severity_out(policy.unrated_as).into(),
        honour_suppression: policy.honour_suppression,
        etag: etag_out(revised.revision),
        revision: revised.revision,
        content_digest: revised.content_digest.clone(),
        create_time: Some(timestamp(revised.create_time)),
        update_time: Some(timestamp(revised.update_time)),
    }
}

/// A policy that a decision rests on.
pub(crate) fn applied_out(applied: &AppliedPolicy) -> v1::PolicyReference {
    v1::PolicyReference {
        name: applied.id.resource_name(),
        revision: applied.revision,
        content_digest: applied.content_digest.clone(),
        mode: mode_out(applied.mode).into(),
    }
}

fn globs_out(globs: &[Glob]) -> Vec<String> {
    globs.iter().map(ToString::to_string).collect()
}

fn mode_out(mode: Mode) -> v1::PolicyMode {
    match mode {
        Mode::Enforce => v1::PolicyMode::Enforce,
        Mode::Warn => v1::PolicyMode::Warn,
        Mode::Off => v1::PolicyMode::Off,
    }
}

fn scan_out(scan: &ScanRequirements) -> v1::ScanRequirements {
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
        max_scan_age: scan.max_scan_age.map(duration),
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

fn rule_out(rule: &Rule) -> v1::Rule {
    v1::Rule {
        id: rule.id.to_string(),
        description: rule.description.clone(),
        when: Some(filter_out(&rule.when)),
        allow: rule.allow,
        grace: rule.grace.map(grace_out),
        effect: match rule.effect {
            Effect::Deny => v1::RuleEffect::Deny,
            Effect::Warn => v1::RuleEffect::Warn,
        }
        .into(),
        waivable: (!rule.waivable).then_some(false),
    }
}

fn grace_out(grace: Grace) -> v1::Grace {
    v1::Grace {
        period: Some(duration(grace.period)),
        clock: match grace.clock {
            GraceClock::FindingPublished => v1::GraceClock::FindingPublished,
            GraceClock::FirstObserved => v1::GraceClock::FirstObserved,
            GraceClock::FixFirstSeen => v1::GraceClock::FixFirstSeen,
            GraceClock::FirstAdmitted => v1::GraceClock::FirstAdmitted,
        }
        .into(),
    }
}

fn filter_out(filter: &Filter) -> v1::FindingFilter {
    let choice = |choice: &SeverityChoice| match choice {
        SeverityChoice::Unrated => v1::Severity::Unrated,
        SeverityChoice::Rated(severity) => severity_out(*severity),
    };
    v1::FindingFilter {
        min_severity: filter.min_severity.map_or(v1::Severity::Unspecified, severity_out).into(),
        severities: filter.severities.iter().map(|given| choice(given).into()).collect(),
        fix: match filter.fix {
            FixFilter::Any => v1::FixFilter::Unspecified,
            FixFilter::Available => v1::FixFilter::Available,
            FixFilter::None => v1::FixFilter::None,
        }
        .into(),
        min_cvss: filter.min_cvss.map(f64::from),
        min_epss: filter.min_epss.map(f64::from),
        exploit: if filter.exploit_known { v1::ExploitFilter::Known } else { v1::ExploitFilter::Unspecified }.into(),
        vulnerability_ids: globs_out(&filter.vulnerability_ids),
        packages: globs_out(&filter.packages),
        package_managers: filter.package_managers.clone(),
        expression: filter.expression.as_ref().map(|expression| expression.source().to_owned()).unwrap_or_default(),
        when_unknown: match filter.when_unknown {
            WhenUnknown::Match => v1::WhenUnknown::Unspecified,
            WhenUnknown::NoMatch => v1::WhenUnknown::NoMatch,
        }
        .into(),
    }
}
