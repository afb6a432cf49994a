//! Rules: a condition on findings, the maximum number of matches, and the effect of exceeding it.

mod loosening;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    evidence::CLOCK_SLACK,
    expression::Expression,
    finding::{Exploit, Finding, Fix, Score},
    first_seen::FirstSeenTimes,
    glob::Glob,
    name::RuleId,
    package_name,
    scan::Usage,
    severity::{Rating, Severity},
    stored::is_default,
    unknown::WhenUnknown,
    vulnerability_id::is_blank,
};

/// The effect of a broken rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Effect {
    /// The verdict is DENY.
    #[default]
    Deny,
    /// The decision carries a warning.
    Warn,
}

/// A filter on the availability of a fix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FixFilter {
    /// Every finding.
    #[default]
    Any,
    /// Findings with a full or partial fix, and findings whose scan does not report it.
    Available,
    /// Findings without a fix.
    None,
}

/// A severity that a filter can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SeverityChoice {
    /// Unrated findings, whatever their rank.
    Unrated,
    /// One of the five severities; unrated findings have the rank that the policy sets.
    #[serde(untagged)]
    Rated(Severity),
}

/// A condition on findings: every part that is set must hold.
///
/// ```
/// use scangate_core::{finding::Finding, rule::Condition, scan::Usage, severity::Severity};
///
/// let condition: Condition = serde_json::from_str(r#"{ "min_severity": "HIGH", "min_epss": 0.5 }"#)?;
/// let finding: Finding =
///     serde_json::from_str(r#"{ "id": "CVE-2026-1", "package": { "name": "zlib" }, "severity": "HIGH" }"#)?;
/// let now = "2026-03-01T12:00:00Z".parse()?;
///
/// // The finding has no EPSS. By default, unknown values match, so that the rule fails closed.
/// assert!(condition.matches(&finding, &Usage::default(), Severity::High, now));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// The minimum severity.
    #[serde(skip_serializing_if = "is_default")]
    pub min_severity: Option<Severity>,
    /// The accepted severities; empty: any.
    #[serde(skip_serializing_if = "is_default")]
    pub severities: Vec<SeverityChoice>,
    /// The availability of a fix.
    #[serde(skip_serializing_if = "is_default")]
    pub fix: FixFilter,
    /// The minimum CVSS score.
    #[serde(skip_serializing_if = "is_default")]
    pub min_cvss: Option<Score>,
    /// The minimum EPSS.
    #[serde(skip_serializing_if = "is_default")]
    pub min_epss: Option<Score>,
    /// True to match only findings with a known exploit.
    #[serde(skip_serializing_if = "is_default")]
    pub exploit_known: bool,
    /// Globs over the vulnerability id and the related ids, compared without case; empty: any.
    #[serde(skip_serializing_if = "is_default")]
    pub vulnerability_ids: Vec<Glob>,
    /// Globs over the package's name, compared as [`package_name::any_may_match`] does; empty: any.
    #[serde(skip_serializing_if = "is_default")]
    pub packages: Vec<Glob>,
    /// The accepted package managers, compared without case; empty: any.
    #[serde(skip_serializing_if = "is_default")]
    pub package_managers: Vec<String>,
    /// An expression over the finding and the use of its image.
    #[serde(skip_serializing_if = "is_default")]
    pub expression: Option<Expression>,
    /// The result for a finding that lacks a field.
    #[serde(skip_serializing_if = "is_default")]
    pub when_unknown: WhenUnknown,
}

impl Condition {
    /// True if no part is set, so that every finding matches.
    pub fn is_empty(&self) -> bool {
        let unconditional = Self { when_unknown: self.when_unknown, ..Self::default() };
        *self == unconditional
    }

    /// True if the finding of a manifest with this use matches. Its status is not considered: see [`crate::policy::Policy::counts`].
    pub fn matches(&self, finding: &Finding, usage: &Usage, unrated_as: Severity, now: Timestamp) -> bool {
        self.severity_matches(&finding.severity, unrated_as)
            && self.fix_matches(finding.fix)
            && self.at_least(self.min_cvss, finding.cvss)
            && self.at_least(self.min_epss, finding.epss)
            && self.exploit_matches(finding.exploit)
            && self.id_matches(finding)
            && self.package_matches(finding)
            && self.manager_matches(finding.package.manager.as_deref())
            && self.expression_matches(finding, usage, unrated_as, now)
    }

    /// Returns the instants after `now` at which the passage of time changes the match, in order. Each has the new result:
    /// true if the finding matches from then on.
    pub fn changes(
        &self,
        finding: &Finding,
        usage: &Usage,
        unrated_as: Severity,
        now: Timestamp,
    ) -> Vec<(Timestamp, bool)> {
        let Some(expression) = self.expression.as_ref().filter(|expression| expression.depends_on_now()) else {
            return Vec::new();
        };
        let mut instants = Vec::new();
        expression.instants(finding, usage, &mut |at| instants.extend(Some(at).filter(|at| *at > now)));
        instants.sort_unstable();
        instants.dedup();
        let mut last = self.matches(finding, usage, unrated_as, now);
        let changes = instants.into_iter().filter_map(|at| {
            let matches = self.matches(finding, usage, unrated_as, at);
            (std::mem::replace(&mut last, matches) != matches).then_some((at, matches))
        });
        changes.collect()
    }

