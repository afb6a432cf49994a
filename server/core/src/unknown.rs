//! The choice of a policy for a value that a scan does not report.

use serde::{Deserialize, Serialize};

/// What becomes of a finding that lacks a field which the filter asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WhenUnknown {
    /// It matches.
    #[default]
    Match,
    /// It does not.
    NoMatch,
}
