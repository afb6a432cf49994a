//! The scan of one manifest as ECR reports it: facts only, which [`crate::evidence`] assesses.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    finding::{Finding, Fix, fold_duplicates},
    image::{Digest, Platform},
};

/// The kind of content of a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Content {
    /// A container image, or anything that a container runtime may run as one.
    #[default]
    Image,
    /// A signature, a chart, an SBOM or a build cache: its verified bytes show that no container runtime runs it.
    Artifact,
}

/// One manifest: an image for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its digest.
    pub digest: Digest,
    /// Its platform, if an index states one.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// The time of the push.
    #[serde(default)]
    pub push_time: Option<Timestamp>,
    /// The kind of its content.
    #[serde(default)]
    pub content: Content,
    /// True if ECR has moved it to the archive.
    #[serde(default)]
    pub archived: bool,
    /// The reason why its content is unknown, although an index lists it: the repository lacks it or refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl Manifest {
    /// True if it is a container image whose content the registry serves. No policy can accept anything else.
    pub fn is_readable_image(&self) -> bool {
        self.content == Content::Image && self.unreadable.is_none()
    }
}

/// ECR's status of a scan: every value of `ScanStatus`, no record, or an unrecognised value.
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
    /// An unrecognised label; empty if ECR returned none.
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

    /// Parses ECR's label, which is exact and case-sensitive.
    pub fn parse(label: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|status| status.label() == label)
            .unwrap_or_else(|| Self::Unrecognised(label.to_owned()))
    }

    /// Returns ECR's label; empty if ECR has no record.
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

/// The kind of scanning of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScanType {
    /// Basic scanning.
    Basic,
    /// Enhanced scanning by Inspector.
    Enhanced,
}

/// The scan frequency of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Frequency {
    /// On push.
    ScanOnPush,
    /// On push and whenever new vulnerabilities become known.
    ContinuousScan,
    /// Only on request (basic), or never (enhanced).
    Manual,
    /// An unrecognised frequency.
    Unrecognised,
}

/// Inspector's coverage of an image: the proof that a clean image was scanned at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// True if `scanStatus.statusCode` is ACTIVE.
    pub active: bool,
    /// `scanStatus.reason`.
    pub reason: String,
    /// `lastScannedAt`.
    #[serde(default)]
    pub last_scan_time: Option<Timestamp>,
}

/// The number of findings by ECR's severity label, before duplicates are removed.
pub type Counts = BTreeMap<Arc<str>, u32>;

/// The content of `imageScanFindings`. At every level, absent does not mean zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// `imageScanCompletedAt`.
    #[serde(default)]
    pub complete_time: Option<Timestamp>,
    /// `vulnerabilitySourceUpdatedAt`.
    #[serde(default)]
    pub source_update_time: Option<Timestamp>,
    /// `findingSeverityCounts`, without zeroes.
    #[serde(default)]
    pub counts: Option<Counts>,
    /// The counts of the enumerated findings, duplicates included.
    #[serde(default)]
    pub enumerated: Counts,
    /// The findings without duplicates, worst first; `None`: the response has no list for this scan type.
    #[serde(default)]
    pub findings: Option<Vec<Finding>>,
}

impl Report {
    /// Sets the findings from ECR's list, in any order and with duplicates. A fixed version outweighs the statement that
    /// there is no fix.
    #[must_use]
    pub fn with_findings(mut self, mut findings: Vec<Finding>) -> Self {
        for finding in &mut findings {
            if finding.fix == Fix::None && finding.package.fixed_version.is_some() {
                finding.fix = Fix::Available;
            }
        }
        self.findings = Some(fold_duplicates(findings));
        self
    }
}

/// A flaw of a response, which no later content of the same scan cures. In the order of gravity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Flaw {
    /// The response is about another registry, repository or digest.
    Mismatch(String),
    /// The response contains impossible values.
    Malformed(String),
    /// Pages are missing, are repeated, or changed between two reads.
    Incomplete(String),
}

/// The result of reading from Inspector what ECR does not report: EPSS and known exploits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Enrichment {
    /// Not requested: enrichment is off, the scan is a basic one, or it did not succeed.
    #[default]
    NotAsked,
    /// The findings carry all that Inspector reports.
    Complete,
    /// Complete within this server's limits, apart from the part described. A retry returns no more.
    Partial(String),
    /// Data is missing for the reason given. It counts as unknown, and a retry may return it.
    Missing(String),
}

/// The use of an image in clusters, which Inspector reports for ECS and EKS. It proves nothing: unknown is not unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// `inUseCount`: the tasks and pods that run the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use_count: Option<u64>,
    /// `lastInUseAt`: the last time at which one ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_in_use_time: Option<Timestamp>,
}

impl Usage {
    /// Returns the more recent and the more frequent use.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            in_use_count: self.in_use_count.max(other.in_use_count),
            last_in_use_time: self.last_in_use_time.max(other.last_in_use_time),
        }
    }

    /// True if nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// The scan of one manifest, as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// The start of the reading: all data is at least as fresh.
    pub read_time: Timestamp,
    /// The start of the period in which every reading was equal.
    pub unchanged_since: Timestamp,
    /// ECR's status.
    pub status: Status,
    /// ECR's description of the status.
    #[serde(default)]
    pub description: Option<String>,
    /// The registry's kind of scanning.
    pub scan_type: ScanType,
    /// The repository's frequency in effect.
    pub frequency: Frequency,
    /// The report, if the response has one.
    #[serde(default)]
    pub report: Option<Report>,
    /// Inspector's coverage; read only for an enhanced scan without findings.
    #[serde(default)]
    pub coverage: Option<Coverage>,
    /// The result of the enrichment by Inspector.
    #[serde(default)]
    pub enrichment: Enrichment,
    /// The flaws of the response.
    #[serde(default)]
    pub flaws: Vec<Flaw>,
    /// The earliest scan of this digest after its push that this server knows: of an empty enhanced result, the earliest
    /// `lastScannedAt` that it has read. `None`: only this reading is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_scan_time: Option<Timestamp>,
    /// The instant at which Inspector stops scanning the image, by the registry's re-scan duration; `None`: never, or
    /// unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligibility_expire_time: Option<Timestamp>,
    /// The use of the image; enhanced scanning only.
    #[serde(default, skip_serializing_if = "Usage::is_unknown")]
    pub usage: Usage,
}

impl Scan {
    /// Returns the scan without its findings: enough to report its status, and never a proof.
    #[must_use]
    pub fn without_findings(&self) -> Self {
        let report = self.report.as_ref().map(|report| Report {
            complete_time: report.complete_time,
            source_update_time: report.source_update_time,
            counts: report.counts.clone(),
            enumerated: report.enumerated.clone(),
            findings: None,
        });
        Self {
            read_time: self.read_time,
            unchanged_since: self.unchanged_since,
            status: self.status.clone(),
            description: self.description.clone(),
            scan_type: self.scan_type,
            frequency: self.frequency,
            report,
            coverage: self.coverage.clone(),
            enrichment: self.enrichment.clone(),
            flaws: self.flaws.clone(),
            first_scan_time: self.first_scan_time,
            eligibility_expire_time: self.eligibility_expire_time,
            usage: self.usage,
        }
    }

    /// Returns the findings; empty if the response has none.
    pub fn findings(&self) -> &[Finding] {
        self.report.as_ref().and_then(|report| report.findings.as_deref()).unwrap_or_default()
    }
}
