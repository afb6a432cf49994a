//! The failure of a command, as a message with the next step for the user.

use std::{error::Error as StdError, io, path::PathBuf};

use scangate_client::{Code, Error, Rejection, v1::ErrorReason};

use crate::{outcome::Outcome, report::Report};

pub(crate) type BoxError = Box<dyn StdError>;

/// The failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Call(#[from] Error),
    #[error("{0}")]
    Usage(String),
    #[error("cannot read {}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("invalid policy file {}", .path.display())]
    PolicyFile { path: PathBuf, source: BoxError },
    #[error("cannot convert the response to JSON")]
    Json(#[source] BoxError),
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    #[error("cannot start the async runtime")]
    Runtime(#[source] io::Error),
}

impl CliError {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Usage(_) | Self::File { .. } | Self::PolicyFile { .. } | Self::Call(Error::Options { .. }) => {
                Outcome::Usage
            }
            Self::Call(error) => error.rejection().map_or(Outcome::Failed, Outcome::from),
            Self::Json(_) | Self::Output(_) | Self::Runtime(_) => Outcome::Failed,
        }
    }

    /// The text for standard error.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::default();
        if let Self::Call(Error::Rejected(rejection)) = self {
            write_rejection(&mut report, rejection);
            return report;
        }
        report.line(&format!("error: {}", with_root_cause(self)));
        if let Self::Call(Error::Connect { .. }) = self {
            report.line("  check that the server is running; set its URL with --server or SCANGATE_SERVER");
        }
        report
    }
}

fn write_rejection(report: &mut Report, rejection: &Rejection) {
    report.line(&format!("error: {}", headline(rejection)));
    for violation in &rejection.violations {
        report.line(&format!("  {}: {}", violation.field, violation.description));
    }
    let mut metadata: Vec<_> = rejection.metadata.iter().collect();
    metadata.sort();
    for (key, value) in metadata {
        report.line(&format!("  {key}: {value}"));
    }
    if let Some(advice) = advice(rejection) {
        report.line(&format!("  {advice}"));
    }
}

/// The next step with the options of this program, if the server refused the identity of the caller.
fn advice(rejection: &Rejection) -> Option<&'static str> {
    let is_refused = rejection.code == Code::Unauthenticated;
    let is_missing = rejection.error_reason() == ErrorReason::IdentityMissing;
    is_refused.then_some(if is_missing {
        "identify yourself with --cert and --key, with --token-file or --token-command, or with SCANGATE_TOKEN"
    } else {
        "renew the certificate of --cert, or the token of --token-file, --token-command or SCANGATE_TOKEN"
    })
}

/// The rejection without its fields: these are listed below the headline.
fn headline(rejection: &Rejection) -> String {
    let mut headline = rejection.clone();
    let fields = std::mem::take(&mut headline.violations);
    if !fields.is_empty() && fields.iter().all(|violation| headline.message.contains(&violation.description)) {
        "the server rejected these fields".clone_into(&mut headline.message);
    }
    headline.to_string()
}

/// The error and its root cause; the sources between them repeat one another.
fn with_root_cause(error: &CliError) -> String {
    let mut root = error.source();
    while let Some(cause) = root.and_then(StdError::source) {
        root = Some(cause);
    }
    root.map_or_else(|| error.to_string(), |root| format!("{error}: {root}"))
}
