//! The policy: its scope, its requirements on a scan, and its rules.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{requirements::ScanRequirements, scope::Match};
use crate::{
    finding::{Finding, Status},
    name::{Environment, PolicyId, RuleId},
    rule::{Effect, Filter, FixFilter, Rule},
    severity::Severity,
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
    #[serde(default)]
    pub description: String,
    /// The calls that it governs.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Its strictness.
    #[serde(default)]
    pub mode: Mode,
    /// The instant before which ENFORCE acts as WARN; `None`: effective at once.
    #[serde(default)]
    pub effective_time: Option<Timestamp>,
    /// True if it takes the place of `policies/default` for the calls that it governs, while it is enforced.
    #[serde(default)]
    pub replaces_default: bool,
    /// Its requirements on a scan.
    #[serde(default)]
    pub scan: ScanRequirements,
    /// Its rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The rank of unrated findings.
    #[serde(default = "high")]
    pub unrated_as: Severity,
    /// True if findings that Inspector suppresses do not count.
    #[serde(default)]
    pub honour_suppression: bool,
}

fn high() -> Severity {
    Severity::High
}

impl Policy {
    /// Returns the policy that a new store begins with: a proven scan, no CRITICAL, no fixable HIGH.
    ///
    /// # Errors
    /// Never in practice: the ids are valid constants.
    pub fn built_in_default() -> Result<Self, crate::name::Error> {
        let no_critical = Filter { min_severity: Some(Severity::Critical), ..Filter::default() };
        let no_fixable_high =
            Filter { min_severity: Some(Severity::High), fix: FixFilter::Available, ..Filter::default() };
        Ok(Self {
            id: PolicyId::parse(PolicyId::DEFAULT)?,
            description: "Governs every image, beside the policies that match it.".to_owned(),
            matches: Match::default(),
            mode: Mode::Enforce,
            effective_time: None,
            replaces_default: false,
            scan: ScanRequirements::default(),
            rules: vec![
                denying("no-critical", "No CRITICAL findings: upgrade or remove the packages.", no_critical)?,
                denying(
                    "no-fixable-high",
                    "No HIGH findings that an upgrade removes: upgrade the packages.",
                    no_fixable_high,
                )?,
            ],
            unrated_as: Severity::High,
            honour_suppression: false,
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
            Status::Suppressed => !self.honour_suppression,
            Status::Closed => false,
        }
    }
}

fn denying(id: &str, description: &str, when: Filter) -> Result<Rule, crate::name::Error> {
    Ok(Rule {
        id: RuleId::parse(id)?,
        description: description.to_owned(),
        when,
        allow: 0,
        grace: None,
        effect: Effect::Deny,
        waivable: true,
    })
}
