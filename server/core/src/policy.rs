//! Policies: named sets of rules, what they govern, and what they ask of a scan.

mod set;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::set::{PolicySet, Revision};
use crate::{
    evidence::Evidence,
    finding::{Finding, Status},
    glob::{Glob, any_or_empty},
    image::RepositoryName,
    name::{Environment, PolicyId, RuleId},
    registry::Registry,
    rule::{Effect, Filter, FixFilter, Rule},
    severity::Severity,
};

/// How strictly a policy is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// A broken rule denies.
    #[default]
    Enforce,
    /// A broken rule warns.
    Warn,
    /// Not evaluated.
    Off,
}

/// What a policy makes of a scan that falls short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// DENY.
    Deny,
    /// A warning; rules look at the findings there are.
    Warn,
    /// Start or join a scan: INDETERMINATE until it ends, DENY where none can be started.
    StartScan,
}

/// What a policy governs; empty lists govern everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Over `ACCOUNT/REGION`.
    pub registries: Vec<Glob>,
    /// Over repository names.
    pub repositories: Vec<Glob>,
    /// Over environments.
    pub environments: Vec<Glob>,
}

impl Match {
    /// Whether a call about this repository and environment is governed. A call without an environment meets the policies of
    /// all environments: leaving it out never loosens.
    pub fn governs(&self, registry: &Registry, repository: &RepositoryName, environment: Option<&Environment>) -> bool {
        any_or_empty(&self.registries, &registry.to_string())
            && self.admits_repository(repository)
            && environment.is_none_or(|environment| self.admits_environment(environment))
    }

    /// Whether repositories of this name are among those governed.
    pub fn admits_repository(&self, repository: &RepositoryName) -> bool {
        any_or_empty(&self.repositories, repository.as_str())
    }

    /// Whether there is no environment that is not governed.
    fn admits_every_environment(&self) -> bool {
        self.environments.is_empty() || self.environments.iter().any(Glob::matches_everything)
    }

    /// Whether this environment is among those governed.
    pub fn admits_environment(&self, environment: &Environment) -> bool {
        any_or_empty(&self.environments, environment.as_str())
    }
}

/// What a policy asks of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScanRequirements {
    /// How old a scan may be.
    pub max_scan_age: Option<SignedDuration>,
    /// NOT_SCANNED, NOT_COVERED.
    pub never_scanned: Option<Action>,
    /// SCAN_PENDING.
    pub scanning: Option<Action>,
    /// SCAN_FAILED.
    pub failed: Option<Action>,
    /// UNSUPPORTED, TOO_LARGE.
    pub unsupported: Option<Action>,
    /// ELIGIBILITY_EXPIRED.
    pub eligibility_expired: Option<Action>,
    /// FINDINGS_UNAVAILABLE, LIMIT_EXCEEDED.
    pub findings_unavailable: Option<Action>,
    /// ARCHIVED.
    pub archived: Option<Action>,
    /// STALE.
    pub too_old: Option<Action>,
    /// UNKNOWN_STATUS, UNPROVEN_CLEAN, INCOMPLETE, INCONSISTENT.
    pub unknown: Option<Action>,
}

impl ScanRequirements {
    /// What this evidence means; `None` where it is proof.
    pub fn on_shortfall(&self, evidence: Evidence) -> Option<Action> {
        let (chosen, default) = match evidence {
            Evidence::Proven => return None,
            // The scan that runs is joined: waiting is what everybody wants of it.
            Evidence::ScanPending => (self.scanning, Action::StartScan),
            Evidence::NotScanned | Evidence::NotCovered => (self.never_scanned, Action::Deny),
            Evidence::ScanFailed => (self.failed, Action::Deny),
            Evidence::Unsupported | Evidence::TooLarge => (self.unsupported, Action::Deny),
            Evidence::EligibilityExpired => (self.eligibility_expired, Action::Deny),
            Evidence::FindingsUnavailable | Evidence::LimitExceeded => (self.findings_unavailable, Action::Deny),
            Evidence::Archived => (self.archived, Action::Deny),
            Evidence::Stale => (self.too_old, Action::Deny),
            Evidence::UnknownStatus | Evidence::UnprovenClean | Evidence::Incomplete | Evidence::Inconsistent => {
                (self.unknown, Action::Deny)
            }
            // No policy can choose to believe an answer about something else, or one that cannot be.
            Evidence::Malformed | Evidence::Mismatch => (None, Action::Deny),
        };
        Some(chosen.unwrap_or(default))
    }
}

/// A policy's meaning. Its history, etag and times belong to [`Revision`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The id in `policies/{id}`.
    pub id: PolicyId,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What it governs.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// How strictly.
    #[serde(default)]
    pub mode: Mode,
    /// Until then ENFORCE acts as WARN.
    #[serde(default)]
    pub effective_time: Option<Timestamp>,
    /// What it asks of a scan.
    #[serde(default)]
    pub scan: ScanRequirements,
    /// Its rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How findings rank that nobody has rated.
    #[serde(default = "high")]
    pub unrated_as: Severity,
    /// Leave out findings that Inspector suppresses.
    #[serde(default)]
    pub honour_suppression: bool,
}

fn high() -> Severity {
    Severity::High
}

impl Policy {
    /// The policy that a new store begins with: a proven scan, no CRITICAL, no HIGH that can be fixed.
    ///
    /// # Errors
    /// Never in practice: the ids are constants; the type says so only because ids are parsed.
    pub fn built_in_default() -> Result<Self, crate::name::Error> {
        let rule = |id: &str, description: &str, when: Filter| -> Result<Rule, crate::name::Error> {
            Ok(Rule {
                id: RuleId::parse(id)?,
                description: description.to_owned(),
                when,
                allow: 0,
                grace: None,
                effect: Effect::Deny,
                waivable: true,
            })
        };
        Ok(Self {
            id: PolicyId::parse(PolicyId::DEFAULT)?,
            description: "Governs every image that no other enforced policy governs.".to_owned(),
            matches: Match::default(),
            mode: Mode::Enforce,
            effective_time: None,
            scan: ScanRequirements::default(),
            rules: vec![
                rule(
                    "no-critical",
                    "No CRITICAL findings: upgrade or remove the packages.",
                    Filter { min_severity: Some(Severity::Critical), ..Filter::default() },
                )?,
                rule(
                    "no-fixable-high",
                    "No HIGH findings that an upgrade removes: upgrade the packages.",
                    Filter { min_severity: Some(Severity::High), fix: FixFilter::Available, ..Filter::default() },
                )?,
            ],
            unrated_as: Severity::High,
            honour_suppression: false,
        })
    }

    /// The mode that it is applied in at an instant.
    pub fn mode_at(&self, now: Timestamp) -> Mode {
        match self.mode {
            Mode::Enforce if self.effective_time.is_some_and(|effective| now < effective) => Mode::Warn,
            mode @ (Mode::Enforce | Mode::Warn | Mode::Off) => mode,
        }
    }

    /// Whether it takes the place of the default while it is enforced, for calls about an environment or about none.
    pub(crate) fn can_displace_default(&self, environment: Option<&Environment>) -> bool {
        !self.id.is_default() && (environment.is_some() || self.matches.admits_every_environment())
    }

    /// Whether a finding counts at all under this policy.
    pub fn counts(&self, finding: &Finding) -> bool {
        match finding.status {
            Status::Active | Status::Unrecognised => true,
            Status::Suppressed => !self.honour_suppression,
            Status::Closed => false,
        }
    }
}
