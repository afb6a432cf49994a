//! The policies that a decision applies, each in its mode at the instant of the decision.

use std::sync::Arc;

use jiff::Timestamp;

use super::horizon::PolicyStatus;
use crate::{
    cause::Cause,
    decision::AppliedPolicy,
    image::Image,
    name::Environment,
    policy::{Mode, PolicySet, Revision},
    waiver::WaiverSet,
};

/// The policies to decide by.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// The policies that govern the image.
    Governing(&'a PolicySet),
    /// Exactly one policy, as if it were enforced, for simulations: the result permits no deployment.
    Only {
        /// The policy.
        policy: &'a Revision,
        /// The waivers.
        waivers: &'a WaiverSet,
        /// The store's revision at which both were read.
        revision: u64,
    },
}

impl<'a> Selection<'a> {
    pub(super) fn waivers(self) -> &'a WaiverSet {
        match self {
            Self::Governing(set) => &set.waivers,
            Self::Only { waivers, .. } => waivers,
        }
    }

    pub(super) fn revision(self) -> u64 {
        match self {
            Self::Governing(set) => set.revision,
            Self::Only { revision, .. } => revision,
        }
    }

    /// The environment, if no governing policy names it.
    pub(super) fn unnamed(self, environment: Option<&Environment>) -> Option<&Environment> {
        match self {
            Self::Governing(set) => environment.filter(|environment| !set.names_environment(environment)),
            Self::Only { .. } => None,
        }
    }
}

/// A policy to decide by, in the mode in which it is applied.
#[derive(Clone, Copy)]
pub(super) struct SelectedPolicy<'a> {
    pub(super) revision: &'a Revision,
    pub(super) mode: Mode,
    is_only: bool,
    /// True if it takes the place of the default while it is enforced.
    can_replace_default: bool,
    /// The instant from which on another policy takes its place.
    replaced_from: Option<Timestamp>,
}

impl SelectedPolicy<'_> {
    /// The instant from which on the policy is enforced; `None`: never.
    pub(super) fn enforced_from(&self, now: Timestamp) -> Option<Timestamp> {
        let policy = &self.revision.policy;
        match (self.mode, policy.mode) {
            (Mode::Enforce, _) => Some(now),
            (Mode::Warn, Mode::Enforce) => policy.effective_time,
            (Mode::Warn | Mode::Off, _) => None,
        }
    }

    /// True if a denial by this policy from `at` on calls for a warning `now`.
    pub(super) fn will_deny(&self, at: Timestamp, now: Timestamp) -> bool {
        at > now && self.replaced_from.is_none_or(|replaced| at < replaced)
    }

    /// True if the policy has taken the place of the default.
    fn replaces_default(&self) -> bool {
        self.can_replace_default && self.mode == Mode::Enforce
    }

    /// The change of the verdict when the policy becomes effective.
    pub(super) fn effective(&self) -> Cause<'_> {
        Cause::Effective { policy: &self.revision.policy, replaces_default: self.can_replace_default }
    }

    pub(super) fn status(&self) -> PolicyStatus {
        let is_default = self.revision.policy.id.is_default() && !self.is_only;
        PolicyStatus { mode: self.mode, is_default, needs_no_default: self.is_only || self.can_replace_default }
    }

    pub(super) fn applied(&self) -> AppliedPolicy {
        AppliedPolicy {
            id: self.revision.policy.id.clone(),
            revision: self.revision.revision,
            content_digest: self.revision.content_digest.clone(),
            mode: self.mode,
            replaces_default: self.replaces_default(),
        }
    }
}

/// Returns the policies of a selection, in the order of their ids.
pub(super) fn select<'a>(
    selection: Selection<'a>,
    image: &Image,
    environment: Option<&Environment>,
    now: Timestamp,
) -> Vec<SelectedPolicy<'a>> {
    match selection {
        Selection::Governing(set) => select_governing(set, image, environment, now),
        Selection::Only { policy, .. } => {
            vec![SelectedPolicy {
                revision: policy,
                mode: Mode::Enforce,
                is_only: true,
                can_replace_default: false,
                replaced_from: None,
            }]
        }
    }
}

fn select_governing<'a>(
    set: &'a PolicySet,
    image: &Image,
    environment: Option<&Environment>,
    now: Timestamp,
) -> Vec<SelectedPolicy<'a>> {
    let governing = set.governing(&image.registry, &image.repository, environment, now);
    let replacing = governing.iter().filter(|revision| revision.can_replace_default(environment));
    let replacing = replacing.map(|revision| &revision.policy).filter(|policy| policy.mode == Mode::Enforce);
    let replaced_from = replacing.filter_map(|policy| policy.effective_time.filter(|at| *at > now)).min();
    let selected = |revision: &'a Arc<Revision>| SelectedPolicy {
        revision,
        mode: revision.mode_at(now),
        is_only: false,
        can_replace_default: revision.can_replace_default(environment),
        replaced_from: replaced_from.filter(|_| revision.policy.id.is_default()),
    };
    governing.into_iter().map(selected).collect()
}

/// True if the default or a policy in its place is enforced. Without either, nothing is proven.
pub(super) fn is_enforced(policies: &[SelectedPolicy<'_>]) -> bool {
    policies.iter().any(|selected| {
        let is_default = selected.revision.policy.id.is_default();
        selected.mode == Mode::Enforce && (is_default || selected.status().needs_no_default)
    })
}
