//! The outcome of a command, and its exit status.

use std::process::ExitCode;

use scangate_client::{Code, NotAllowed, Refusal, Rejection};

/// The outcomes from best to worst. With several images the worst counts; as in the contract, DENY outweighs failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Allowed; for commands without a verdict: success.
    Success,
    /// A simulated ALLOW. Its exit status is not 0, so that `scangate simulate … && deploy` never deploys.
    WouldAllow,
    /// The server cannot decide yet.
    Indeterminate,
    /// The server is unreachable, failed, or sent an inconsistent decision.
    Failed,
    /// The command line is invalid.
    Usage,
    /// Denied.
    Denied,
}

impl From<&NotAllowed> for Outcome {
    fn from(not_allowed: &NotAllowed) -> Self {
        match &not_allowed.refusal {
            Refusal::Denied => Self::Denied,
            Refusal::Indeterminate | Refusal::UnknownVerdict(_) => Self::Indeterminate,
            // An inconsistent ALLOW is a failure of the server.
            Refusal::NoManifests
            | Refusal::ManifestNotAllowed { .. }
            | Refusal::Contradiction
            | Refusal::NoReference
            | Refusal::NotPinned { .. }
            | _ => Self::Failed,
        }
    }
}

impl From<&Rejection> for Outcome {
    fn from(rejection: &Rejection) -> Self {
        if rejection.code == Code::InvalidArgument { Self::Usage } else { Self::Failed }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Success => 0,
            Outcome::Denied => 1,
            Outcome::Indeterminate => 2,
            Outcome::Failed => 3,
            Outcome::WouldAllow => 10,
            Outcome::Usage => 64,
        })
    }
}

/// The output of a command that ran, and its outcome.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) text: String,
    pub(crate) outcome: Outcome,
    /// Warnings for standard error that the text does not contain.
    pub(crate) warnings: Vec<String>,
}

impl CommandOutput {
    pub(crate) fn success(text: String) -> Self {
        Self { text, outcome: Outcome::Success, warnings: Vec::new() }
    }
}
