//! Errors of AWS calls: the SDK's many error types, classified by the possible reaction.

use std::{error::Error as StdError, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use scangate_core::{
    image::{Repository, RepositoryName},
    registry::Registry as RegistryId,
};

use super::operation::Operation;
use crate::registry::{Error, Source};

/// The retry delay to report if AWS names none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// The maximum length of AWS's message in an error, in characters.
const MAX_CHARS: usize = 300;

const THROTTLING: [&str; 6] = [
    "ThrottlingException",
    "ThrottleException",
    "Throttling",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
];
const OUTAGE: [&str; 6] = [
    "ServerException",
    "InternalServerException",
    "InternalFailure",
    "ServiceUnavailableException",
    "RequestTimeout",
    "RequestTimeoutException",
];
const DENIAL: [&str; 3] = ["AccessDeniedException", "AccessDenied", "UnauthorizedOperation"];
const CREDENTIALS: [&str; 14] = [
    "ExpiredTokenException",
    "ExpiredToken",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "AuthFailure",
];

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// AWS throttles: retry later.
    Throttled,
    /// No response, or a failure of AWS: retry.
    Unavailable,
    /// The response of something other than AWS: retry.
    Unreachable,
    /// A successful response that cannot be parsed.
    Undecodable,
    /// IAM denies the action.
    Denied,
    /// Missing or invalid AWS credentials.
    Credentials,
    /// AWS rejects the request with a code.
    Rejected,
}

/// An error of one AWS call.
#[derive(Debug)]
pub(super) struct CallError {
    kind: ErrorKind,
    code: String,
    message: String,
    retry_after: Option<Duration>,
    /// The HTTP status; 0 if there is no response.
    status: u16,
}

/// The message of AWS or of the transport: sanitized, and never a request with its signature.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct Cause {
    code: String,
    message: String,
}

