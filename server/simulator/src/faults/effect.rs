//! The stage of a call at which each fault takes effect.

use std::time::Duration;

use super::Fault;
use crate::wire::PagingFault;

/// The effect of a fault on a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect<'f> {
    /// The response is delayed.
    Delay(Duration),
    /// No response is sent.
    Hang,
    /// The connection closes before a response.
    DropConnection,
    /// A canned response replaces the operation's.
    Replace(CannedResponse<'f>),
    /// The response is another page.
    Paging(PagingFault),
    /// The correct response is modified.
    Mutate,
    /// The response's JSON ends half-way.
    TruncateBody,
    /// The connection closes half-way.
    CutConnection,
}

/// A response that does not depend on the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CannedResponse<'f> {
    pub(crate) status: u16,
    /// `None` is the protocol's default.
    pub(crate) content_type: Option<&'static str>,
    /// The code of an error, whose message is `body`. `None` sends `body` unchanged.
    pub(crate) code: Option<&'f str>,
    pub(crate) body: &'f str,
}

impl<'f> CannedResponse<'f> {
    fn error(status: u16, code: &'f str, message: &'f str) -> Effect<'f> {
        Effect::Replace(Self { status, content_type: None, code: Some(code), body: message })
    }

    fn body(status: u16, body: &'f str) -> Effect<'f> {
        Effect::Replace(Self { status, content_type: None, code: None, body })
    }

    fn html(status: u16, body: &'f str) -> Effect<'f> {
        Effect::Replace(Self { status, content_type: Some("text/html"), code: None, body })
    }
}

impl Fault {
    pub(crate) fn effect(&self) -> Effect<'_> {
        match self {
            Self::Throttle400 => CannedResponse::error(400, "ThrottlingException", "Rate exceeded"),
            Self::Throttle429 => CannedResponse::error(429, "ThrottleException", "Rate exceeded"),
            Self::Throttle429Empty => CannedResponse::body(429, ""),
            Self::ServerError500 => {
                let message = "These errors are usually caused by a server-side issue.";
                CannedResponse::error(500, "ServerException", message)
            }
            Self::ServiceUnavailable503 => {
                CannedResponse::html(503, "<html><body><h1>503 Service Unavailable</h1></body></html>")
            }
            Self::Html(status) => {
                CannedResponse::html(*status, "<html><body><h1>Access is blocked by your proxy</h1></body></html>")
            }
            Self::Raw { status, body } => CannedResponse::body(*status, body),
            Self::Error { code, message, status } => CannedResponse::error(*status, code, message),
            Self::Delay(time) => Effect::Delay(*time),
            Self::Hang => Effect::Hang,
            Self::DropConnection => Effect::DropConnection,
            Self::CutConnection => Effect::CutConnection,
            Self::TruncateBody => Effect::TruncateBody,
            Self::MalformedJson => CannedResponse::body(200, "{\"imageScanFindings\": {\"findings\": [}"),
            Self::EmptyBody200 => CannedResponse::body(200, ""),
            Self::EmptyObject => CannedResponse::body(200, "{}"),
            Self::RepeatPage => Effect::Paging(PagingFault::Repeat),
            Self::DuplicatePage => Effect::Paging(PagingFault::Duplicate),
            Self::MissingPage => Effect::Paging(PagingFault::Skip),
            Self::TokenLoop => Effect::Paging(PagingFault::Loop),
            Self::CountsDisagree
            | Self::CountNegative
            | Self::DropCounts
            | Self::DropFindingsObject
            | Self::DropStatus
            | Self::UnknownStatus(_)
            | Self::UnknownSeverity(_)
            | Self::WrongDigest
            | Self::WrongRepository
            | Self::WrongRegistry
            | Self::NanScore
            | Self::HugeTimestamp
            | Self::FutureCompletedAt
            | Self::DropField(_)
            | Self::SetField { .. }
            | Self::ScanChangesBetweenPages
            | Self::PerPageFacts
            | Self::PartialFailure
            | Self::CorruptManifest => Effect::Mutate,
        }
    }
}
