//! The call log: what clients asked, so that a test can assert how many requests a decision took.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

/// One API request, as it arrived (a request that a fault answered is listed too).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The operation's name, e.g. `DescribeImageScanFindings`.
    pub operation: String,
    /// The repository asked about, if the request names one.
    pub repository: Option<String>,
    /// The first image asked about as the request writes it: the digest if it has one, else the tag.
    pub image: Option<String>,
    /// Whether the request continues an earlier one by a `nextToken`.
    pub continued: bool,
    /// When it arrived, by the simulator's clock.
    pub at: Timestamp,
}

/// The log of one simulator. Cloning gives another handle to the same log.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub(crate) fn record(&self, call: Call) {
        self.with(|calls| calls.push(call));
    }

    /// How often `operation` was called.
    pub fn count(&self, operation: &str) -> usize {
        self.with(|calls| calls.iter().filter(|call| call.operation == operation).count())
    }

    /// How often `operation` was called for `image`, a tag or digest as the client wrote it.
    pub fn count_for(&self, operation: &str, image: &str) -> usize {
        self.with(|calls| {
            calls.iter().filter(|call| call.operation == operation && call.image.as_deref() == Some(image)).count()
        })
    }

    /// How many calls there were in all.
    pub fn total(&self) -> usize {
        self.with(|calls| calls.len())
    }

    /// Every call, oldest first.
    pub fn all(&self) -> Vec<Call> {
        self.with(|calls| calls.clone())
    }

    /// Forgets every call.
    pub fn clear(&self) {
        self.with(Vec::clear);
    }

    fn with<R>(&self, look: impl FnOnce(&mut Vec<Call>) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
