//! Policies as they are kept: revisions, and all of them at one revision of the store.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{Mode, Policy};
use crate::{
    image::RepositoryName,
    name::{Environment, PolicyId},
    registry::Registry,
    waiver::WaiverSet,
};

/// One immutable revision of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Its meaning.
    pub policy: Policy,
    /// Store revision that wrote it.
    pub revision: u64,
    /// SHA-256 over its meaning, hexadecimal.
    pub content_digest: String,
    /// When the policy was created.
    pub create_time: Timestamp,
    /// When this revision was written.
    pub update_time: Timestamp,
}

/// Every policy at one revision of the store: immutable, shared by all who evaluate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    /// The store's revision.
    pub revision: u64,
    /// By id.
    pub policies: BTreeMap<PolicyId, Arc<Revision>>,
    /// The waivers.
    pub waivers: WaiverSet,
}

impl PolicySet {
    /// The policies that may govern a call, now or later, in the order of their ids: all that match, less those that are OFF,
    /// and the default.
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
        self.policies.values().filter(|revised| governs(&revised.policy)).collect()
    }

    /// The policies that govern a call at an instant, in the order of their ids: all that match, less those that are OFF; and
    /// the default where none of the others is enforced. A call without an environment meets the default, too, where any
    /// environment would.
    pub fn governing(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        environment: Option<&Environment>,
        now: Timestamp,
    ) -> Vec<&Arc<Revision>> {
        let mut governing = self.matching(registry, repository, environment);
        let displaces = |revised: &&Arc<Revision>| {
            revised.policy.mode_at(now) == Mode::Enforce && revised.policy.can_displace_default(environment)
        };
        if governing.iter().any(displaces) {
            governing.retain(|revised| !revised.policy.id.is_default());
        }
        governing
    }

    /// Whether any policy names environments and this is among those it names.
    pub fn names_environment(&self, environment: &Environment) -> bool {
        self.policies
            .values()
            .any(|revised| revised.policy.matches.environments.iter().any(|glob| glob.matches(environment.as_str())))
    }
}
