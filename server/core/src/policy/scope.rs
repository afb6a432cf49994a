//! The scope of a policy: the registries, repositories and environments that it governs.

use serde::{Deserialize, Serialize};

use crate::{
    glob::{Glob, any_or_empty},
    image::RepositoryName,
    name::Environment,
    registry::Registry,
    stored::is_default,
};

/// The calls that a policy governs. An empty list matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Globs over `ACCOUNT/REGION`.
    #[serde(skip_serializing_if = "is_default")]
    pub registries: Vec<Glob>,
    /// Globs over repository names.
    #[serde(skip_serializing_if = "is_default")]
    pub repositories: Vec<Glob>,
    /// Globs over environments.
    #[serde(skip_serializing_if = "is_default")]
    pub environments: Vec<Glob>,
}

impl Match {
    /// True if a call about this repository and environment is governed.
    ///
    /// The policies of all environments govern a call without an environment, so leaving it out never loosens the
    /// verdict.
    pub fn governs(&self, registry: &Registry, repository: &RepositoryName, environment: Option<&Environment>) -> bool {
        any_or_empty(&self.registries, &registry.to_string())
            && self.admits_repository(repository)
            && environment.is_none_or(|environment| self.admits_environment(environment))
    }

    /// True if the repository is governed.
    pub fn admits_repository(&self, repository: &RepositoryName) -> bool {
        any_or_empty(&self.repositories, repository.as_str())
    }

    /// True if every environment is governed.
    pub fn admits_every_environment(&self) -> bool {
        self.environments.is_empty() || self.environments.iter().any(Glob::matches_everything)
    }

    /// True if the environment is governed.
    pub fn admits_environment(&self, environment: &Environment) -> bool {
        any_or_empty(&self.environments, environment.as_str())
    }
}
