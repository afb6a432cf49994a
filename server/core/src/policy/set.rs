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
    /// The name of the caller who wrote this revision; empty if the server itself did.
    pub update_author: String,
    /// The parts of the stored policy that this server does not understand, because a newer server wrote them. If there
    /// are any, `policy` has only the other parts, and the policy denies what it matches in every mode. A match that is
    /// not understood matches everything.
    pub not_understood: Vec<String>,
}

impl Revision {
    /// Returns the revision of a policy that is not stored, as if it had been written at a revision of the store.
    pub fn unsaved(policy: Policy, revision: u64) -> Self {
        let (create_time, update_time) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let (content_digest, update_author, not_understood) = (String::new(), String::new(), Vec::new());
        Self { policy, revision, content_digest, create_time, update_time, update_author, not_understood }
    }

    /// True if this server understands every part of the policy.
    pub fn is_understood(&self) -> bool {
        self.not_understood.is_empty()
    }

    /// Returns the mode in which the policy is applied at an instant.
    pub fn mode_at(&self, now: Timestamp) -> Mode {
        if self.is_understood() { self.policy.mode_at(now) } else { Mode::Enforce }
    }

    /// True if the policy takes the place of the default while it is enforced.
    pub(crate) fn can_replace_default(&self, environment: Option<&Environment>) -> bool {
        self.is_understood() && self.policy.can_replace_default(environment)
    }

    fn governs(&self, registry: &Registry, repository: &RepositoryName, environment: Option<&Environment>) -> bool {
        let is_off = self.is_understood() && self.policy.mode == Mode::Off;
        self.policy.id.is_default() || (!is_off && self.policy.matches.governs(registry, repository, environment))
    }
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
        let governs = |revision: &&Arc<Revision>| revision.governs(registry, repository, environment);
        self.policies.values().filter(governs).collect()
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
            revision.mode_at(now) == Mode::Enforce && revision.can_replace_default(environment)
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
