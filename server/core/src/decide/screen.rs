//! A first look: what most rules ask of findings, in a few bytes each and side by side, so that a rule reads only those findings
//! whole that it may match.

use crate::{
    finding::{Exploit, Finding, Fix, Score},
    policy::Policy,
    rule::{Filter, FixFilter, SeverityChoice},
    severity::{Rating, Severity},
};

/// What a rule needs to see of a finding to pass most of them by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance {
    /// One bit for the severity.
    severity: u8,
    /// One bit for whether a fix exists.
    fix: u8,
    has_no_exploit: bool,
    /// Not a number where there is none, which is neither less nor more than anything.
    cvss: f64,
    epss: f64,
}

/// What the findings that a rule may match have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    severities: u8,
    fix: u8,
    exploit_known: bool,
    min_cvss: f64,
    min_epss: f64,
}

/// The bit of findings that nobody has rated: their rank is the policy's to say.
const UNRATED: u8 = 1 << 5;
const RATED: u8 = UNRATED - 1;
const ALL: u8 = RATED | UNRATED;

const FIX: u8 = 1;
const FIX_UNKNOWN: u8 = 1 << 1;
const NO_FIX: u8 = 1 << 2;

impl Glance {
    pub(super) fn of(finding: &Finding) -> Self {
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

impl Screen {
    pub(super) fn of(filter: &Filter, policy: &Policy) -> Self {
        // Ranked as the policy says, an unrated finding is as one of those, or it is not.
        let with_unrated = |rated: u8| if rated & bit(policy.unrated_as) == 0 { rated } else { rated | UNRATED };
        let least =
            filter.min_severity.map_or(ALL, |least| with_unrated(RATED & (u8::MAX << bit(least).trailing_zeros())));
        let chosen = filter.severities.iter().map(|choice| match choice {
            SeverityChoice::Unrated => UNRATED,
            SeverityChoice::Rated(severity) => with_unrated(bit(*severity)),
        });
        let chosen = if filter.severities.is_empty() { ALL } else { chosen.fold(0, |all, one| all | one) };
        Self {
            severities: least & chosen,
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

    /// Whether the rule matches none of such findings, whatever else they have, now or ever.
    #[expect(clippy::needless_bitwise_bool, reason = "a shortcut is a branch to guess wrong")]
    pub(super) fn passes_by(&self, glance: &Glance) -> bool {
        (self.severities & glance.severity == 0)
            | (self.fix & glance.fix == 0)
            | (self.exploit_known & glance.has_no_exploit)
            | (glance.cvss < self.min_cvss)
            | (glance.epss < self.min_epss)
    }
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
