//! A cheap prefilter: a compact summary of each finding lets a rule skip findings that it cannot match.

use crate::{
    finding::{Exploit, Finding, Fix, Score},
    policy::Policy,
    rule::{Condition, FixFilter, SeverityChoice},
    severity::{Rating, Severity},
};

/// The properties of a finding that most rules ask for, in a few bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct FindingSummary {
    /// One bit for the severity.
    severity: u8,
    /// One bit for the availability of a fix.
    fix: u8,
    has_no_exploit: bool,
    /// NaN if the finding has no score: NaN compares neither less nor greater.
    cvss: f64,
    epss: f64,
}

/// The properties that a finding needs for a rule to match it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefilter {
    severities: u8,
    fix: u8,
    exploit_known: bool,
    min_cvss: f64,
    min_epss: f64,
}

/// The bit of unrated findings, whose rank the policy sets.
const UNRATED: u8 = 1 << 5;
const RATED: u8 = UNRATED - 1;
const ALL: u8 = RATED | UNRATED;

const FIX: u8 = 1;
const FIX_UNKNOWN: u8 = 1 << 1;
const NO_FIX: u8 = 1 << 2;

impl FindingSummary {
    pub(super) fn new(finding: &Finding) -> Self {
        Self {
            severity: match &finding.severity {
                Rating::Rated(severity) => bit(*severity),
                Rating::Unrated(_) => UNRATED,
            },
            fix: match finding.fix {
                Fix::Available | Fix::Partial => FIX,
                Fix::Unknown => FIX_UNKNOWN,
                Fix::None => NO_FIX,
            },
            has_no_exploit: finding.exploit == Exploit::NotKnown,
            cvss: finding.cvss.map_or(f64::NAN, Score::value),
            epss: finding.epss.map_or(f64::NAN, Score::value),
        }
    }
}

impl Prefilter {
    pub(super) fn new(filter: &Condition, policy: &Policy) -> Self {
        Self {
            severities: severities(filter, policy),
            fix: match filter.fix {
                FixFilter::Any => u8::MAX,
                FixFilter::Available => FIX | FIX_UNKNOWN,
                FixFilter::None => NO_FIX,
            },
            exploit_known: filter.exploit_known,
            min_cvss: filter.min_cvss.map_or(f64::NEG_INFINITY, Score::value),
            min_epss: filter.min_epss.map_or(f64::NEG_INFINITY, Score::value),
        }
    }

    /// True if the rule cannot match such a finding at any time, whatever its other properties.
    #[expect(clippy::needless_bitwise_bool, reason = "a short-circuit operator adds branches that are mispredicted")]
    pub(super) fn rejects(&self, summary: &FindingSummary) -> bool {
        (self.severities & summary.severity == 0)
            | (self.fix & summary.fix == 0)
            | (self.exploit_known & summary.has_no_exploit)
            | (summary.cvss < self.min_cvss)
            | (summary.epss < self.min_epss)
    }
}

/// The bits of the severities that a filter accepts.
fn severities(filter: &Condition, policy: &Policy) -> u8 {
    let with_unrated = |rated: u8| if rated & bit(policy.unrated_as) == 0 { rated } else { rated | UNRATED };
    let at_least =
        filter.min_severity.map_or(ALL, |least| with_unrated(RATED & (u8::MAX << bit(least).trailing_zeros())));
    let chosen = filter.severities.iter().map(|choice| match choice {
        SeverityChoice::Unrated => UNRATED,
        SeverityChoice::Rated(severity) => with_unrated(bit(*severity)),
    });
    let chosen = if filter.severities.is_empty() { ALL } else { chosen.fold(0, |all, one| all | one) };
    at_least & chosen
}

fn bit(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 1 << 1,
        Severity::Medium => 1 << 2,
        Severity::High => 1 << 3,
        Severity::Critical => 1 << 4,
    }
}
