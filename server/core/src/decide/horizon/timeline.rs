//! The state at one instant of the horizon, with running totals so that each event costs constant time.

use super::state::{Effect, PolicyManifest, PolicyStatus, State};
use crate::{decision::Verdict, policy::Mode};

/// The state at an instant, with the totals that determine the verdict.
pub(super) struct Timeline {
    state: State,
    /// The indices of the manifests under each policy.
    manifests_by_policy: Vec<Vec<usize>>,
    default: Option<usize>,
    /// The number of enforced policies that need no default.
    replacing: usize,
    denying: usize,
    waiting: usize,
}

impl Timeline {
    pub(super) fn new(state: State) -> Self {
        let mut manifests_by_policy = vec![Vec::new(); state.policies.len()];
        for (index, manifest) in state.policy_manifests.iter().enumerate() {
            if let Some(manifests) = manifests_by_policy.get_mut(manifest.policy) {
                manifests.push(index);
            }
        }
        let replacing = |policy: &&PolicyStatus| policy.needs_no_default && policy.mode == Mode::Enforce;
        let replacing = state.policies.iter().filter(replacing).count();
        let default = state.policies.iter().position(|policy| policy.is_default);
        let mut timeline = Self { state, manifests_by_policy, default, replacing, denying: 0, waiting: 0 };
        for policy in 0..timeline.state.policies.len() {
            if timeline.is_active(policy) {
                timeline.set_active(policy, true);
            }
        }
        timeline
    }

    /// Applies an event. Returns true if it changes a verdict that counts.
    pub(super) fn apply(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Scan { policy_manifest, verdict } => {
                self.change(policy_manifest, |manifest| manifest.scan = verdict)
            }
            Effect::Count { rule, counts } => {
                let Some(rule) = self.state.rules.get_mut(rule) else { return false };
                let was_broken = rule.is_broken();
                rule.matched += if counts { 1 } else { -1 };
                let (index, is_broken) = (rule.policy_manifest, rule.is_broken());
                was_broken != is_broken && self.change(index, |manifest| adjust(&mut manifest.broken, is_broken))
            }
            Effect::Enforce { policy } => self.enforce(policy),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let has_no_manifest = self.state.policy_manifests.is_empty();
        if has_no_manifest || self.denying > 0 || self.lacks_enforced_default() {
            Verdict::Deny
        } else if self.waiting > 0 {
            Verdict::Indeterminate
        } else {
            Verdict::Allow
        }
    }

    fn is_active(&self, policy: usize) -> bool {
        let active = |status: &PolicyStatus| status.mode == Mode::Enforce && !(status.is_default && self.replacing > 0);
        self.state.policies.get(policy).is_some_and(active)
    }

    fn set_active(&mut self, policy: usize, active: bool) {
        let indices = self.manifests_by_policy.get(policy).into_iter().flatten();
        let manifests = indices.filter_map(|index| self.state.policy_manifests.get(*index));
        let verdicts: Vec<Verdict> = manifests.map(PolicyManifest::verdict).collect();
        for verdict in verdicts {
            self.count_verdict(verdict, active);
        }
    }

    fn count_verdict(&mut self, verdict: Verdict, more: bool) {
        match verdict {
            Verdict::Allow => {}
            Verdict::Indeterminate => adjust(&mut self.waiting, more),
            Verdict::Deny => adjust(&mut self.denying, more),
        }
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut PolicyManifest)) -> bool {
        let Some(manifest) = self.state.policy_manifests.get_mut(index) else { return false };
        let (policy, before) = (manifest.policy, manifest.verdict());
        change(manifest);
        let after = manifest.verdict();
        if before == after || !self.is_active(policy) {
            return false;
        }
        self.count_verdict(before, false);
        self.count_verdict(after, true);
        true
    }

    fn enforce(&mut self, index: usize) -> bool {
        let Some(policy) = self.state.policies.get_mut(index) else { return false };
        policy.mode = Mode::Enforce;
        let replaces = policy.needs_no_default;
        let default = self.default.filter(|default| *default != index && self.is_active(*default));
        self.replacing += usize::from(replaces);
        if let Some(default) = default.filter(|default| !self.is_active(*default)) {
            self.set_active(default, false);
        }
        if self.is_active(index) {
            self.set_active(index, true);
        }
        true
    }

    /// True if neither the default nor a policy in its place is enforced.
    fn lacks_enforced_default(&self) -> bool {
        let default = self.default.and_then(|default| self.state.policies.get(default));
        self.replacing == 0 && default.is_none_or(|default| default.mode != Mode::Enforce)
    }
}

fn adjust(count: &mut usize, more: bool) {
    *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
}
