//! What can go wrong with a call, and what the server says about it.

use std::{collections::HashMap, error::Error as _, fmt, time::Duration};

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, RpcStatusExt, StatusExt};

use crate::{decision::NotAllowed, v1::ErrorReason};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

const DOMAIN: &str = "scangate";

/// Why there is no answer, or no permission.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connect options cannot be used as they are.
    #[error("cannot use this {what}")]
    Options {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The gate could not be reached, or the connection broke before it answered.
    #[error("cannot reach the gate at {endpoint}")]
    Connect {
        /// The endpoint as it was given.
        endpoint: String,
        /// What the transport says.
        source: BoxError,
    },
    /// The call's time was over before the gate answered.
    #[error("the gate did not answer within {}", Seconds(*.timeout))]
    DeadlineExceeded {
        /// The time that the call had.
        timeout: Duration,
    },
    /// The gate answered with an error.
    #[error("{0}")]
    Rejected(Box<Rejection>),
    /// The gate answered OK, but without what the contract promises. Never permission.
    #[error("the gate answered incompletely: {missing}")]
    Incomplete {
        /// What is missing or does not fit.
        missing: &'static str,
    },
    /// The gate answered, and the answer is not an ALLOW to deploy by.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
}

impl Error {
    /// The server's rejection, where there is one.
    pub fn rejection(&self) -> Option<&Rejection> {
        if let Self::Rejected(rejection) = self { Some(rejection) } else { None }
    }

    /// Tells a failure of the way to the gate from an answer of the gate.
    pub(crate) fn from_status(status: Status, endpoint: &str, timeout: Duration) -> Self {
        if caused_by_timeout(&status) || status.code() == Code::DeadlineExceeded {
            return Self::DeadlineExceeded { timeout };
        }
        // A status that the server sent has no source; one that tonic made of a transport error has.
        if status.source().is_some() {
            return Self::Connect { endpoint: endpoint.to_owned(), source: Box::new(status) };
        }
        Self::Rejected(Box::new(Rejection::from(&status)))
    }

    /// Whether a repetition of the same call may succeed without anybody doing anything.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Rejected(rejection) => rejection.code == Code::Unavailable,
            Self::Options { .. } | Self::DeadlineExceeded { .. } | Self::Incomplete { .. } | Self::NotAllowed(_) => {
                false
            }
        }
    }
}

fn caused_by_timeout(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error that the gate answered with, its `google.rpc` details parsed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rejection {
    /// The status code.
    pub code: Code,
    /// The reason as sent, e.g. `IMAGE_NOT_FOUND`; empty where the answer is not of a scan-gate.
    pub reason: String,
    /// What went wrong and what to do next, for people.
    pub message: String,
    /// Every field of the request that is malformed.
    pub violations: Vec<FieldViolation>,
    /// What the reason's documentation promises, e.g. `action` for `ECR_ACCESS_DENIED`.
    pub metadata: HashMap<String, String>,
    /// When asking again makes sense.
    pub retry_after: Option<Duration>,
}

/// A malformed field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldViolation {
    /// Path of the field, e.g. `policy.rules[2].when`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Rejection {
    /// The reason as the contract lists it; `Unspecified` where this version does not know it.
    pub fn error_reason(&self) -> ErrorReason {
        ErrorReason::from_str_name(&format!("ERROR_REASON_{}", self.reason)).unwrap_or(ErrorReason::Unspecified)
    }

    fn parse(code: Code, message: &str, details: &ErrorDetails) -> Self {
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
        Self {
            code,
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message: message.to_owned(),
            violations: violations
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }
}

impl From<&Status> for Rejection {
    fn from(status: &Status) -> Self {
        Self::parse(status.code(), status.message(), &status.get_error_details())
    }
}

impl From<&tonic_types::Status> for Rejection {
    fn from(status: &tonic_types::Status) -> Self {
        Self::parse(Code::from_i32(status.code), &status.message, &status.get_error_details())
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
        // Some gates name the fields in the message already.
        for violation in self.violations.iter().filter(|violation| !self.message.contains(&violation.description)) {
            write!(formatter, "; {}: {}", violation.field, violation.description)?;
        }
        match self.retry_after {
            Some(delay) => write!(formatter, "; ask again in {}", Seconds(delay)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Rejection {}

/// A duration for people: whole seconds, or milliseconds below one.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => write!(formatter, "{} ms", self.0.as_millis()),
            seconds => write!(formatter, "{seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_carries_every_detail_of_its_status() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_FIELDS", DOMAIN, [("known".to_owned(), "prod".to_owned())])
            .add_bad_request_violation("image", "is empty")
            .set_retry_info(Some(Duration::from_secs(7)));
        let status = Status::with_error_details(Code::InvalidArgument, "mend these fields", details);

        let rejection = Rejection::from(&status);

        assert_eq!(rejection.error_reason(), ErrorReason::InvalidFields);
        assert_eq!(rejection.metadata["known"], "prod");
        assert_eq!(rejection.to_string(), "mend these fields (INVALID_FIELDS); image: is empty; ask again in 7 s");
    }

    #[test]
    fn a_reason_of_another_domain_is_not_ours() {
        let details = ErrorDetails::with_error_info("INTERNAL", "proxy.example", HashMap::new());

        let rejection = Rejection::from(&Status::with_error_details(Code::Internal, "", details));

        assert_eq!(rejection.error_reason(), ErrorReason::Unspecified);
        assert_eq!(rejection.to_string(), "Internal");
    }
}
