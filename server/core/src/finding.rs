//! Findings: one vulnerability in one package of one manifest, in one form for basic and enhanced scans.

mod reported_time;

use std::{cmp::Ordering, fmt, hash::Hash, num::NonZeroU64, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::reported_time::ReportedTime;
use crate::severity::Rating;

/// The affected software.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name.
    pub name: Arc<str>,
    /// Installed version; empty if the scan reports none.
    #[serde(default)]
    pub version: Arc<str>,
    /// Package manager in Inspector's spelling.
    #[serde(default)]
    pub manager: Option<Arc<str>>,
    /// Path within the image.
    #[serde(default)]
    pub path: Option<Arc<str>>,
    /// The version that fixes the vulnerability.
    #[serde(default)]
    pub fixed_version: Option<Arc<str>>,
    /// The layer of the image that installs the package, as a digest.
    #[serde(default)]
    pub source_layer: Option<Arc<str>>,
}

/// The availability of a fix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Fix {
    /// The scan does not report it.
    #[default]
    Unknown,
    /// Every affected package has a fix.
    Available,
    /// Some affected packages have a fix.
    Partial,
    /// No affected package has a fix.
    None,
}

/// The knowledge about exploits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Exploit {
    /// The scan does not report it.
    #[default]
    Unknown,
    /// An exploit is known.
    Known,
    /// No exploit is known.
    NotKnown,
}

/// An entry in CISA's catalogue of known exploited vulnerabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kev {
    /// The time at which CISA added the vulnerability.
    pub add_time: Option<ReportedTime>,
    /// The time by which CISA demands a remedy.
    pub due_time: Option<ReportedTime>,
}

/// The status of a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The vulnerability is present.
    #[default]
    Active,
    /// Hidden by a suppression rule of Inspector.
    Suppressed,
    /// The vulnerability is gone.
    Closed,
    /// An unrecognised status, which counts like an active one.
    Unrecognised,
}

/// A finite score from 0 to 10, so that scores have a total order.
///
/// It stores the bits of the number plus one, which is never zero: so `Option<Score>` is as small as a number. The bits of
/// numbers that are not negative have the order of the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Score(NonZeroU64);

/// The error for a number outside the scale of scores.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("score must be between 0 and 10, and is {0}")]
pub struct InvalidScore(f64);

impl Score {
    /// Creates a score from a finite number from 0 to 10.
    pub fn new(value: f64) -> Result<Self, InvalidScore> {
        if !(0.0..=10.0).contains(&value) {
            return Err(InvalidScore(value));
        }
        // Adding zero turns -0.0 into 0.0, whose bits are zero.
        Ok(Self(NonZeroU64::MIN.saturating_add((value + 0.0).to_bits())))
    }

    /// Returns the score as a number.
    pub fn value(self) -> f64 {
        f64::from_bits(self.0.get() - 1)
    }
}

impl fmt::Debug for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Score").field(&self.value()).finish()
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
        score.value()
    }
}

/// One vulnerability in one package of one manifest.
///
/// The fields that rules read most come first and share cache lines; `repr(C)` keeps them in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[repr(C)]
pub struct Finding {
    /// The severity that the scan reports.
    pub severity: Rating,
    /// The availability of a fix.
    #[serde(default)]
    pub fix: Fix,
    /// The knowledge about exploits.
    #[serde(default)]
    pub exploit: Exploit,
    /// The status of the finding.
    #[serde(default)]
    pub status: Status,
    /// The highest CVSS base score reported.
    #[serde(default)]
    pub cvss: Option<Score>,
    /// EPSS, 0 to 1.
    #[serde(default)]
    pub epss: Option<Score>,
    /// A title of one line.
    #[serde(default)]
    pub title: Option<Arc<str>>,
    /// The time at which the vendor published it.
    #[serde(default)]
    pub publish_time: Option<ReportedTime>,
    /// Vulnerability identifier.
    pub id: Arc<str>,
    /// The affected package.
    pub package: Package,
    /// The time at which Inspector first saw it.
    #[serde(default)]
    pub first_observe_time: Option<ReportedTime>,
    /// The identifiers of related vulnerabilities, in order and without duplicates.
    #[serde(default)]
    pub related_ids: Box<[Arc<str>]>,
    /// The entry in CISA's catalogue of known exploited vulnerabilities.
    #[serde(default)]
    pub kev: Option<Box<Kev>>,
    /// A longer description.
    #[serde(default)]
    pub description: Option<Arc<str>>,
    /// A page with details.
    #[serde(default)]
    pub uri: Option<Arc<str>>,
    /// Inspector's ARN of the finding.
    #[serde(default)]
    pub arn: Option<Arc<str>>,
}

