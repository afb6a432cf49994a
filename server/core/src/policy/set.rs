//! Stored policies: their revisions, and the set of all policies at one revision of the store.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::definition::{Mode, Policy};
use crate::{
    image::RepositoryName,
    name::{Environment, PolicyId},
    registry::Registry,
    waiver::WaiverSet,
};

/// One immutable revision of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The policy.
    pub policy: Policy,
    /// The store's revision that wrote it.
    pub revision: u64,
    /// SHA-256 over the policy's content, in hexadecimal.
    pub content_digest: String,
    /// The creation time of the policy.
    pub create_time: Timestamp,
    /// The time at which this revision was written.
    pub update_time: Timestamp,
}

/// Every policy at one revision of the store: an immutable snapshot, shared by all evaluations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    /// The store's revision.
    pub revision: u64,
    /// The policies by id.
    pub policies: BTreeMap<PolicyId, Arc<Revision>>,
    /// The waivers.
    pub waivers: WaiverSet,
}

impl PolicySet {
    /// Returns the policies that may govern a call, now or later, in the order of their ids: the default, and all
    /// matching policies that are not OFF.
    pub fn matching(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        environment: Option<&Environment>,
    ) -> Vec<&Arc<Revision>> {
        let governs = |policy: &Policy| {
            policy.id.is_default()
                || (policy.mode != Mode::Off && policy.matches.governs(registry, repository, environment))
        };
        self.policies.values().filter(|revision| governs(&revision.policy)).collect()
    }

    /// Returns the policies that govern a call at an instant, in the order of their ids: all matching policies that are
    /// not OFF, and the default unless an enforced policy replaces it.
    ///
    /// The default also governs a call without an environment if it would govern a call about at least one environment.
    pub fn governing(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        environment: Option<&Environment>,
        now: Timestamp,
    ) -> Vec<&Arc<Revision>> {
        let mut governing = self.matching(registry, repository, environment);
        let replaces = |revision: &&Arc<Revision>| {
            revision.policy.mode_at(now) == Mode::Enforce && revision.policy.can_replace_default(environment)
        };
        if governing.iter().any(replaces) {
            governing.retain(|revision| !revision.policy.id.is_default());
        }
        governing
    }

    /// True if a policy lists environments and this is one of them.
    pub fn names_environment(&self, environment: &Environment) -> bool {
        self.policies
            .values()
            .any(|revision| revision.policy.matches.environments.iter().any(|glob| glob.matches(environment.as_str())))
    }
}
