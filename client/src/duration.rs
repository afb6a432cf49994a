//! Durations as text for error messages.

use std::{fmt, time::Duration};

/// A duration in whole seconds, or in milliseconds if it is shorter than one second.
pub(crate) struct HumanDuration(pub(crate) Duration);

impl fmt::Display for HumanDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => write!(formatter, "{} ms", self.0.as_millis()),
            seconds => write!(formatter, "{seconds} s"),
        }
    }
}