    fn severity_matches(&self, rating: &Rating, unrated_as: Severity) -> bool {
        let rank = rating.rank(unrated_as);
        let chosen = |choice: &SeverityChoice| match choice {
            SeverityChoice::Rated(severity) => *severity == rank,
            SeverityChoice::Unrated => matches!(rating, Rating::Unrated(_)),
        };
        self.min_severity.is_none_or(|min| rank >= min)
            && (self.severities.is_empty() || self.severities.iter().any(chosen))
    }

    fn fix_matches(&self, fix: Fix) -> bool {
        match (self.fix, fix) {
            (FixFilter::Any, _)
            | (FixFilter::Available, Fix::Available | Fix::Partial | Fix::Unknown)
            | (FixFilter::None, Fix::None) => true,
            (FixFilter::Available, Fix::None) | (FixFilter::None, Fix::Available | Fix::Partial | Fix::Unknown) => {
                false
            }
        }
    }

    fn at_least(&self, min: Option<Score>, score: Option<Score>) -> bool {
        match (min, score) {
            (None, _) => true,
            (Some(_), None) => self.unknown_matches(),
            (Some(min), Some(score)) => score >= min,
        }
    }

    fn exploit_matches(&self, exploit: Exploit) -> bool {
        match exploit {
            _ if !self.exploit_known => true,
            Exploit::Known => true,
            Exploit::NotKnown => false,
            Exploit::Unknown => self.unknown_matches(),
        }
    }

    fn id_matches(&self, finding: &Finding) -> bool {
        let is_named = |id: &str| self.vulnerability_ids.iter().any(|glob| glob.matches_ignoring_case(id));
        self.vulnerability_ids.is_empty()
            || finding.related_ids.iter().any(|id| is_named(id))
            || if is_blank(&finding.id) { self.unknown_matches() } else { is_named(&finding.id) }
    }

    fn package_matches(&self, finding: &Finding) -> bool {
        self.packages.is_empty()
            || if is_blank(&finding.package.name) {
                self.unknown_matches()
            } else {
                package_name::any_may_match(&self.packages, &finding.package)
            }
    }

    fn manager_matches(&self, manager: Option<&str>) -> bool {
        self.package_managers.is_empty()
            || manager.map_or_else(
                || self.unknown_matches(),
                |manager| self.package_managers.iter().any(|accepted| accepted.eq_ignore_ascii_case(manager)),
            )
    }

    fn expression_matches(&self, finding: &Finding, usage: &Usage, unrated_as: Severity, now: Timestamp) -> bool {
        self.expression
            .as_ref()
            .is_none_or(|expression| expression.matches(finding, usage, unrated_as, now, self.when_unknown))
    }

    fn unknown_matches(&self) -> bool {
        self.when_unknown == WhenUnknown::Match
    }
}

/// The clock of a grace period: the instant from which it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GraceClock {
    /// The vulnerability was published.
    FindingPublished,
    /// The gate first saw the vulnerability in the package in this repository.
    FirstObserved,
    /// The gate first saw a fix for it there.
    FixFirstObserved,
    /// The gate first allowed an image with the vulnerability, in this repository, into the requested environment.
    FirstAdmitted,
}

/// A period during which a matching finding does not count yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grace {
    /// The length.
    pub period: SignedDuration,
    /// The clock.
    pub clock: GraceClock,
}

impl Grace {
    /// Returns the start and the end of a finding's grace period. Without a known clock there is no grace: `None`.
    ///
    /// A start may be up to [`CLOCK_SLACK`] in the future. With a later start, the finding counts until that long before
    /// the start. Otherwise, a publication date far in the future would grant unlimited grace.
    pub fn window(&self, finding: &Finding, first_seen: &FirstSeenTimes) -> Option<(Timestamp, Timestamp)> {
        let from = match self.clock {
            GraceClock::FindingPublished => finding.publish_time.map(Timestamp::from),
            GraceClock::FirstObserved => first_seen.get(finding).first_observe_time,
            GraceClock::FixFirstObserved => first_seen.get(finding).fix_first_observe_time,
            GraceClock::FirstAdmitted => first_seen.get(finding).first_admit_time,
        }?;
        let until = from.saturating_add(self.period).ok()?;
        let from = from.saturating_sub(CLOCK_SLACK).ok()?;
        (from < until).then_some((from, until))
    }
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its id within the policy.
    pub id: RuleId,
    /// A description for readers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// The findings that match.
    pub when: Condition,
    /// The number of findings of a manifest that may match.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allowed_count: u32,
    /// The period during which a matching finding does not count yet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grace: Option<Grace>,
    /// The effect of more than `allow` findings.
    #[serde(default, skip_serializing_if = "is_default")]
    pub effect: Effect,
    /// True if waivers apply to the rule.
    #[serde(default = "waivable", skip_serializing_if = "is_waivable")]
    pub waivable: bool,
}

fn waivable() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_waivable(waivable: &bool) -> bool {
    *waivable
}
