//! A stored image, and the progress of its scan at a given time.

use jiff::Timestamp;

use super::manifest::Manifest;
use super::scanning::ScanType;
use super::script::{Outcome, ScanScript, ScanStart};
use crate::clock::{saturating_add, saturating_sub};
use crate::findings::Findings;

/// The storage status of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStatus {
    /// The image can be pulled and scanned.
    Active,
    /// The image can be neither pulled nor scanned.
    Archived,
}

impl ImageStatus {
    /// The wire value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Archived => "ARCHIVED",
        }
    }
}

/// An image: a manifest, its push and pull times, its status and its scan.
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) manifest: Manifest,
    pub(crate) architecture: String,
    pub(crate) push_time: Timestamp,
    pub(crate) pull_time: Option<Timestamp>,
    pub(crate) status: ImageStatus,
    pub(crate) archive_time: Option<Timestamp>,
    pub(crate) activate_time: Option<Timestamp>,
    pub(crate) scan: Scan,
    /// The number of tasks and pods that run the image, and the last time at which one did.
    pub(crate) in_use: Option<(u64, Timestamp)>,
}

/// The scans of an image: a script, and the start time of the latest scan.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) script: ScanScript,
    pub(crate) kind: ScanType,
    pub(crate) started_at: Option<Timestamp>,
}

/// The progress of a scan at a given time.
#[derive(Clone, Debug)]
pub(crate) enum Progress<'a> {
    /// There is no scan that a read can see.
    NotFound,
    Running,
    /// The status is already COMPLETE, but the findings are not available yet.
    Premature,
    Ended {
        at: Timestamp,
        findings: &'a Findings,
    },
    Stopped {
        at: Timestamp,
        status: &'a str,
        description: Option<&'a str>,
    },
}

impl Image {
    /// The digest of the manifest's bytes.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// The manifest's bytes.
    pub fn manifest(&self) -> &str {
        &self.manifest.text
    }

    /// The manifest's media type.
    pub fn media_type(&self) -> &str {
        &self.manifest.media_type
    }

    /// The time of the push.
    pub fn push_time(&self) -> Timestamp {
        self.push_time
    }

    /// The time of the last pull. `BatchGetImage` counts as a pull.
    pub fn pull_time(&self) -> Option<Timestamp> {
        self.pull_time
    }

    /// The storage status.
    pub fn status(&self) -> ImageStatus {
        self.status
    }

    pub(crate) fn archive(&mut self, now: Timestamp) {
        self.status = ImageStatus::Archived;
        self.archive_time = Some(now);
    }

    pub(crate) fn activate(&mut self, now: Timestamp) {
        self.status = ImageStatus::Active;
        self.activate_time = Some(now);
    }
}

impl Scan {
    /// The scans of an image that was pushed at `push_time` and gets this script at `now`.
    pub(crate) fn new(script: ScanScript, registry: ScanType, push_time: Timestamp, now: Timestamp) -> Self {
        let started_at = match script.start {
            ScanStart::AfterPush(delay) => Some(saturating_add(push_time, delay)),
            ScanStart::CompletedAgo(ago) => Some(saturating_sub(now, ago.saturating_add(script.duration))),
            ScanStart::OnRequest => None,
        };
        let kind = match &script.outcome {
            Outcome::Findings(Findings::Basic(_)) => ScanType::Basic,
            Outcome::Findings(Findings::Enhanced(_)) => ScanType::Enhanced,
            Outcome::Findings(Findings::Clean) | Outcome::Status(..) => registry,
        };
        Self { script, kind, started_at }
    }

    /// The progress for a read at `now`, in a registry with scan type `registry`. Scans of the other type are hidden
    /// until the registry switches back.
    pub(crate) fn progress(&self, registry: ScanType, now: Timestamp) -> Progress<'_> {
        let Some(started_at) = self.started_at.filter(|&started_at| started_at <= now && self.kind == registry) else {
            return Progress::NotFound;
        };
        let at = saturating_add(started_at, self.script.duration);
        if now < at {
            return Progress::Running;
        }
        if now < saturating_add(at, self.script.premature) {
            return Progress::Premature;
        }
        match &self.script.outcome {
            Outcome::Findings(findings) => Progress::Ended { at, findings },
            Outcome::Status(status, description) => {
                Progress::Stopped { at, status, description: description.as_deref() }
            }
        }
    }
}
