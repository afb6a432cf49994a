//! The horizon: the first instant at which a reason known now changes the verdict.
//!
//! State is held for each policy and manifest. Everything that time alone can change is an event. The events are
//! applied in order, each in constant time, until the verdict changes.

mod state;
mod timeline;

use jiff::Timestamp;

pub(super) use self::state::PolicyStatus;
use self::{
    state::{Effect, PolicyManifest, RuleState, State},
    timeline::Timeline,
};
use super::rule_count::RuleCount;
use crate::{
    cause::Cause,
    decision::{NextChange, Verdict},
};

#[derive(Clone, Copy, Debug)]
struct Event<'a> {
    at: Timestamp,
    effect: Effect,
    cause: Cause<'a>,
}

/// The current state and all events that are known now.
#[derive(Debug, Default)]
pub(super) struct Horizon<'a> {
    state: State,
    events: Vec<Event<'a>>,
    unchanged_until: Option<Timestamp>,
}

impl<'a> Horizon<'a> {
    pub(super) fn add_policy(&mut self, status: PolicyStatus) {
        self.state.policies.push(status);
    }

    /// Adds the instant from which on a policy is enforced.
    pub(super) fn add_enforcement(&mut self, policy: usize, at: Timestamp, cause: Cause<'a>) {
        self.add_event(at, Effect::Enforce { policy }, cause);
    }

    /// Adds a manifest under a policy with the current verdict of its scan. Returns its index.
    pub(super) fn add_policy_manifest(&mut self, policy: usize, scan: Verdict) -> usize {
        self.state.policy_manifests.push(PolicyManifest { policy, scan, broken: 0 });
        self.state.policy_manifests.len() - 1
    }

    pub(super) fn add_scan_change(
        &mut self,
        policy_manifest: usize,
        at: Timestamp,
        verdict: Verdict,
        cause: Cause<'a>,
    ) {
        self.add_event(at, Effect::Scan { policy_manifest, verdict }, cause);
    }

    /// Adds a denying rule with its count and the changes of it.
    pub(super) fn add_rule(&mut self, policy_manifest: usize, count: &RuleCount<'a>, allowed: u32) {
        let state = RuleState::new(policy_manifest, count.total, allowed);
        if let Some(policy_manifest) = self.state.policy_manifests.get_mut(policy_manifest)
            && state.is_broken()
        {
            policy_manifest.broken += 1;
        }
        self.state.rules.push(state);
        let rule = self.state.rules.len() - 1;
        for change in &count.changes {
            self.add_event(change.at, Effect::Count { rule, counts: change.begins_to_count }, change.cause);
        }
    }

    /// Records that the content of the decision may change at an instant.
    pub(super) fn note_change_at(&mut self, at: Option<Timestamp>) {
        self.unchanged_until = self.unchanged_until.into_iter().chain(at).min();
    }

    fn add_event(&mut self, at: Timestamp, effect: Effect, cause: Cause<'a>) {
        self.note_change_at(Some(at));
        self.events.push(Event { at, effect, cause });
    }

    pub(super) fn unchanged_until(&self) -> Option<Timestamp> {
        self.unchanged_until
    }

    /// Returns the first instant at which the verdict differs from the current one, with its cause.
    pub(super) fn next_change(mut self, current: Verdict) -> Option<NextChange> {
        // A stable sort: of several causes at one instant, the one added first is reported.
        self.events.sort_by_key(|event| event.at);
        let mut timeline = Timeline::new(self.state);
        for simultaneous in self.events.chunk_by(|a, b| a.at == b.at) {
            let mut cause = None;
            for event in simultaneous {
                if timeline.apply(event.effect) {
                    cause = cause.or(Some(event.cause));
                }
            }
            if let (Some(cause), Some(first)) = (cause, simultaneous.first())
                && timeline.verdict() != current
            {
                return Some(NextChange {
                    change_time: first.at,
                    verdict: timeline.verdict(),
                    reason: cause.to_string(),
                });
            }
        }
        None
    }
}
