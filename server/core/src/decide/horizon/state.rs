//! The state that the verdict depends on: every policy, every manifest under it, and every denying rule.

use crate::{decision::Verdict, policy::Mode};

/// The status of a policy.
#[derive(Clone, Copy, Debug)]
pub(in crate::decide) struct PolicyStatus {
    /// The current mode.
    pub(in crate::decide) mode: Mode,
    pub(in crate::decide) is_default: bool,
    /// True if no default is needed beside it while it is enforced: it takes the default's place, or it is judged alone.
    pub(in crate::decide) needs_no_default: bool,
}

/// One manifest under one policy.
#[derive(Debug)]
pub(super) struct PolicyManifest {
    pub(super) policy: usize,
    /// The verdict of the scan alone.
    pub(super) scan: Verdict,
    /// The number of broken rules.
    pub(super) broken: usize,
}

impl PolicyManifest {
    pub(super) fn verdict(&self) -> Verdict {
        match self.scan {
            Verdict::Allow if self.broken > 0 => Verdict::Deny,
            scan @ (Verdict::Allow | Verdict::Indeterminate | Verdict::Deny) => scan,
        }
    }
}

/// The count of one denying rule on one manifest.
#[derive(Debug)]
pub(super) struct RuleState {
    pub(super) policy_manifest: usize,
    pub(super) matched: i64,
    allowed: i64,
}

impl RuleState {
    pub(super) fn new(policy_manifest: usize, matched: u32, allowed: u32) -> Self {
        Self { policy_manifest, matched: matched.into(), allowed: allowed.into() }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.matched > self.allowed
    }
}

/// The state that the verdict depends on.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) policies: Vec<PolicyStatus>,
    pub(super) policy_manifests: Vec<PolicyManifest>,
    pub(super) rules: Vec<RuleState>,
}

/// The effect of an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// The scan of a manifest changes its verdict under a policy.
    Scan { policy_manifest: usize, verdict: Verdict },
    /// One finding begins or ceases to count under a rule.
    Count { rule: usize, counts: bool },
    /// A policy is enforced from then on.
    Enforce { policy: usize },
}
