//! The choice of a policy for values that a scan does not report.

use serde::{Deserialize, Serialize};

/// The result of a filter for a finding that lacks a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WhenUnknown {
    /// The finding matches.
    #[default]
    Match,
    /// The finding does not match.
    NoMatch,
}
