//! Why a command has no answer, told so that the reader can do something about it.

use std::{error::Error as StdError, io, path::PathBuf};

use scangate_client::{Code, Error, Rejection};

use crate::{outcome::Outcome, page::Page};

pub(crate) type BoxError = Box<dyn StdError>;

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Gate(#[from] Error),
    #[error("{0}")]
    Usage(String),
    #[error("cannot read {}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no policy", .path.display())]
    PolicyFile { path: PathBuf, source: BoxError },
    #[error("cannot write the answer as JSON")]
    Json(#[source] BoxError),
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    #[error("cannot start")]
    Runtime(#[source] io::Error),
}

impl Failure {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Usage(_) | Self::File { .. } | Self::PolicyFile { .. } | Self::Gate(Error::Options { .. }) => {
                Outcome::Usage
            }
            Self::Gate(error) => error.rejection().map_or(Outcome::Failed, of_rejection),
            Self::Json(_) | Self::Output(_) | Self::Runtime(_) => Outcome::Failed,
        }
    }

    /// What to print on standard error.
    pub(crate) fn page(&self) -> Page {
        let mut page = Page::default();
        if let Self::Gate(Error::Rejected(rejection)) = self {
            describe(&mut page, rejection);
            return page;
        }
        page.line(&format!("error: {}", with_root_cause(self)));
        if let Self::Gate(Error::Connect { .. }) = self {
            page.line("  is the server running? --server or SCANGATE_SERVER says where");
        }
        page
    }
}

/// What the gate refuses because of what was typed is a usage error; every other refusal a failure.
pub(crate) fn of_rejection(rejection: &Rejection) -> Outcome {
    if rejection.code == Code::InvalidArgument { Outcome::Usage } else { Outcome::Failed }
}

fn describe(page: &mut Page, rejection: &Rejection) {
    page.line(&format!("error: {}", headline(rejection)));
    for violation in &rejection.violations {
        page.line(&format!("  {}: {}", violation.field, violation.description));
    }
    let mut metadata: Vec<_> = rejection.metadata.iter().collect();
    metadata.sort();
    for (key, value) in metadata {
        page.line(&format!("  {key}: {value}"));
    }
}

/// The rejection without its fields, which are listed below it.
fn headline(rejection: &Rejection) -> String {
    let mut headline = rejection.clone();
    let fields = std::mem::take(&mut headline.violations);
    if !fields.is_empty() && fields.iter().all(|violation| headline.message.contains(&violation.description)) {
        "the gate refuses these values".clone_into(&mut headline.message);
    }
    headline.to_string()
}

/// The failure and what is at the bottom of it; the layers between only repeat one another.
fn with_root_cause(failure: &Failure) -> String {
    let mut root = failure.source();
    while let Some(cause) = root.and_then(StdError::source) {
        root = Some(cause);
    }
    root.map_or_else(|| failure.to_string(), |root| format!("{failure}: {root}"))
}
