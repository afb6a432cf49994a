//! The effect of a scan that falls short of a policy's requirements.

use jiff::Timestamp;

use crate::{
    decision::{ManifestInput, Start, Verdict},
    evidence::{Assessment, Evidence},
    policy::{Action, Policy},
};

/// The effect of one shortfall under a policy.
pub(super) enum ScanOutcome {
    /// The evidence is proof.
    Accept,
    /// The policy tolerates the shortfall with a warning.
    Warn,
    /// The policy denies, for this reason.
    Deny(String),
    /// The policy waits for a scan; `starts`: a scan has to be started.
    Wait { starts: bool },
}

/// Returns the effect of a shortfall under a policy.
pub(super) fn scan_outcome(policy: &Policy, input: &ManifestInput, shortfall: &Assessment) -> ScanOutcome {
    match (policy.scan.on_shortfall(shortfall.evidence), &input.start) {
        (None, _) => ScanOutcome::Accept,
        (Some(Action::Warn), _) => ScanOutcome::Warn,
        (Some(Action::Deny), _) => ScanOutcome::Deny(shortfall.detail.clone()),
        (Some(Action::StartScan), _) if shortfall.evidence == Evidence::ScanPending => {
            ScanOutcome::Wait { starts: false }
        }
        (Some(Action::StartScan), None) => ScanOutcome::Wait { starts: true },
        (Some(Action::StartScan), Some(Start::Running)) => ScanOutcome::Wait { starts: false },
        (Some(Action::StartScan), Some(Start::Refused(why))) => {
            ScanOutcome::Deny(format!("{}; no scan can be started: {why}", shortfall.detail))
        }
    }
}

/// Returns the verdict of the scan alone at an instant, as if the policy were enforced.
pub(super) fn scan_verdict(policy: &Policy, input: &ManifestInput, assessment: &Assessment, at: Timestamp) -> Verdict {
    let verdict = |shortfall: Assessment| match scan_outcome(policy, input, &shortfall) {
        ScanOutcome::Accept | ScanOutcome::Warn => Verdict::Allow,
        ScanOutcome::Wait { .. } => Verdict::Indeterminate,
        ScanOutcome::Deny(_) => Verdict::Deny,
    };
    let shortfalls = assessment.shortfalls(policy.scan.max_scan_age, at);
    shortfalls.into_iter().map(verdict).max().unwrap_or(Verdict::Allow)
}
