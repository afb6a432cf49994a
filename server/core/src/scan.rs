//! What ECR knows of one manifest's vulnerabilities, as it was read: facts only, judged by [`crate::evidence`].

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    finding::{Finding, fold_duplicates},
    image::{Digest, Platform},
};

/// What a manifest holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Content {
    /// A container image.
    #[default]
    Image,
    /// A signature, a chart, an SBOM: nothing that ECR scans.
    Artifact,
}

/// One manifest: an image for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its digest.
    pub digest: Digest,
    /// Its platform, where an index states one.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// When it was pushed.
    #[serde(default)]
    pub pushed_at: Option<Timestamp>,
    /// What it holds.
    #[serde(default)]
    pub content: Content,
    /// Whether ECR has moved it to the archive.
    #[serde(default)]
    pub archived: bool,
}

/// ECR's word for the state of a scan: every value of `ScanStatus`, and what is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// ScanNotFoundException.
    NotFound,
    /// IN_PROGRESS.
    InProgress,
    /// PENDING.
    Pending,
    /// COMPLETE.
    Complete,
    /// ACTIVE.
    Active,
    /// FAILED.
    Failed,
    /// UNSUPPORTED_IMAGE.
    UnsupportedImage,
    /// SCAN_ELIGIBILITY_EXPIRED.
    ScanEligibilityExpired,
    /// FINDINGS_UNAVAILABLE.
    FindingsUnavailable,
    /// LIMIT_EXCEEDED.
    LimitExceeded,
    /// IMAGE_ARCHIVED.
    ImageArchived,
    /// IMAGE_SIZE_EXCEEDED.
    ImageSizeExceeded,
    /// Anything else; empty where ECR gave none.
    Unrecognised(String),
}

impl Status {
    const KNOWN: [Self; 11] = [
        Self::InProgress,
        Self::Pending,
        Self::Complete,
        Self::Active,
        Self::Failed,
        Self::UnsupportedImage,
        Self::ScanEligibilityExpired,
        Self::FindingsUnavailable,
        Self::LimitExceeded,
        Self::ImageArchived,
        Self::ImageSizeExceeded,
    ];

    /// Reads ECR's label: exact and case-sensitive.
    pub fn parse(label: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|status| status.label() == label)
            .unwrap_or_else(|| Self::Unrecognised(label.to_owned()))
    }

    /// ECR's label; empty where ECR has no record.
    pub fn label(&self) -> &str {
        match self {
            Self::NotFound => "",
            Self::InProgress => "IN_PROGRESS",
            Self::Pending => "PENDING",
            Self::Complete => "COMPLETE",
            Self::Active => "ACTIVE",
            Self::Failed => "FAILED",
            Self::UnsupportedImage => "UNSUPPORTED_IMAGE",
            Self::ScanEligibilityExpired => "SCAN_ELIGIBILITY_EXPIRED",
            Self::FindingsUnavailable => "FINDINGS_UNAVAILABLE",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::ImageArchived => "IMAGE_ARCHIVED",
            Self::ImageSizeExceeded => "IMAGE_SIZE_EXCEEDED",
            Self::Unrecognised(label) => label,
        }
    }
}

/// The kind of scanning that a registry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScanType {
    /// Basic scanning.
    Basic,
    /// Enhanced scanning by Inspector.
    Enhanced,
}

/// When images of a repository are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Frequency {
    /// On push.
    ScanOnPush,
    /// On push and whenever new vulnerabilities become known.
    ContinuousScan,
    /// Only when asked (basic), never (enhanced).
    Manual,
    /// A word that we do not know.
    Unrecognised,
}

/// What Inspector says of an image that it covers: the proof that a clean image was scanned at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Whether `scanStatus.statusCode` is ACTIVE.
    pub active: bool,
    /// `scanStatus.reason`.
    pub reason: String,
    /// `lastScannedAt`.
    #[serde(default)]
    pub last_scanned_at: Option<Timestamp>,
}

/// Findings counted by ECR's label, as they came: before anything is folded.
pub type Counts = BTreeMap<Arc<str>, u32>;

/// What came under `imageScanFindings`. Absent is not zero, at every level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// `imageScanCompletedAt`.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// `vulnerabilitySourceUpdatedAt`.
    #[serde(default)]
    pub source_updated_at: Option<Timestamp>,
    /// `findingSeverityCounts`, which ECR omits zeroes from.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// What was enumerated, counted as ECR counts.
    #[serde(default)]
    pub enumerated: Counts,
    /// The findings, duplicates folded, worst first; `None`: the list of this scan type did not come at all.
    #[serde(default)]
    pub findings: Option<Vec<Finding>>,
}

impl Report {
    /// Takes the findings as they came, whatever their order.
    #[must_use]
    pub fn with_findings(mut self, findings: Vec<Finding>) -> Self {
        self.findings = Some(fold_duplicates(findings));
        self
    }
}

/// Something wrong with an answer that no later answer of ECR about the same scan would mend by its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Flaw {
    /// It is about another registry, repository or digest.
    Mismatch(String),
    /// It has impossible values.
    Malformed(String),
    /// Pages are missing, repeated or changed underneath.
    Incomplete(String),
}

/// What became of asking Inspector for what ECR does not say of findings: EPSS and known exploitation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Enrichment {
    /// Nobody asked: it is switched off, the scan is a basic one, or it has not ended well.
    #[default]
    NotAsked,
    /// Whatever Inspector knows of the findings is in them.
    Complete,
    /// So is this, but for a part that this server's bounds leave out, and which: asking again gives no more.
    Partial(String),
    /// Some or all of it is missing, and why: what is missing counts as unknown, and asking again may give it.
    Missing(String),
}

/// What was read about one manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// When reading it began: everything in it is at least as fresh.
    pub read_at: Timestamp,
    /// Since when every reading has said the same.
    pub unchanged_since: Timestamp,
    /// ECR's status.
    pub status: Status,
    /// ECR's description of it.
    #[serde(default)]
    pub description: Option<String>,
    /// The registry's kind of scanning.
    pub scan_type: ScanType,
    /// The repository's frequency in effect.
    pub frequency: Frequency,
    /// The findings and what belongs to them, where any came.
    #[serde(default)]
    pub report: Option<Report>,
    /// What Inspector says; asked for only where an enhanced scan has no findings.
    #[serde(default)]
    pub coverage: Option<Coverage>,
    /// What became of asking Inspector for more about the findings.
    #[serde(default)]
    pub enrichment: Enrichment,
    /// What is wrong with it.
    #[serde(default)]
    pub flaws: Vec<Flaw>,
}

impl Scan {
    /// What it says of itself, its findings left out: enough to tell people about, and never a proof.
    #[must_use]
    pub fn without_findings(&self) -> Self {
        let report = self.report.as_ref().map(|report| Report {
            completed_at: report.completed_at,
            source_updated_at: report.source_updated_at,
            counts: report.counts.clone(),
            enumerated: report.enumerated.clone(),
            findings: None,
        });
        Self {
            read_at: self.read_at,
            unchanged_since: self.unchanged_since,
            status: self.status.clone(),
            description: self.description.clone(),
            scan_type: self.scan_type,
            frequency: self.frequency,
            report,
            coverage: self.coverage.clone(),
            enrichment: self.enrichment.clone(),
            flaws: self.flaws.clone(),
        }
    }

    /// The findings; none where none came.
    pub fn findings(&self) -> &[Finding] {
        self.report.as_ref().and_then(|report| report.findings.as_deref()).unwrap_or_default()
    }
}