impl CallError {
    /// Classifies an error of the SDK.
    pub(super) fn from_sdk<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        match error {
            SdkError::ServiceError(context) => Self::from_response(context.err(), context.raw()),
            SdkError::TimeoutError(_) => Self::transport("Timeout", error),
            SdkError::DispatchFailure(_) if is_credentials_error(error) => {
                Self { kind: ErrorKind::Credentials, ..Self::transport("NoCredentials", error) }
            }
            SdkError::DispatchFailure(_) if is_refused_by_proxy(error) => {
                Self { kind: ErrorKind::Unreachable, status: 407, ..Self::transport("HTTP 407", error) }
            }
            SdkError::DispatchFailure(_) => Self::transport("NoConnection", error),
            SdkError::ResponseError(_) => Self::transport("BrokenResponse", error),
            // The request could not be built. The SDK's enum is non-exhaustive.
            SdkError::ConstructionFailure(_) | _ => {
                Self { kind: ErrorKind::Rejected, ..Self::transport("BadRequest", error) }
            }
        }
    }

    /// The time budget ended before a response arrived.
    pub(super) fn timed_out() -> Self {
        let message = "no response within the time budget".to_owned();
        Self { kind: ErrorKind::Unavailable, code: "Timeout".to_owned(), message, retry_after: None, status: 0 }
    }

    fn transport(code: &str, error: &dyn StdError) -> Self {
        let message = join_sources(error);
        Self { kind: ErrorKind::Unavailable, code: code.to_owned(), message, retry_after: None, status: 0 }
    }

    fn from_response<E: ProvideErrorMetadata + StdError>(error: &E, response: &HttpResponse) -> Self {
        let status = response.status().as_u16();
        let code = error.code().unwrap_or_default();
        let body = response.body().bytes().unwrap_or_default();
        if is_foreign(status, code, body) {
            return Self::unreachable(status, body, response);
        }
        let kind = match status {
            200..=299 => ErrorKind::Undecodable,
            429 => ErrorKind::Throttled,
            _ if THROTTLING.contains(&code) => ErrorKind::Throttled,
            408 | 500.. => ErrorKind::Unavailable,
            _ if OUTAGE.contains(&code) => ErrorKind::Unavailable,
            _ if CREDENTIALS.contains(&code) => ErrorKind::Credentials,
            _ if DENIAL.contains(&code) => ErrorKind::Denied,
            _ => ErrorKind::Rejected,
        };
        let message = error.message().map_or_else(|| join_sources(error), sanitize);
        let code = if code.is_empty() { format!("HTTP {status}") } else { sanitize(code) };
        Self { kind, code, message, retry_after: retry_after(response), status }
    }

    fn unreachable(status: u16, body: &[u8], response: &HttpResponse) -> Self {
        let kind = ErrorKind::Unreachable;
        Self {
            kind,
            code: format!("HTTP {status}"),
            message: excerpt(body),
            retry_after: retry_after(response),
            status,
        }
    }

    /// Returns the class of the error.
    pub(super) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns AWS's error code, or this module's own if there is none.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// Returns the sanitized message of AWS.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the retry delay that AWS asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// True if AWS rejected the request with this code.
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.kind == ErrorKind::Rejected && self.code == code
    }

    /// True if ECR rejected the request because it does not offer the feature here: registry-wide scanning rules in a
    /// Region without enhanced scanning, or a manual scan under enhanced scanning.
    pub(super) fn is_feature_disabled(&self) -> bool {
        self.has_code("ValidationException") && self.message.contains("This feature is disabled")
    }

    /// Converts to the error of an operation on a repository.
    pub(super) fn into_repository_error(self, operation: Operation, repository: &Repository) -> Error {
        if self.has_code("RepositoryNotFoundException") {
            return Error::RepositoryNotFound(repository.clone());
        }
        self.into_error(operation)
    }

    /// Converts to the error of an operation on an image, a tag or a digest.
    pub(super) fn into_image_error(self, operation: Operation, repository: &Repository, image: &str) -> Error {
        if self.has_code("ImageNotFoundException") {
            return Error::ImageNotFound { repository: repository.clone(), image: image.to_owned() };
        }
        self.into_repository_error(operation, repository)
    }

    /// Converts to the error of an operation.
    pub(super) fn into_error(self, operation: Operation) -> Error {
        let Self { kind, code, message, retry_after, status } = self;
        let name = operation.name;
        match kind {
            ErrorKind::Throttled => {
                Error::Throttled { operation: name, retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER) }
            }
            ErrorKind::Unavailable => {
                Error::Unavailable { operation: name, source: Source::new(Cause { code, message }) }
            }
            ErrorKind::Unreachable => {
                Error::Unreachable { operation: name, status, source: Source::new(Cause { code, message }) }
            }
            ErrorKind::Undecodable => Error::MalformedResponse { operation: name, detail: message },
            ErrorKind::Denied => {
                let action = denied_action(&message).unwrap_or_else(|| operation.action());
                Error::AccessDenied { action, detail: message }
            }
            ErrorKind::Credentials => Error::Credentials(Source::new(Cause { code, message })),
            ErrorKind::Rejected => Error::Rejected { operation: name, code, message },
        }
    }
}

/// Returns the error for an unusable response.
pub(super) fn malformed(operation: Operation, detail: impl Into<String>) -> Error {
    Error::MalformedResponse { operation: operation.name, detail: sanitize(&detail.into()) }
}

/// Returns the error for a repository that a successful response reports as missing.
pub(super) fn repository_not_found(registry: &RegistryId, name: &RepositoryName) -> Error {
    Error::RepositoryNotFound(Repository { registry: registry.clone(), name: name.clone() })
}

/// Returns the first line without control characters, truncated. On further lines, AWS's message about a bad signature
/// quotes the request with its session token.
pub(super) fn sanitize(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

/// True if the response is not of AWS. AWS answers with a JSON object, and names an error by its code. Two exceptions
/// remain: ECR documents a 429 without a body, and a 200 without a body reaches the SDK as an empty response.
fn is_foreign(status: u16, code: &str, body: &[u8]) -> bool {
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    match status {
        // AWS has no proxy to authenticate to.
        407 => true,
        429 => !body.is_empty() && !is_object && code.is_empty(),
        200..=299 => !body.is_empty() && !is_object,
        _ => code.is_empty(),
    }
}

/// Returns the beginning of an untrusted body, in printable ASCII.
fn excerpt(body: &[u8]) -> String {
    let printable = body.iter().take(MAX_CHARS).map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => ' ',
    });
    printable.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn join_sources(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    sanitize(&text)
}

