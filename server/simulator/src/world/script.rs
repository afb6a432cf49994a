//! What the scans of an image do: when they begin, how long they take, and what comes out.

use std::time::Duration;

use crate::findings::Findings;

/// The script of an image's scans. It says when the first scan begins, how long a scan takes, and its outcome; a scan
/// that `StartImageScan` begins later follows the same script.
#[derive(Clone, Debug)]
pub struct ScanScript {
    pub(crate) begins: Begins,
    pub(crate) takes: Duration,
    pub(crate) outcome: Outcome,
    pub(crate) premature: Duration,
    pub(crate) source_age: Duration,
    pub(crate) status: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) coverage: Coverage,
}

/// When the first scan begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begins {
    /// So long after the push.
    AfterPush(Duration),
    /// Early enough to have completed so long ago.
    ToCompleteAgo(Duration),
    /// Only when asked for by `StartImageScan`.
    OnRequest,
}

/// What a scan ends in.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Findings(Findings),
    /// A status that carries no findings.
    Status(String, Option<String>),
}

/// What Inspector's coverage says about an image.
#[derive(Clone, Debug)]
pub enum Coverage {
    /// What follows from the scan.
    Auto,
    /// Nothing: the image is not listed, as if Inspector had never seen it.
    Absent,
    /// A status code (ACTIVE, INACTIVE), a reason, and how long ago the last scan was (`None`: not said).
    Says {
        /// ACTIVE, INACTIVE, or any other string.
        code: String,
        /// E.g. SUCCESSFUL, `PENDING_INITIAL_SCAN`.
        reason: String,
        /// How long before now the image was last scanned.
        scanned_ago: Option<Duration>,
    },
}

const HOUR: Duration = Duration::from_hours(1);

impl ScanScript {
    fn new(begins: Begins, outcome: Outcome) -> Self {
        Self {
            begins,
            takes: Duration::from_mins(1),
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
        Self::new(Begins::ToCompleteAgo(HOUR), Outcome::Findings(findings.into()))
    }

    /// A scan that completed an hour ago and found nothing.
    pub fn clean() -> Self {
        Self::complete(Findings::Clean)
    }

    /// No scan unless `StartImageScan` asks for one, which then finds nothing.
    pub fn never() -> Self {
        Self::on_request(Findings::Clean)
    }

    /// No scan unless `StartImageScan` asks for one, which then finds these.
    pub fn on_request(findings: impl Into<Findings>) -> Self {
        Self::new(Begins::OnRequest, Outcome::Findings(findings.into()))
    }

    /// A scan that begins with the push (now, unless the image says otherwise) and does not end.
    pub fn running() -> Self {
        Self::clean().begins_after(Duration::ZERO).takes(Duration::MAX)
    }

    /// A scan that begins with the push, runs this long, and then has these findings.
    pub fn running_for(time: Duration, findings: impl Into<Findings>) -> Self {
        Self::complete(findings).begins_after(Duration::ZERO).takes(time)
    }

    /// A scan that ended in `status` an hour ago, without findings. Any string will do, known to ECR or not.
    pub fn status(status: &str) -> Self {
        Self::new(Begins::ToCompleteAgo(HOUR), Outcome::Status(status.to_owned(), None))
    }

    /// FAILED, with the text ECR gives for an operating system it cannot read.
    pub fn failed() -> Self {
        Self::status("FAILED")
            .described("UnsupportedImageError: The operating system and/or package manager are not supported.")
    }

    /// `UNSUPPORTED_IMAGE` (enhanced scanning).
    pub fn unsupported() -> Self {
        Self::status("UNSUPPORTED_IMAGE")
    }

    /// `SCAN_ELIGIBILITY_EXPIRED`: the re-scan window is over and findings were closed.
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

    /// `IMAGE_SIZE_EXCEEDED`, which the service sends and SDKs may not know.
    pub fn image_size_exceeded() -> Self {
        Self::status("IMAGE_SIZE_EXCEEDED")
    }

    /// The scan completed this long ago.
    #[must_use]
    pub fn completed_ago(mut self, ago: Duration) -> Self {
        self.begins = Begins::ToCompleteAgo(ago);
        self
    }

    /// The scan's record appears this long after the push; until then a read says that there is no scan.
    #[must_use]
    pub fn begins_after(mut self, delay: Duration) -> Self {
        self.begins = Begins::AfterPush(delay);
        self
    }

    /// How long a scan runs.
    #[must_use]
    pub fn takes(mut self, time: Duration) -> Self {
        self.takes = time;
        self
    }

    /// For this long after its end the scan says COMPLETE with an empty list and nothing else, before findings appear.
    #[must_use]
    pub fn premature_for(mut self, time: Duration) -> Self {
        self.premature = time;
        self
    }

    /// How long before the end of a basic scan its vulnerability data was updated (a day, unless said).
    #[must_use]
    pub fn source_age(mut self, age: Duration) -> Self {
        self.source_age = age;
        self
    }

    /// Overrides the status of the ended scan; its findings stay.
    #[must_use]
    pub fn with_status(mut self, status: &str) -> Self {
        self.status = Some(status.to_owned());
        self
    }

    /// The status's description.
    #[must_use]
    pub fn described(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self
    }

    /// What Inspector's coverage says.
    #[must_use]
    pub fn coverage(mut self, coverage: Coverage) -> Self {
        self.coverage = coverage;
        self
    }

    /// Inspector's coverage does not list the image.
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