impl Finding {
    /// The finding without its long description: decisions state many findings, and GetFindings returns the description.
    pub(crate) fn without_description(&self) -> Self {
        Self { description: None, ..self.clone() }
    }

    /// True if the scan reports neither a fix, nor a fixed version, nor that there is no fix. Basic scans often do not.
    pub fn is_fix_unknown(&self) -> bool {
        self.fix == Fix::Unknown && self.package.fixed_version.is_none()
    }

    /// The fields that identify a finding within a manifest.
    pub(crate) fn identity(&self) -> impl Ord + Hash + '_ {
        (&self.id, &self.package.name, &self.package.version, &self.package.path)
    }

    /// The other fields that a rule can ask for.
    fn properties(&self) -> impl Ord + '_ {
        let package = (&self.package.manager, &self.package.fixed_version, &self.package.source_layer);
        let texts = (&self.title, &self.uri, &self.description);
        let times = (self.first_observe_time, self.publish_time);
        let exploit = (self.exploit, &self.kev);
        (&self.severity, self.fix, self.cvss, self.epss, exploit, self.status, package, &self.related_ids, texts, times)
    }

    /// Compares two findings, worst first, in a total order that does not depend on the order of ECR's pages.
    ///
    /// Unrated findings come before CRITICAL ones, because they need attention first.
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

/// Sorts findings worst first and removes duplicates: records with the same identity and the same properties.
///
/// Two records of one finding that differ in a property both stay, because dropping either could hide it from a rule. A
/// rule counts them as one finding: see [`crate::decide()`].
pub fn fold_duplicates(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(Finding::worst_first);
    findings.dedup_by(|a, b| a.identity() == b.identity() && a.properties() == b.properties());
    findings
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn finding() -> Finding {
        Finding {
            id: "CVE-2026-1".into(),
            related_ids: Box::default(),
            package: Package { name: "openssl".into(), ..Package::default() },
            severity: Rating::parse("HIGH"),
            fix: Fix::default(),
            cvss: None,
            epss: None,
            exploit: Exploit::default(),
            kev: None,
            status: Status::default(),
            title: None,
            description: None,
            uri: None,
            first_observe_time: None,
            publish_time: None,
            arn: None,
        }
    }

    #[test]
    fn records_with_different_properties_stay() {
        let others = [
            Finding { title: Some("one".into()), ..finding() },
            Finding { related_ids: Box::new(["GHSA-1".into()]), ..finding() },
            Finding { kev: Some(Box::default()), ..finding() },
            Finding { package: Package { source_layer: Some("sha256:1".into()), ..finding().package }, ..finding() },
            Finding { description: Some("one".into()), ..finding() },
            Finding { uri: Some("https://example.org".into()), ..finding() },
            Finding { publish_time: Some(Timestamp::UNIX_EPOCH.into()), ..finding() },
            Finding { first_observe_time: Some(Timestamp::UNIX_EPOCH.into()), ..finding() },
            Finding { package: Package { fixed_version: Some("2".into()), ..finding().package }, ..finding() },
        ];
        for other in others {
            assert_eq!(fold_duplicates(vec![finding(), other.clone(), finding()]).len(), 2, "{other:?}");
        }
        let renamed = Finding { arn: Some("arn:aws:inspector2:finding/1".into()), ..finding() };
        assert_eq!(fold_duplicates(vec![finding(), renamed, finding()]).len(), 1);
    }
}
