//! Severities, and the rank of unrated findings.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A severity, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// For information only.
    Informational,
    /// 0.1 to 3.9 on Inspector's scale.
    Low,
    /// 4.0 to 6.9.
    Medium,
    /// 7.0 to 8.9.
    High,
    /// 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// Every severity, worst first.
    pub const WORST_FIRST: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Informational];

    /// Returns ECR's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Informational => "INFORMATIONAL",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The severity of a finding as the scan reports it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Rating {
    /// One of the five severities.
    Rated(Severity),
    /// UNDEFINED, UNTRIAGED, an empty or an unrecognised label, in ECR's spelling. It has no rank of its own: the
    /// policy sets it.
    Unrated(Arc<str>),
}

impl Rating {
    /// Parses ECR's label, which is exact and case-sensitive. Every other label is unrated.
    pub fn parse(label: &str) -> Self {
        Severity::WORST_FIRST
            .into_iter()
            .find(|severity| severity.label() == label)
            .map_or_else(|| Self::Unrated(Arc::from(label)), Self::Rated)
    }

    /// Returns ECR's label.
    pub fn label(&self) -> &str {
        match self {
            Self::Rated(severity) => severity.label(),
            Self::Unrated(label) => label,
        }
    }

    /// Returns the severity for comparisons; for unrated findings it is the policy's `unrated_as`.
    ///
    /// ```
    /// use scangate_core::severity::{Rating, Severity};
    ///
    /// assert_eq!(Rating::parse("LOW").rank(Severity::High), Severity::Low);
    /// assert_eq!(Rating::parse("UNTRIAGED").rank(Severity::High), Severity::High);
    /// ```
    pub fn rank(&self, unrated_as: Severity) -> Severity {
        match self {
            Self::Rated(severity) => *severity,
            Self::Unrated(_) => unrated_as,
        }
    }
}

impl From<String> for Rating {
    fn from(label: String) -> Self {
        Self::parse(&label)
    }
}

impl From<Rating> for String {
    fn from(rating: Rating) -> Self {
        rating.label().to_owned()
    }
}
