//! Rules: a predicate over findings, how many may match, and what follows when more do.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    evidence::CLOCK_SLACK,
    expression::Expression,
    finding::{Exploit, Finding, Fix, Score},
    first_seen::FirstSeenTimes,
    glob::{Glob, any_or_empty},
    name::RuleId,
    severity::{Rating, Severity},
    unknown::WhenUnknown,
};

/// What follows when a rule is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Effect {
    /// The verdict is DENY.
    #[default]
    Deny,
    /// The decision carries a warning.
    Warn,
}

/// Findings by whether a fix exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FixFilter {
    /// All.
    #[default]
    Any,
    /// With a fix, in full or in part, and those whose scan does not say.
    Available,
    /// Without a fix.
    None,
}

/// A severity that a filter can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SeverityChoice {
    /// Findings that nobody has rated, however they rank.
    Unrated,
    /// One of the five; unrated findings rank as the policy says.
    #[serde(untagged)]
    Rated(Severity),
}

/// Chooses findings: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// At least this severity.
    pub min_severity: Option<Severity>,
    /// Any of these severities; empty: any.
    pub severities: Vec<SeverityChoice>,
    /// Whether a fix exists.
    pub fix: FixFilter,
    /// CVSS of at least this.
    pub min_cvss: Option<Score>,
    /// EPSS of at least this.
    pub min_epss: Option<Score>,
    /// Only findings with a known exploit.
    pub exploit_known: bool,
    /// Any of these matches the vulnerability id; empty: any.
    pub vulnerability_ids: Vec<Glob>,
    /// Any of these matches the package's name; empty: any.
    pub packages: Vec<Glob>,
    /// Any of these is the package manager, compared without case; empty: any.
    pub package_managers: Vec<String>,
    /// This holds.
    pub expression: Option<Expression>,
    /// What becomes of a finding that lacks a field.
    pub when_unknown: WhenUnknown,
}

impl Filter {
    /// Whether nothing at all is asked for, so that every finding would match.
    pub fn is_empty(&self) -> bool {
        let anything = Self { when_unknown: self.when_unknown, ..Self::default() };
        *self == anything
    }

    /// Whether the finding matches. Takes no heed of its status: see [`crate::policy::Policy::counts`].
    pub fn matches(&self, finding: &Finding, unrated_as: Severity, now: Timestamp) -> bool {
        self.severity_matches(&finding.severity, unrated_as)
            && self.fix_matches(finding.fix)
            && self.at_least(self.min_cvss, finding.cvss)
            && self.at_least(self.min_epss, finding.epss)
            && self.exploit_matches(finding.exploit)
            && any_or_empty(&self.vulnerability_ids, &finding.id)
            && any_or_empty(&self.packages, &finding.package.name)
            && self.manager_matches(finding.package.manager.as_deref())
            && self.expression_matches(finding, unrated_as, now)
    }

    /// When, after `now`, the finding will begin or cease to match although nothing else changes, in order.
    pub fn changes(&self, finding: &Finding, unrated_as: Severity, now: Timestamp) -> Vec<(Timestamp, bool)> {
        let Some(expression) = self.expression.as_ref().filter(|expression| expression.depends_on_now()) else {
            return Vec::new();
        };
        let mut instants = Vec::new();
        expression.instants(finding, &mut |at| instants.extend(Some(at).filter(|at| *at > now)));
        instants.sort_unstable();
        instants.dedup();
        let mut last = self.matches(finding, unrated_as, now);
        let turns = instants.into_iter().filter_map(|at| {
            let matches = self.matches(finding, unrated_as, at);
            (std::mem::replace(&mut last, matches) != matches).then_some((at, matches))
        });
        turns.collect()
    }

    fn severity_matches(&self, rating: &Rating, unrated_as: Severity) -> bool {
        let rank = rating.rank(unrated_as);
        let chosen = |choice: &SeverityChoice| match choice {
            SeverityChoice::Rated(severity) => *severity == rank,
            SeverityChoice::Unrated => matches!(rating, Rating::Unrated(_)),
        };
        self.min_severity.is_none_or(|least| rank >= least)
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

    fn at_least(&self, least: Option<Score>, score: Option<Score>) -> bool {
        match (least, score) {
            (None, _) => true,
            (Some(_), None) => self.unknown_matches(),
            (Some(least), Some(score)) => score >= least,
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

    fn manager_matches(&self, manager: Option<&str>) -> bool {
        self.package_managers.is_empty()
            || manager.map_or_else(
                || self.unknown_matches(),
                |manager| self.package_managers.iter().any(|asked| asked.eq_ignore_ascii_case(manager)),
            )
    }

    fn expression_matches(&self, finding: &Finding, unrated_as: Severity, now: Timestamp) -> bool {
        self.expression
            .as_ref()
            .is_none_or(|expression| expression.matches(finding, unrated_as, now, self.when_unknown))
    }

    fn unknown_matches(&self) -> bool {
        self.when_unknown == WhenUnknown::Match
    }
}

/// The instant that a grace period runs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GraceClock {
    /// The vulnerability was published.
    FindingPublished,
    /// The gate first saw the vulnerability in the package in this repository.
    FirstObserved,
    /// The gate first saw a fix for it there.
    FixFirstSeen,
    /// The gate first allowed an image of the repository that has it.
    FirstAdmitted,
}

/// A period during which a matching finding does not count yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grace {
    /// How long.
    pub period: SignedDuration,
    /// From when.
    pub clock: GraceClock,
}

impl Grace {
    /// From when to when a finding does not count; `None` where its clock is not known, so that it gets no grace.
    ///
    /// A clock may run ahead of ours by a little. What starts further ahead gives no grace until then: a date of publication
    /// in the far future would otherwise never let the finding count.
    pub fn window(&self, finding: &Finding, clocks: &FirstSeenTimes) -> Option<(Timestamp, Timestamp)> {
        let from = match self.clock {
            GraceClock::FindingPublished => finding.published_at,
            GraceClock::FirstObserved => clocks.get(finding).first_observed_at,
            GraceClock::FixFirstSeen => clocks.get(finding).fix_first_seen_at,
            GraceClock::FirstAdmitted => clocks.get(finding).first_admitted_at,
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
    /// Its name within the policy.
    pub id: RuleId,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Which findings match.
    pub when: Filter,
    /// How many of a manifest's findings may match.
    #[serde(default)]
    pub allow: u32,
    /// How long a matching finding does not count yet.
    #[serde(default)]
    pub grace: Option<Grace>,
    /// What follows when more do.
    #[serde(default)]
    pub effect: Effect,
    /// Whether a waiver can help.
    #[serde(default = "waivable")]
    pub waivable: bool,
}

fn waivable() -> bool {
    true
}
