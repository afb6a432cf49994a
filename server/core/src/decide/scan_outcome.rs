//! The effect of a scan that falls short of a policy's requirements.

use jiff::Timestamp;

use crate::{
    decision::{ManifestInput, SCANS_ARE_MANAGED, Start, Verdict},
    evidence::{Assessment, Evidence, Shortfall},
    policy::{Action, Policy},
    scan::ScanType,
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

/// Returns the effect of a shortfall under a policy. No policy accepts a manifest that is no image, or whose content is
/// unknown.
pub(super) fn scan_outcome(policy: &Policy, input: &ManifestInput, shortfall: &Shortfall) -> ScanOutcome {
    if !input.manifest.is_readable_image() {
        return ScanOutcome::Deny(shortfall.detail());
    }
    match policy.scan.on_shortfall(shortfall.evidence) {
        None => ScanOutcome::Accept,
        Some(Action::Warn) => ScanOutcome::Warn,
        Some(Action::Deny) => ScanOutcome::Deny(shortfall.detail()),
        Some(Action::StartScan) => start_outcome(input, shortfall),
    }
}

fn start_outcome(input: &ManifestInput, shortfall: &Shortfall) -> ScanOutcome {
    let refused = |why: &str| ScanOutcome::Deny(format!("{}; no scan can be started: {why}", shortfall.cause));
    match &input.start {
        _ if shortfall.evidence == Evidence::ScanPending => ScanOutcome::Wait { starts: false },
        _ if shortfall.outlasts_scans => ScanOutcome::Deny(shortfall.detail()),
        Some(Start::Running) => ScanOutcome::Wait { starts: false },
        Some(Start::Refused(why)) => refused(why),
        None if input.scan.scan_type == ScanType::Enhanced => refused(SCANS_ARE_MANAGED),
        None => ScanOutcome::Wait { starts: true },
    }
}

/// Returns the verdict of the scan alone at an instant, as if the policy were enforced.
pub(super) fn scan_verdict(policy: &Policy, input: &ManifestInput, assessment: &Assessment, at: Timestamp) -> Verdict {
    let verdict = |shortfall: Shortfall| match scan_outcome(policy, input, &shortfall) {
        ScanOutcome::Accept | ScanOutcome::Warn => Verdict::Allow,
        ScanOutcome::Wait { .. } => Verdict::Indeterminate,
        ScanOutcome::Deny(_) => Verdict::Deny,
    };
    let shortfalls = assessment.shortfalls(policy.scan.limits(), at);
    shortfalls.into_iter().map(verdict).max().unwrap_or(Verdict::Allow)
}
