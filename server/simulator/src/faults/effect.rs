//! Where in the course of a call each fault happens.

use std::time::Duration;

use super::Fault;
use crate::wire::Twist;

/// What a fault does to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect<'f> {
    /// The answer comes later.
    Wait(Duration),
    /// No answer comes.
    Hang,
    /// The connection closes before an answer.
    Drop,
    /// Another answer comes.
    Instead(Instead<'f>),
    /// Another page comes.
    Page(Twist),
    /// The right answer is changed.
    Change,
    /// The answer's JSON stops half-way.
    Truncate,
    /// The connection closes half-way.
    Cut,
}

/// An answer in the place of the right one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instead<'f> {
    pub(crate) status: u16,
    /// `None` is the protocol's own.
    pub(crate) content_type: Option<&'static str>,
    /// An error's code; `body` is its message then.
    pub(crate) code: Option<&'f str>,
    pub(crate) body: &'f str,
}

impl<'f> Instead<'f> {
    fn error(status: u16, code: &'f str, message: &'f str) -> Effect<'f> {
        Effect::Instead(Self { status, content_type: None, code: Some(code), body: message })
    }

    fn body(status: u16, body: &'f str) -> Effect<'f> {
        Effect::Instead(Self { status, content_type: None, code: None, body })
    }
}

impl Fault {
    pub(crate) fn effect(&self) -> Effect<'_> {
        match self {
            Self::Throttle400 => Instead::error(400, "ThrottlingException", "Rate exceeded"),
            Self::Throttle429 => Instead::error(429, "ThrottleException", "Rate exceeded"),
            Self::Throttle429Empty => Instead::body(429, ""),
            Self::ServerError500 => {
                Instead::error(500, "ServerException", "These errors are usually caused by a server-side issue.")
            }
            Self::ServiceUnavailable503 => Effect::Instead(Instead {
                status: 503,
                content_type: Some("text/html"),
                code: None,
                body: "<html><body><h1>503 Service Unavailable</h1></body></html>",
            }),
            Self::Error { code, message, status } => Instead::error(*status, code, message),
            Self::Delay(time) => Effect::Wait(*time),
            Self::Hang => Effect::Hang,
            Self::DropConnection => Effect::Drop,
            Self::CutConnection => Effect::Cut,
            Self::TruncateBody => Effect::Truncate,
            Self::MalformedJson => Instead::body(200, "{\"imageScanFindings\": {\"findings\": [}"),
            Self::EmptyBody200 => Instead::body(200, ""),
            Self::EmptyObject => Instead::body(200, "{}"),
            Self::RepeatPage => Effect::Page(Twist::Repeat),
            Self::DuplicatePage => Effect::Page(Twist::Duplicate),
            Self::MissingPage => Effect::Page(Twist::Skip),
            Self::TokenLoop => Effect::Page(Twist::Loop),
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
            | Self::PartialFailure
            | Self::CorruptManifest => Effect::Change,
        }
    }
}
