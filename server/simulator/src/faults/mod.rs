//! Scripted faults: the kind of fault, the calls it applies to, and the number of times.

mod catalogue;
mod effect;
mod mutation;
mod rule;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use effect::{CannedResponse, Effect};
pub(crate) use mutation::mutate;
pub(crate) use rule::Target;
pub use rule::{Faults, Rule};

/// A fault in a response.
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
    /// HTTP 503 with an HTML page, as from a load balancer.
    #[serde(rename = "service_unavailable_503")]
    ServiceUnavailable503,
    /// An HTML page with this HTTP status, as from a proxy or a captive portal.
    Html(u16),
    /// Any body with any HTTP status, without an error code in a header.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// Any error, by its code, e.g. `AccessDeniedException`.
    Error {
        /// The code.
        code: String,
        /// The message.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// The correct response, after this delay (by the wall clock, not the simulator's).
    Delay(#[serde(with = "seconds")] Duration),
    /// No response, on an open connection.
    Hang,
    /// The connection closes before a response.
    DropConnection,
    /// The connection closes in the middle of the body.
    CutConnection,
    /// A complete HTTP response whose JSON ends half-way.
    TruncateBody,
    /// A body that is not JSON.
    MalformedJson,
    /// HTTP 200 with an empty body, which SDKs decode as a response without any member.
    #[serde(rename = "empty_body_200")]
    EmptyBody200,
    /// HTTP 200 with `{}`.
    EmptyObject,
    /// Every page is the first page, always with the same token.
    RepeatPage,
    /// The first page is returned twice, under different tokens.
    DuplicatePage,
    /// The second page is omitted. If there is a single page, its items are omitted.
    MissingPage,
    /// The token of the last page leads to the first page.
    TokenLoop,
    /// The counts omit a severity that has findings, or count a finding that is not listed.
    CountsDisagree,
    /// A count of -1.
    CountNegative,
    /// No `findingSeverityCounts`.
    DropCounts,
    /// No `imageScanFindings`.
    DropFindingsObject,
    /// No `imageScanStatus`.
    DropStatus,
    /// The scan status is this string.
    UnknownStatus(String),
    /// One severity is renamed to this string, both in findings and in counts.
    UnknownSeverity(String),
    /// The response names another digest.
    WrongDigest,
    /// The response names another repository.
    WrongRepository,
    /// The response names another registry.
    WrongRegistry,
    /// A finding's score is "NaN", which the protocol allows.
    NanScore,
    /// The completion time of the scan is 1e300.
    HugeTimestamp,
    /// The completion time of the scan is a year later than the real one.
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
    /// Pages after the first come from a later scan, with another completion time and other counts.
    ScanChangesBetweenPages,
    /// Each page counts its own findings, and its completion time depends on them.
    PerPageFacts,
    /// All items of a batch are returned as failures, with HTTP 200.
    PartialFailure,
    /// The manifest's bytes do not hash to its digest.
    CorruptManifest,
}

/// The calls that a fault can apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Any operation.
    Any,
    /// Any request that continues a listing.
    Continued,
    /// Any of these operations.
    Operations(&'static [&'static str]),
}

const WITH_SCAN: &[&str] = &["DescribeImageScanFindings"];
const WITH_SCAN_TIME: &[&str] = &["DescribeImageScanFindings", "ListCoverage"];
const WITH_SCORES: &[&str] = &["BatchGetFindingDetails", "DescribeImageScanFindings", "ListFindings"];
const WITH_IMAGE: &[&str] = &["DescribeImageScanFindings", "DescribeImages", "BatchGetImage", "StartImageScan"];
const BATCHED: &[&str] = &["BatchGetFindingDetails", "BatchGetImage", "BatchGetRepositoryScanningConfiguration"];
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
            | Self::Html(_)
            | Self::Raw { .. }
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
            | Self::UnknownSeverity(_)
            | Self::PerPageFacts => Scope::Operations(WITH_SCAN),
            Self::WrongDigest | Self::WrongRepository | Self::WrongRegistry => Scope::Operations(WITH_IMAGE),
            Self::NanScore => Scope::Operations(WITH_SCORES),
            Self::HugeTimestamp | Self::FutureCompletedAt => Scope::Operations(WITH_SCAN_TIME),
            Self::ScanChangesBetweenPages => Scope::Continued,
            Self::PartialFailure => Scope::Operations(BATCHED),
            Self::CorruptManifest => Scope::Operations(&["BatchGetImage"]),
        }
    }
}

/// serde form of a duration: a number of seconds.
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
