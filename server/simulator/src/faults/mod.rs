//! Faults by script: what goes wrong, on which calls, and how often.

mod catalogue;
mod effect;
mod mutation;
mod rule;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use effect::{Effect, Instead};
pub(crate) use mutation::mutate;
pub(crate) use rule::Target;
pub use rule::{Faults, Rule};

/// Something that goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// HTTP 400, code `ThrottlingException`: SDKs retry it.
    #[serde(rename = "throttle_400")]
    Throttle400,
    /// HTTP 429, code `ThrottleException`: SDKs do not retry it.
    #[serde(rename = "throttle_429")]
    Throttle429,
    /// HTTP 429 with an empty body: SDKs do not retry it.
    #[serde(rename = "throttle_429_empty")]
    Throttle429Empty,
    /// HTTP 500, code `ServerException`.
    #[serde(rename = "server_error_500")]
    ServerError500,
    /// HTTP 503 with a page of HTML, as a load balancer answers.
    #[serde(rename = "service_unavailable_503")]
    ServiceUnavailable503,
    /// Any error by its code, e.g. `AccessDeniedException`.
    Error {
        /// The code.
        code: String,
        /// The message.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// The right answer, after this long (by the wall clock, not the simulator's).
    Delay(#[serde(with = "seconds")] Duration),
    /// No answer, on an open connection.
    Hang,
    /// The connection closes before an answer.
    DropConnection,
    /// The connection closes in the middle of the body.
    CutConnection,
    /// A complete HTTP answer whose JSON stops half-way.
    TruncateBody,
    /// A body that is not JSON.
    MalformedJson,
    /// HTTP 200 with an empty body, which SDKs read as an answer without any member.
    #[serde(rename = "empty_body_200")]
    EmptyBody200,
    /// HTTP 200 with `{}`.
    EmptyObject,
    /// Every page is the first one, with the same token over and over.
    RepeatPage,
    /// The first page comes twice, under different tokens.
    DuplicatePage,
    /// The second page is left out; of a single page, its items.
    MissingPage,
    /// The last page's token leads back to the first.
    TokenLoop,
    /// The counts leave out the severity that has findings (or tell of a finding that is not listed).
    CountsDisagree,
    /// A count of -1.
    CountNegative,
    /// No `findingSeverityCounts`.
    DropCounts,
    /// No `imageScanFindings`.
    DropFindingsObject,
    /// No `imageScanStatus`.
    DropStatus,
    /// This scan status.
    UnknownStatus(String),
    /// One severity is renamed to this, in findings and counts alike.
    UnknownSeverity(String),
    /// The answer is about another digest.
    WrongDigest,
    /// The answer is about another repository.
    WrongRepository,
    /// The answer is about another registry.
    WrongRegistry,
    /// A finding's score is "NaN", which the protocol allows.
    NanScore,
    /// The scan completed at 1e300.
    HugeTimestamp,
    /// The scan completed a year after it did.
    FutureCompletedAt,
    /// The member at this JSON pointer is missing.
    DropField(String),
    /// The member at `pointer` is `value`.
    SetField {
        /// A JSON pointer (RFC 6901).
        pointer: String,
        /// The value.
        value: Value,
    },
    /// Pages after the first are of a later scan: other completion time, other counts.
    ScanChangesBetweenPages,
    /// Everything asked for in a batch is among the failures, in a 200 answer.
    PartialFailure,
    /// Manifest bytes that do not hash to the digest.
    CorruptManifest,
}

/// What a fault needs to happen at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Any operation.
    Any,
    /// Any request that continues a listing.
    Continued,
    /// Any of these operations.
    Operations(&'static [&'static str]),
}

const SCANS: &[&str] = &["DescribeImageScanFindings"];
const TIMES: &[&str] = &["DescribeImageScanFindings", "ListCoverage"];
const SCORES: &[&str] = &["BatchGetFindingDetails", "DescribeImageScanFindings", "ListFindings"];
const IMAGES: &[&str] = &["DescribeImageScanFindings", "DescribeImages", "BatchGetImage", "StartImageScan"];
const BATCHES: &[&str] = &["BatchGetFindingDetails", "BatchGetImage", "BatchGetRepositoryScanningConfiguration"];
const PAGED: &[&str] = &[
    "DescribeImageScanFindings",
    "DescribeImages",
    "DescribeRepositories",
    "ListCoverage",
    "ListFindings",
    "ListImages",
];

impl Fault {
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::Throttle400
            | Self::Throttle429
            | Self::Throttle429Empty
            | Self::ServerError500
            | Self::ServiceUnavailable503
            | Self::Error { .. }
            | Self::Delay(_)
            | Self::Hang
            | Self::DropConnection
            | Self::CutConnection
            | Self::TruncateBody
            | Self::MalformedJson
            | Self::EmptyBody200
            | Self::EmptyObject
            | Self::DropField(_)
            | Self::SetField { .. } => Scope::Any,
            Self::RepeatPage | Self::DuplicatePage | Self::MissingPage | Self::TokenLoop => Scope::Operations(PAGED),
            Self::CountsDisagree
            | Self::CountNegative
            | Self::DropCounts
            | Self::DropFindingsObject
            | Self::DropStatus
            | Self::UnknownStatus(_)
            | Self::UnknownSeverity(_) => Scope::Operations(SCANS),
            Self::WrongDigest | Self::WrongRepository | Self::WrongRegistry => Scope::Operations(IMAGES),
            Self::NanScore => Scope::Operations(SCORES),
            Self::HugeTimestamp | Self::FutureCompletedAt => Scope::Operations(TIMES),
            Self::ScanChangesBetweenPages => Scope::Continued,
            Self::PartialFailure => Scope::Operations(BATCHES),
            Self::CorruptManifest => Scope::Operations(&["BatchGetImage"]),
        }
    }
}

/// Durations as a number of seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
