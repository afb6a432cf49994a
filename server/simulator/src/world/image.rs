//! An image as the registry keeps it, and how far its scan is at a moment.

use jiff::Timestamp;

use super::manifest::Manifest;
use super::scanning::ScanType;
use super::script::{Begins, Outcome, ScanScript};
use crate::clock::{earlier, later};
use crate::findings::Findings;

/// Where an image is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStatus {
    /// In use: can be pulled and scanned.
    Active,
    /// Archived: neither.
    Archived,
}

impl ImageStatus {
    /// The wire's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Archived => "ARCHIVED",
        }
    }
}

/// An image: a manifest and what happened to it.
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) manifest: Manifest,
    pub(crate) architecture: String,
    pub(crate) pushed_at: Timestamp,
    pub(crate) pulled_at: Option<Timestamp>,
    pub(crate) status: ImageStatus,
    pub(crate) archived_at: Option<Timestamp>,
    pub(crate) activated_at: Option<Timestamp>,
    pub(crate) scan: Scan,
}

/// The scans of an image: a script, and when the latest began.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) script: ScanScript,
    pub(crate) kind: ScanType,
    pub(crate) started_at: Option<Timestamp>,
}

/// How far a scan is.
#[derive(Clone, Debug)]
pub(crate) enum Progress<'a> {
    /// There is no scan that a read would find.
    NotFound,
    Running,
    /// Said to be complete, but its findings are not there yet.
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

    /// When it was pushed.
    pub fn pushed_at(&self) -> Timestamp {
        self.pushed_at
    }

    /// When it was last pulled (`BatchGetImage` counts as a pull).
    pub fn pulled_at(&self) -> Option<Timestamp> {
        self.pulled_at
    }

    /// Whether it is archived.
    pub fn status(&self) -> ImageStatus {
        self.status
    }

    pub(crate) fn archive(&mut self, now: Timestamp) {
        self.status = ImageStatus::Archived;
        self.archived_at = Some(now);
    }

    pub(crate) fn activate(&mut self, now: Timestamp) {
        self.status = ImageStatus::Active;
        self.activated_at = Some(now);
    }
}

impl Scan {
    /// A script set at `now` for an image pushed at `pushed_at`.
    pub(crate) fn new(script: ScanScript, registry: ScanType, pushed_at: Timestamp, now: Timestamp) -> Self {
        let started_at = match script.begins {
            Begins::AfterPush(delay) => Some(later(pushed_at, delay)),
            Begins::ToCompleteAgo(ago) => Some(earlier(now, ago.saturating_add(script.takes))),
            Begins::OnRequest => None,
        };
        let kind = match &script.outcome {
            Outcome::Findings(Findings::Basic(_)) => ScanType::Basic,
            Outcome::Findings(Findings::Enhanced(_)) => ScanType::Enhanced,
            Outcome::Findings(Findings::Clean) | Outcome::Status(..) => registry,
        };
        Self { script, kind, started_at }
    }

    /// How far the scan is, for a reader at `now` in a registry that uses `registry`. Scans of the other kind are
    /// hidden until the registry is switched back.
    pub(crate) fn progress(&self, registry: ScanType, now: Timestamp) -> Progress<'_> {
        let Some(started_at) = self.started_at.filter(|&started_at| started_at <= now && self.kind == registry) else {
            return Progress::NotFound;
        };
        let at = later(started_at, self.script.takes);
        if now < at {
            return Progress::Running;
        }
        if now < later(at, self.script.premature) {
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
