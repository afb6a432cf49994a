//! What a command came to, and the exit status that says so.

use std::process::ExitCode;

use scangate_client::{NotAllowed, Refusal};

/// From best to worst: of several images the worst counts, and as in the contract a DENY outweighs what is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Allowed; for commands that ask for no verdict: done.
    Success,
    /// The gate could not decide.
    Undecided,
    /// The gate could not be reached, failed, or answered what cannot be trusted.
    Failed,
    /// The command makes no sense as it was typed.
    Usage,
    /// Denied.
    Denied,
}

impl Outcome {
    pub(crate) fn of_refusal(refusal: &NotAllowed) -> Self {
        match &refusal.refusal {
            Refusal::Denied => Self::Denied,
            Refusal::Indeterminate | Refusal::UnknownVerdict(_) => Self::Undecided,
            // An ALLOW with something against it is a gate that fails.
            Refusal::Advice
            | Refusal::NothingProven
            | Refusal::ManifestNotAllowed { .. }
            | Refusal::Contradiction
            | Refusal::NoReference
            | Refusal::NotPinned { .. }
            | _ => Self::Failed,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Success => 0,
            Outcome::Denied => 1,
            Outcome::Undecided => 2,
            Outcome::Failed => 3,
            Outcome::Usage => 64,
        })
    }
}

/// What a command prints, and what it came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) outcome: Outcome,
    /// What the text does not say and a person must know; goes to standard error.
    pub(crate) remarks: Vec<String>,
}

impl Answer {
    pub(crate) fn success(text: String) -> Self {
        Self { text, outcome: Outcome::Success, remarks: Vec::new() }
    }
}
