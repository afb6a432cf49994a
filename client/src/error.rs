//! The errors of a call, with the details that the server sent.

use std::{collections::HashMap, error::Error as _, fmt, time::Duration};

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::{
    decision::NotAllowed,
    duration::HumanDuration,
    token::TokenFailure,
    v1::{BatchEvaluateGateError, ErrorReason},
};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The `ErrorInfo` domain of scan-gate's reasons.
const DOMAIN: &str = "scangate.dev";

/// The failure of a call, or a decision that does not permit a deployment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One of the connect options is invalid.
    #[error("invalid {option}")]
    Options {
        /// The name of the option.
        option: &'static str,
        /// The problem with its value.
        source: BoxError,
    },
    /// The server could not be reached, or the connection broke before the response arrived.
    #[error("cannot reach the server at {endpoint}")]
    Connect {
        /// The endpoint as configured.
        endpoint: String,
        /// The error of the transport.
        source: BoxError,
    },
    /// No response arrived before the call's deadline.
    #[error("no response from the server within {}", HumanDuration(*.timeout))]
    DeadlineExceeded {
        /// The timeout of the call.
        timeout: Duration,
    },
    /// The source of tokens has none, so that the call was not sent.
    #[error(transparent)]
    Token(#[from] TokenFailure),
    /// The server responded with an error.
    #[error("{0}")]
    Rejected(Box<Rejection>),
    /// The server responded with OK, but the response breaks the contract. It permits nothing.
    #[error("incomplete response from the server: {missing}")]
    Incomplete {
        /// The missing or inconsistent part.
        missing: &'static str,
    },
    /// The decision does not permit a deployment.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
}

impl Error {
    /// The error that the server responded with; `None` for every other failure.
    pub fn rejection(&self) -> Option<&Rejection> {
        if let Self::Rejected(rejection) = self { Some(rejection) } else { None }
    }

    /// Separates transport failures from errors that the server sent.
    pub(crate) fn from_status(status: Status, endpoint: &str, timeout: Duration) -> Self {
        if cause::<TimeoutExpired>(&status).is_some() || status.code() == Code::DeadlineExceeded {
            return Self::DeadlineExceeded { timeout };
        }
        if let Some(failure) = cause::<TokenFailure>(&status) {
            return Self::Token(failure.clone());
        }
        // Only a status that tonic made from a transport error has a source.
        if status.source().is_some() {
            return Self::Connect { endpoint: endpoint.to_owned(), source: Box::new(status) };
        }
        Self::Rejected(Box::new(Rejection::from(&status)))
    }

    /// True if a repetition of the same call may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Rejected(rejection) => rejection.code == Code::Unavailable,
            Self::Options { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Token(_)
            | Self::Incomplete { .. }
            | Self::NotAllowed(_) => false,
        }
    }

    /// True if the server refused the caller's identity.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.rejection().is_some_and(|rejection| rejection.code == Code::Unauthenticated)
    }
}

/// Returns the first error of a type among the causes of a status.
fn cause<E: std::error::Error + 'static>(status: &Status) -> Option<&E> {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error that the server responded with, including its `google.rpc` details.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rejection {
    /// The status code.
    pub code: Code,
    /// The reason as sent, e.g. `IMAGE_NOT_FOUND`; empty if the error does not come from scan-gate.
    pub reason: String,
    /// The problem and the next step, as text for the caller.
    pub message: String,
    /// Every malformed field of the request.
    pub violations: Vec<FieldViolation>,
    /// The keys that the reason's documentation lists, e.g. `action` for `ECR_ACCESS_DENIED`.
    pub metadata: HashMap<String, String>,
    /// The delay after which a retry may succeed; `None` if the server sent none.
    pub retry_after: Option<Duration>,
}

/// A malformed field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldViolation {
    /// Path of the field, e.g. `policy.rules[2].when`.
    pub field: String,
    /// The problem with its value.
    pub description: String,
    /// The kind of the violation, e.g. `REQUIRED`.
    pub reason: String,
}

impl Rejection {
    /// The reason as an enum value of the contract; `Unspecified` if this version does not know it.
    ///
    /// ```no_run
    /// # use scangate_client::{Client, v1::{ErrorReason, EvaluateGateRequest}};
    /// # async fn explain(client: Client, request: EvaluateGateRequest) {
    /// if let Err(error) = client.evaluate(request).await
    ///     && let Some(rejection) = error.rejection()
    ///     && rejection.error_reason() == ErrorReason::ImageNotFound
    /// {
    ///     eprintln!("push the image first");
    /// }
    /// # }
    /// ```
    pub fn error_reason(&self) -> ErrorReason {
        ErrorReason::from_str_name(&format!("ERROR_REASON_{}", self.reason)).unwrap_or(ErrorReason::Unspecified)
    }
}

impl From<&Status> for Rejection {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
        Self {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            violations: violations
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                    reason: violation.reason.clone(),
                })
                .collect(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }
}

impl From<&BatchEvaluateGateError> for Rejection {
    fn from(error: &BatchEvaluateGateError) -> Self {
        Self {
            code: Code::from_i32(error.code),
            reason: error.reason.clone(),
            message: error.message.clone(),
            violations: error
                .field_violations
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                    reason: violation.reason.clone(),
                })
                .collect(),
            metadata: error.metadata.clone().into_iter().collect(),
            retry_after: error.retry_after.and_then(|delay| delay.try_into().ok()),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.message.as_str(), self.reason.as_str()) {
            ("", "") => write!(formatter, "{:?}", self.code)?,
            ("", reason) => formatter.write_str(reason)?,
            (message, "") => write!(formatter, "{message} ({:?})", self.code)?,
            (message, reason) => write!(formatter, "{message} ({reason})")?,
        }
        // The message may already contain the violations; do not repeat them.
        for violation in self.violations.iter().filter(|violation| !self.message.contains(&violation.description)) {
            write!(formatter, "; {}: {}", violation.field, violation.description)?;
        }
        match self.retry_after {
            Some(delay) => write!(formatter, "; retry in {}", HumanDuration(delay)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn rejection_carries_all_details_of_its_status() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_FIELDS", DOMAIN, [("known".to_owned(), "prod".to_owned())])
            .add_bad_request_violation("image", "is empty")
            .set_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::InvalidArgument, "invalid fields", details);

        let rejection = Rejection::from(&status);

        assert_eq!(rejection.error_reason(), ErrorReason::InvalidFields);
        assert_eq!(rejection.metadata["known"], "prod");
        assert_eq!(rejection.to_string(), "invalid fields (INVALID_FIELDS); image: is empty; retry in 7 s");
    }

    #[test]
    fn reason_of_another_domain_is_ignored() {
        let details = ErrorDetails::with_error_info("INTERNAL", "proxy.example", HashMap::new());

        let rejection = Rejection::from(&Status::with_error_details(Code::Internal, "", details));

        assert_eq!(rejection.error_reason(), ErrorReason::Unspecified);
        assert_eq!(rejection.to_string(), "Internal");
    }
}
