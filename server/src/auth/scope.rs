//! The scope of a grant: the repositories and environments to which its permissions are narrowed.

use std::fmt;

use scangate_core::{glob::Glob, image::RepositoryName, name::Environment};

/// The scope of a grant. A grant without repositories covers all of them, and so for environments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Globs over repository names; `None`: all repositories. An empty list covers none.
    pub repositories: Option<Vec<Glob>>,
    /// Globs over environments; `None`: all environments, and calls without one. An empty list covers none.
    pub environments: Option<Vec<Glob>>,
}

impl Scope {
    /// True if the scope covers everything.
    pub fn is_unnarrowed(&self) -> bool {
        self.repositories.is_none() && self.environments.is_none()
    }

    /// True if the repository with the environment is covered.
    pub fn covers(&self, repository: &RepositoryName, environment: Option<&Environment>) -> bool {
        self.covers_repository(repository) && self.covers_environment(environment)
    }

    /// True if the repository is covered.
    pub fn covers_repository(&self, repository: &RepositoryName) -> bool {
        self.repositories.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(repository.as_str())))
    }

    /// True if the environment is covered. A call without an environment is covered by a scope of all environments only.
    pub fn covers_environment(&self, environment: Option<&Environment>) -> bool {
        self.environments.as_ref().is_none_or(|globs| {
            environment.is_some_and(|environment| globs.iter().any(|glob| glob.matches(environment.as_str())))
        })
    }

    /// True if everything that the patterns match is covered. An empty list of patterns matches everything.
    ///
    /// An environment pattern that matches every name also stands for calls without an environment, which a list of environments
    /// never covers.
    pub fn covers_patterns(&self, repositories: &[Glob], environments: &[Glob]) -> bool {
        covers_all(self.repositories.as_deref(), repositories)
            && covers_all(self.environments.as_deref(), environments)
            && (self.environments.is_none() || !environments.iter().any(Glob::matches_everything))
    }
}

fn covers_all(allowed: Option<&[Glob]>, patterns: &[Glob]) -> bool {
    allowed.is_none_or(|allowed| {
        !patterns.is_empty() && patterns.iter().all(|pattern| allowed.iter().any(|allowed| allowed.covers(pattern)))
    })
}

impl fmt::Display for Scope {
    /// Lists what is covered, e.g. `repositories shop/*, environments prod`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.repositories, &self.environments) {
            (None, None) => f.write_str("everything"),
            (Some(repositories), None) => write!(f, "repositories {}", join(repositories)),
            (None, Some(environments)) => write!(f, "environments {}", join(environments)),
            (Some(repositories), Some(environments)) => {
                write!(f, "repositories {} in environments {}", join(repositories), join(environments))
            }
        }
    }
}

fn join(globs: &[Glob]) -> String {
    globs.iter().map(Glob::as_str).collect::<Vec<_>>().join(", ")
}
