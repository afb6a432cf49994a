//! The policies that a decision applies, each in its mode at the instant of the decision.

use std::sync::Arc;

use jiff::Timestamp;

use super::horizon::PolicyStatus;
use crate::{
    decision::AppliedPolicy,
    image::Image,
    name::Environment,
    policy::{Mode, PolicySet, Revision},
    waiver::WaiverSet,
};

/// The policies to decide by.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// The policies that govern the image: the decision is authoritative.
    Governing(&'a PolicySet),
    /// Exactly one policy, as if it were enforced: the decision is advice.
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
    /// The instant from which on another policy takes its place.
    displaced_from: Option<Timestamp>,
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
        at > now && self.displaced_from.is_none_or(|displaced| at < displaced)
    }

    pub(super) fn status(&self, environment: Option<&Environment>) -> PolicyStatus {
        let policy = &self.revision.policy;
        PolicyStatus {
            mode: self.mode,
            is_default: policy.id.is_default() && !self.is_only,
            displaces: !self.is_only && policy.can_displace_default(environment),
        }
    }

    pub(super) fn applied(&self) -> AppliedPolicy {
        AppliedPolicy {
            id: self.revision.policy.id.clone(),
            revision: self.revision.revision,
            content_digest: self.revision.content_digest.clone(),
            mode: self.mode,
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
            vec![SelectedPolicy { revision: policy, mode: Mode::Enforce, is_only: true, displaced_from: None }]
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
    let policies = governing.iter().map(|revision| &revision.policy);
    let displacing = policies.filter(|policy| policy.mode == Mode::Enforce && policy.can_displace_default(environment));
    let displaced_from = displacing.filter_map(|policy| policy.effective_time.filter(|at| *at > now)).min();
    let selected = |revision: &'a Arc<Revision>| SelectedPolicy {
        revision,
        mode: revision.policy.mode_at(now),
        is_only: false,
        displaced_from: displaced_from.filter(|_| revision.policy.id.is_default()),
    };
    governing.into_iter().map(selected).collect()
}

/// True if an enforced policy governs the image. If the default governs, some environment depends on it alone, so it
/// must be enforced itself.
pub(super) fn is_enforced(policies: &[SelectedPolicy<'_>]) -> bool {
    let enforced = |selected: &SelectedPolicy<'_>| selected.mode == Mode::Enforce;
    let is_default = |selected: &&SelectedPolicy<'_>| selected.revision.policy.id.is_default();
    policies.iter().any(enforced) && policies.iter().filter(is_default).all(enforced)
}
