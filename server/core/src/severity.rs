//! Severities, and what becomes of findings that nobody has rated.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A severity that somebody has given, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// Worth knowing.
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

    /// ECR's label.
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

/// What a scan says of a finding's severity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Rating {
    /// One of the five severities.
    Rated(Severity),
    /// UNDEFINED, UNTRIAGED, nothing, or a label that we do not know; kept as ECR wrote it. Not comparable: a policy says
    /// how it ranks.
    Unrated(Arc<str>),
}

impl Rating {
    /// Reads ECR's label: exact and case-sensitive, everything unknown is unrated.
    pub fn parse(label: &str) -> Self {
        Severity::WORST_FIRST
            .into_iter()
            .find(|severity| severity.label() == label)
            .map_or_else(|| Self::Unrated(Arc::from(label)), Self::Rated)
    }

    /// ECR's label.
    pub fn label(&self) -> &str {
        match self {
            Self::Rated(severity) => severity.label(),
            Self::Unrated(label) => label,
        }
    }

    /// The severity to compare with, unrated findings ranking as the policy says.
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