fn is_credentials_error(error: &dyn StdError) -> bool {
    std::iter::successors(error.source(), |error| (*error).source()).any(<dyn StdError>::is::<CredentialsError>)
}

/// True if a proxy answered CONNECT with 407. The type of the error is private to hyper-util, so only its text shows that.
fn is_refused_by_proxy(error: &dyn StdError) -> bool {
    std::iter::successors(error.source(), |error| (*error).source())
        .any(|error| error.to_string() == "tunnel error: proxy authorization required")
}

/// Parses the retry delay: seconds in the standard header, milliseconds in AWS's own.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let number = |name: &str| response.headers().get(name)?.trim().parse::<u64>().ok();
    number("x-amz-retry-after").map(Duration::from_millis).or_else(|| number("retry-after").map(Duration::from_secs))
}

/// Returns the action that AWS names. It may differ from the operation's: an enhanced read of ECR needs an action of
/// Inspector, too.
fn denied_action(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("not authorized to perform: ")?;
    let action: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '-')).collect();
    action.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty()).then_some(action)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ecr::{error::ConnectorError, operation::describe_images::DescribeImagesError};

    use super::*;

    fn undispatched(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> ErrorKind {
        let error = SdkError::<DescribeImagesError, _>::dispatch_failure(ConnectorError::other(cause.into(), None));
        CallError::from_sdk(&error).kind()
    }

    #[test]
    fn missing_credentials_differ_from_no_connection() {
        assert_eq!(undispatched(CredentialsError::not_loaded("none in the chain")), ErrorKind::Credentials);
        assert_eq!(undispatched("connection refused"), ErrorKind::Unavailable);
        assert_eq!(undispatched("tunnel error: proxy authorization required"), ErrorKind::Unreachable);
    }

    #[test]
    fn response_of_other_server_is_foreign() {
        let foreign: [(u16, &str, &[u8]); 7] = [
            (200, "", b"<html>Sign in</html>"),
            (200, "", b"\xef\xbb\xbf<html>"),
            (302, "", b""),
            (403, "", b"{\"message\": \"Forbidden\"}"),
            (407, "AccessDeniedException", b"{}"),
            (429, "", b"<html>slow down</html>"),
            (503, "", b"Service Unavailable"),
        ];
        for (status, code, body) in foreign {
            assert!(is_foreign(status, code, body), "{status} {code} {body:?}");
        }
        let own: [(u16, &str, &[u8]); 6] = [
            (200, "", b""),
            (200, "", b" {\"imageDetails\": [}"),
            (400, "ValidationException", b"{}"),
            (429, "", b""),
            (429, "", b"{\"message\": \"Rate exceeded\"}"),
            (500, "ServerException", b""),
        ];
        for (status, code, body) in own {
            assert!(!is_foreign(status, code, body), "{status} {code} {body:?}");
        }
    }

    #[test]
    fn excerpt_of_body_is_short_and_printable() {
        assert_eq!(excerpt("<h1>\u{1b}[31mno\u{202e}\r\n entry</h1>".as_bytes()), "<h1> [31mno entry</h1>");
        assert!(excerpt(&b"x".repeat(100_000)).len() <= MAX_CHARS);
    }

    #[test]
    fn only_first_line_of_message_remains() {
        let message = "The request signature does not match.\n\nThe Canonical String was\nx-amz-security-token:secret";

        assert_eq!(sanitize(message), "The request signature does not match.");
    }

    #[test]
    fn message_is_truncated_without_control_characters() {
        assert_eq!(sanitize("a\u{7}b\u{1b}c"), "abc");
        assert_eq!(sanitize(&"é".repeat(1_000)).chars().count(), MAX_CHARS);
    }

    #[test]
    fn denied_action_is_parsed() {
        let message = "User: arn:aws:iam::123456789012:user/a is not authorized to perform: inspector2:ListFindings on \
                    resource: arn:aws:inspector2:eu-west-1:123456789012:/findings/list";

        assert_eq!(denied_action(message).as_deref(), Some("inspector2:ListFindings"));
        assert_eq!(denied_action("is not authorized to perform: this"), None);
        assert_eq!(denied_action("go away"), None);
    }
}
