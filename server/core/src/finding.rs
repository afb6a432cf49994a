//! A finding: one vulnerability in one package of one manifest. Basic and enhanced scans look the same here.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::severity::Rating;

/// The software that a finding is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name.
    pub name: Arc<str>,
    /// Installed version; empty where the scan names none.
    #[serde(default)]
    pub version: Arc<str>,
    /// Package manager as Inspector writes it.
    #[serde(default)]
    pub manager: Option<Arc<str>>,
    /// Where in the image it lies.
    #[serde(default)]
    pub path: Option<Arc<str>>,
    /// The version that fixes it.
    #[serde(default)]
    pub fixed_in: Option<Arc<str>>,
}

/// Whether an upgrade would remove a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Fix {
    /// The scan does not say.
    #[default]
    Unknown,
    /// For every affected package.
    Available,
    /// For some.
    Partial,
    /// For none.
    None,
}

/// Whether an exploit is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Exploit {
    /// The scan does not say.
    #[default]
    Unknown,
    /// One is.
    Known,
    /// None is.
    NotKnown,
}

/// Where a finding stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Present.
    #[default]
    Active,
    /// Hidden by a suppression rule of Inspector.
    Suppressed,
    /// Gone.
    Closed,
    /// A word that we do not know: counts like an active one.
    Unrecognised,
}

/// A score that is finite and within its scale, so that comparing it cannot go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Score(f64);

/// A number that is no score.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no score between 0 and 10")]
pub struct InvalidScore(f64);

impl Score {
    /// Takes finite numbers from 0 to 10.
    pub fn new(value: f64) -> Result<Self, InvalidScore> {
        // Negative zero would compare equal but sort and print apart.
        if (0.0..=10.0).contains(&value) { Ok(Self(value + 0.0)) } else { Err(InvalidScore(value)) }
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl Eq for Score {}

impl Hash for Score {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl TryFrom<f64> for Score {
    type Error = InvalidScore;

    fn try_from(value: f64) -> Result<Self, InvalidScore> {
        Self::new(value)
    }
}

impl From<Score> for f64 {
    fn from(score: Score) -> Self {
        score.0
    }
}

/// One vulnerability in one package of one manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Vulnerability identifier.
    pub id: Arc<str>,
    /// The affected package.
    pub package: Package,
    /// The severity that the scan gave it.
    pub severity: Rating,
    /// Whether a fix exists.
    #[serde(default)]
    pub fix: Fix,
    /// The highest CVSS base score reported.
    #[serde(default)]
    pub cvss: Option<Score>,
    /// EPSS, 0 to 1.
    #[serde(default)]
    pub epss: Option<Score>,
    /// Whether an exploit is known.
    #[serde(default)]
    pub exploit: Exploit,
    /// Life of the finding.
    #[serde(default)]
    pub status: Status,
    /// One line about it.
    #[serde(default)]
    pub title: Option<Arc<str>>,
    /// More about it.
    #[serde(default)]
    pub description: Option<Arc<str>>,
    /// A page about it.
    #[serde(default)]
    pub uri: Option<Arc<str>>,
    /// When Inspector first saw it.
    #[serde(default)]
    pub first_observed_at: Option<Timestamp>,
    /// When the vendor published it.
    #[serde(default)]
    pub published_at: Option<Timestamp>,
    /// Inspector's name of it.
    #[serde(default)]
    pub arn: Option<Arc<str>>,
}

impl Finding {
    /// What makes two findings of a manifest the same one for people.
    pub(crate) fn identity(&self) -> impl Ord + Hash + '_ {
        (&self.id, &self.package.name, &self.package.version, &self.package.path)
    }

    /// Everything else that a rule can ask for.
    fn properties(&self) -> impl Ord + '_ {
        let package = (&self.package.manager, &self.package.fixed_in);
        let words = (&self.title, &self.uri, &self.description);
        let times = (self.first_observed_at, self.published_at);
        (&self.severity, self.fix, self.cvss, self.epss, self.exploit, self.status, package, words, times)
    }

    /// Worst first; a total order, so that the order in which ECR sends findings never shows. Unrated findings come before
    /// CRITICAL ones: what nobody has rated deserves the first look.
    pub fn worst_first(&self, other: &Self) -> Ordering {
        let rated = |finding: &Self| match &finding.severity {
            Rating::Rated(severity) => Some(*severity),
            Rating::Unrated(_) => None,
        };
        match (rated(self), rated(other)) {
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (ours, theirs) => theirs.cmp(&ours),
        }
        .then_with(|| self.identity().cmp(&other.identity()))
        .then_with(|| self.properties().cmp(&other.properties()))
        .then_with(|| self.arn.cmp(&other.arn))
    }
}

/// Sorts findings worst first and folds those that say the same of the same vulnerability, package, version and path.
///
/// Two records of one finding that differ in anything that a rule can ask for are both kept, since choosing between them could
/// only make some rule blind. A rule counts them as one: see [`crate::decide()`].
pub fn fold_duplicates(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(Finding::worst_first);
    findings.dedup_by(|a, b| a.identity() == b.identity() && a.properties() == b.properties());
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            id: "CVE-2026-1".into(),
            package: Package { name: "openssl".into(), ..Package::default() },
            severity: Rating::parse("HIGH"),
            fix: Fix::default(),
            cvss: None,
            epss: None,
            exploit: Exploit::default(),
            status: Status::default(),
            title: None,
            description: None,
            uri: None,
            first_observed_at: None,
            published_at: None,
            arn: None,
        }
    }

    #[test]
    fn records_that_an_expression_can_tell_apart_are_kept() {
        let others = [
            Finding { title: Some("one".into()), ..finding() },
            Finding { description: Some("one".into()), ..finding() },
            Finding { uri: Some("https://example.org".into()), ..finding() },
            Finding { published_at: Some(Timestamp::UNIX_EPOCH), ..finding() },
            Finding { first_observed_at: Some(Timestamp::UNIX_EPOCH), ..finding() },
            Finding { package: Package { fixed_in: Some("2".into()), ..finding().package }, ..finding() },
        ];
        for other in others {
            assert_eq!(fold_duplicates(vec![finding(), other.clone(), finding()]).len(), 2, "{other:?}");
        }
        let renamed = Finding { arn: Some("arn:aws:inspector2:finding/1".into()), ..finding() };
        assert_eq!(fold_duplicates(vec![finding(), renamed, finding()]).len(), 1);
    }
}
