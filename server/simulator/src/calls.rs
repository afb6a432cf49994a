//! The call log, with which a test asserts the number of requests that a decision took.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

/// An API request as it arrived. Requests whose response was replaced by a fault are listed too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The operation's name, e.g. `DescribeImageScanFindings`.
    pub operation: String,
    /// The requested repository, if the request names one.
    pub repository: Option<String>,
    /// The first requested image as the request writes it: the digest if it has one, else the tag.
    pub image: Option<String>,
    /// True if the request continues an earlier one by a `nextToken`.
    pub continued: bool,
    /// The arrival time, by the simulator's clock.
    pub at: Timestamp,
}

/// The log of one simulator. A clone is another handle to the same log.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub(crate) fn record(&self, call: Call) {
        self.with(|calls| calls.push(call));
    }

    /// The number of calls of `operation`.
    pub fn count(&self, operation: &str) -> usize {
        self.with(|calls| calls.iter().filter(|call| call.operation == operation).count())
    }

    /// The number of calls of `operation` for `image`, a tag or digest as the client wrote it.
    pub fn count_for(&self, operation: &str, image: &str) -> usize {
        self.with(|calls| {
            calls.iter().filter(|call| call.operation == operation && call.image.as_deref() == Some(image)).count()
        })
    }

    /// The number of calls of all operations.
    pub fn total(&self) -> usize {
        self.with(|calls| calls.len())
    }

    /// All calls, oldest first.
    pub fn all(&self) -> Vec<Call> {
        self.with(|calls| calls.clone())
    }

    /// Removes all calls.
    pub fn clear(&self) {
        self.with(Vec::clear);
    }

    fn with<R>(&self, access: impl FnOnce(&mut Vec<Call>) -> R) -> R {
        access(&mut self.0.lock())
    }
}
