//! Scan scripts: the start, the duration and the outcome of an image's scans.

use std::time::Duration;

use crate::findings::Findings;

/// The script of an image's scans: the start of the first scan, the duration of each scan, and its outcome. A later
/// scan by `StartImageScan` follows the same script.
#[derive(Clone, Debug)]
pub struct ScanScript {
    pub(crate) start: ScanStart,
    pub(crate) duration: Duration,
    pub(crate) outcome: Outcome,
    pub(crate) premature: Duration,
    pub(crate) source_age: Duration,
    pub(crate) status: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) coverage: Coverage,
}

/// The start of the first scan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScanStart {
    /// This long after the push.
    AfterPush(Duration),
    /// In the past, such that the scan completed this long ago.
    CompletedAgo(Duration),
    /// Only on request by `StartImageScan`.
    OnRequest,
}

/// The outcome of a scan.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Findings(Findings),
    /// A status without findings, and its description.
    Status(String, Option<String>),
}

/// The entry of an image in Inspector's coverage.
#[derive(Clone, Debug)]
pub enum Coverage {
    /// Derived from the scan.
    Auto,
    /// No entry, as for an image that Inspector has never scanned.
    Absent,
    /// An explicit entry.
    Explicit {
        /// The status code: ACTIVE, INACTIVE, or any other string.
        code: String,
        /// The reason, e.g. SUCCESSFUL or `PENDING_INITIAL_SCAN`.
        reason: String,
        /// The time since the last scan; `None` omits the last scan.
        scanned_ago: Option<Duration>,
    },
}

const HOUR: Duration = Duration::from_hours(1);

impl ScanScript {
    fn new(start: ScanStart, outcome: Outcome) -> Self {
        Self {
            start,
            duration: Duration::from_mins(1),
            outcome,
            premature: Duration::ZERO,
            source_age: 24 * HOUR,
            status: None,
            description: None,
            coverage: Coverage::Auto,
        }
    }

    /// A scan that completed an hour ago, with these findings.
    pub fn complete(findings: impl Into<Findings>) -> Self {
        Self::new(ScanStart::CompletedAgo(HOUR), Outcome::Findings(findings.into()))
    }

    /// A scan that completed an hour ago, without findings.
    pub fn clean() -> Self {
        Self::complete(Findings::Clean)
    }

    /// No scan until `StartImageScan` requests one. That scan has no findings.
    pub fn never() -> Self {
        Self::on_request(Findings::Clean)
    }

    /// No scan until `StartImageScan` requests one. That scan has these findings.
    pub fn on_request(findings: impl Into<Findings>) -> Self {
        Self::new(ScanStart::OnRequest, Outcome::Findings(findings.into()))
    }

    /// A scan that starts with the push (by default now) and does not end.
    pub fn running() -> Self {
        Self::clean().begins_after(Duration::ZERO).takes(Duration::MAX)
    }

    /// A scan that starts with the push, runs for `time`, and then has these findings.
    pub fn running_for(time: Duration, findings: impl Into<Findings>) -> Self {
        Self::complete(findings).begins_after(Duration::ZERO).takes(time)
    }

    /// A scan that ended with `status` an hour ago, without findings. `status` is any string, known to ECR or not.
    pub fn status(status: &str) -> Self {
        Self::new(ScanStart::CompletedAgo(HOUR), Outcome::Status(status.to_owned(), None))
    }

    /// FAILED, with ECR's text for an unsupported operating system.
    pub fn failed() -> Self {
        Self::status("FAILED")
            .described("UnsupportedImageError: The operating system and/or package manager are not supported.")
    }

    /// `UNSUPPORTED_IMAGE` (enhanced scanning).
    pub fn unsupported() -> Self {
        Self::status("UNSUPPORTED_IMAGE")
    }

    /// `SCAN_ELIGIBILITY_EXPIRED`: the re-scan window has ended, and the findings were closed.
    pub fn eligibility_expired() -> Self {
        Self::status("SCAN_ELIGIBILITY_EXPIRED")
    }

    /// `FINDINGS_UNAVAILABLE`.
    pub fn findings_unavailable() -> Self {
        Self::status("FINDINGS_UNAVAILABLE")
    }

    /// `LIMIT_EXCEEDED`.
    pub fn limit_exceeded() -> Self {
        Self::status("LIMIT_EXCEEDED")
    }

    /// `IMAGE_SIZE_EXCEEDED`, which ECR sends although SDKs may not define it.
    pub fn image_size_exceeded() -> Self {
        Self::status("IMAGE_SIZE_EXCEEDED")
    }

    /// Makes the scan complete this long ago.
    #[must_use]
    pub fn completed_ago(mut self, ago: Duration) -> Self {
        self.start = ScanStart::CompletedAgo(ago);
        self
    }

    /// Starts the scan this long after the push. Until then a read returns `ScanNotFoundException`.
    #[must_use]
    pub fn begins_after(mut self, delay: Duration) -> Self {
        self.start = ScanStart::AfterPush(delay);
        self
    }

    /// Sets the duration of a scan. The default is one minute.
    #[must_use]
    pub fn takes(mut self, time: Duration) -> Self {
        self.duration = time;
        self
    }

    /// Delays the findings by `time` after the end of the scan. In this time a read returns COMPLETE with an empty list
    /// and nothing else.
    #[must_use]
    pub fn premature_for(mut self, time: Duration) -> Self {
        self.premature = time;
        self
    }

    /// Sets the age of the vulnerability data at the end of a basic scan. The default is one day.
    #[must_use]
    pub fn source_age(mut self, age: Duration) -> Self {
        self.source_age = age;
        self
    }

    /// Overrides the status of the ended scan, and keeps its findings.
    #[must_use]
    pub fn with_status(mut self, status: &str) -> Self {
        self.status = Some(status.to_owned());
        self
    }

    /// Sets the description of the status.
    #[must_use]
    pub fn described(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self
    }

    /// Sets the entry in Inspector's coverage.
    #[must_use]
    pub fn coverage(mut self, coverage: Coverage) -> Self {
        self.coverage = coverage;
        self
    }

    /// Removes the image from Inspector's coverage.
    #[must_use]
    pub fn uncovered(self) -> Self {
        self.coverage(Coverage::Absent)
    }
}

impl Default for ScanScript {
    fn default() -> Self {
        Self::never()
    }
}
