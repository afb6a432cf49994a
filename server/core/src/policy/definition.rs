//! The policy: its scope, its requirements on a scan, and its rules.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    requirements::{Action, ScanRequirements},
    scope::Match,
};
use crate::{
    finding::{Finding, Status},
    glob::Glob,
    name::{Environment, PolicyId, RuleId},
    rule::{Condition, Effect, FixFilter, Rule, SeverityChoice},
    severity::Severity,
    stored::is_default,
    unknown::WhenUnknown,
};

/// The strictness with which a policy is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// A broken rule denies.
    #[default]
    Enforce,
    /// A broken rule warns.
    Warn,
    /// The policy is not evaluated.
    Off,
}

/// A policy. Its history, etag and times belong to [`Revision`](super::Revision).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The id in `policies/{id}`.
    pub id: PolicyId,
    /// A description for readers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// The calls that it governs.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub matches: Match,
    /// Its strictness.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// The instant before which ENFORCE acts as WARN; `None`: effective at once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub effective_time: Option<Timestamp>,
    /// True if it takes the place of `policies/default` for the calls that it governs, while it is enforced.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replaces_default: bool,
    /// Its requirements on a scan.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scan: ScanRequirements,
    /// Its rules.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rules: Vec<Rule>,
    /// The rank of unrated findings.
    #[serde(default = "high", skip_serializing_if = "is_high")]
    pub unrated_as: Severity,
    /// True if findings that Inspector suppresses do not count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub honor_suppression: bool,
}

fn high() -> Severity {
    Severity::High
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_high(severity: &Severity) -> bool {
    *severity == high()
}

impl Policy {
    /// Returns the policy that a new store begins with: a proven scan, no basic scan older than 30 days, no CRITICAL, no
    /// fixable HIGH, no malicious package. Unrated findings without a fix are a warning; those with one rank as HIGH.
    ///
    /// # Errors
    /// Never in practice: the ids are valid constants.
    pub fn built_in_default() -> Result<Self, crate::name::Error> {
        Ok(Self {
            id: PolicyId::parse(PolicyId::DEFAULT)?,
            description: "Governs every image, beside the policies that match it.".to_owned(),
            matches: Match::default(),
            mode: Mode::Enforce,
            effective_time: None,
            replaces_default: false,
            // A rollback to an old image waits for one scan instead of failing.
            scan: ScanRequirements {
                max_basic_scan_age: Some(MAX_BASIC_SCAN_AGE),
                too_old: Some(Action::StartScan),
                ..ScanRequirements::default()
            },
            rules: default_rules()?,
            unrated_as: Severity::High,
            honor_suppression: false,
        })
    }

    /// Returns the mode in which the policy is applied at an instant.
    pub fn mode_at(&self, now: Timestamp) -> Mode {
        match self.mode {
            Mode::Enforce if self.effective_time.is_some_and(|effective| now < effective) => Mode::Warn,
            mode @ (Mode::Enforce | Mode::Warn | Mode::Off) => mode,
        }
    }

    /// True if the policy takes the place of the default while it is enforced. A call without an environment needs a
    /// policy that covers every environment.
    pub(crate) fn can_replace_default(&self, environment: Option<&Environment>) -> bool {
        self.replaces_default
            && !self.id.is_default()
            && (environment.is_some() || self.matches.admits_every_environment())
    }

    /// True if the status of a finding lets it count under this policy.
    pub fn counts(&self, finding: &Finding) -> bool {
        match finding.status {
            Status::Active | Status::Unrecognised => true,
            Status::Suppressed => !self.honor_suppression,
            Status::Closed => false,
        }
    }
}

/// The maximum age of a basic scan under the built-in default.
const MAX_BASIC_SCAN_AGE: SignedDuration = SignedDuration::from_hours(30 * 24);

fn default_rules() -> Result<Vec<Rule>, crate::name::Error> {
    let malicious = Glob::parse("MAL-*").ok();
    let rules = [
        (
            "no-critical",
            "No CRITICAL findings: apply the fixes, or remove the packages.",
            Effect::Deny,
            Condition { min_severity: Some(Severity::Critical), ..Condition::default() },
        ),
        (
            "no-fixable-high",
            "No HIGH findings with a fix, or with an unknown one: apply the fixes.",
            Effect::Deny,
            Condition { min_severity: Some(Severity::High), fix: FixFilter::Available, ..Condition::default() },
        ),
        (
            "no-malicious",
            "No malicious packages, with or without a fix: remove them.",
            Effect::Deny,
            Condition {
                vulnerability_ids: malicious.into_iter().collect(),
                // A finding without an id is no sign of malice: some basic scans have them.
                when_unknown: WhenUnknown::NoMatch,
                ..Condition::default()
            },
        ),
        (
            "review-unrated",
            "Unrated findings without a fix: assess them.",
            Effect::Warn,
            Condition { severities: vec![SeverityChoice::Unrated], fix: FixFilter::None, ..Condition::default() },
        ),
    ];
    let rule = |(id, description, effect, when): (&str, &str, _, _)| {
        let (id, description) = (RuleId::parse(id)?, description.to_owned());
        Ok(Rule { id, description, when, allowed_count: 0, grace: None, effect, waivable: true })
    };
    rules.into_iter().map(rule).collect()
}
