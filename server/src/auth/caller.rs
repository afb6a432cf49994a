//! The caller of a call: its name, its permissions and their scopes.

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{glob::Glob, image::RepositoryName, name::Environment};
use scangate_proto::requests::Method;

use super::{Grant, Identity, Permission, Scope, Source, required};

/// The most characters of scopes, or of the request's patterns, that an error lists.
const MAX_LISTED_LENGTH: usize = 300;

/// A call that a caller may not make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No grant of the caller has the permission.
    #[error("{caller} lacks the permission {}", permission.name())]
    PermissionMissing {
        /// The caller's name.
        caller: String,
        /// The missing permission.
        permission: Permission,
    },
    /// The grants of the caller have the permission, but not for this subject.
    #[error("{caller} has the permission {} for {allowed}, not for {subject}", permission.name())]
    OutOfScope {
        /// The caller's name.
        caller: String,
        /// The permission.
        permission: Permission,
        /// The part of the request that is outside, e.g. `repository shop/api`.
        subject: String,
        /// The scopes of the caller's grants.
        allowed: String,
    },
}

/// A caller: an identity with everything that its grants permit.
#[derive(Debug)]
pub struct Caller {
    identity: Identity,
    /// The version of the grants that made it.
    pub(super) generation: u64,
    grants: Vec<Arc<Grant>>,
}

impl Caller {
    /// Creates a caller from the grants that are for its identity.
    pub(super) fn new(identity: Identity, generation: u64, grants: Vec<Arc<Grant>>) -> Self {
        Self { identity, generation, grants }
    }

    /// The name of its identity.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The source of its identity.
    pub fn source(&self) -> Source {
        self.identity.source
    }

    /// The instant from which its identity no longer counts.
    pub fn expire_time(&self) -> Option<Timestamp> {
        self.identity.expire_time
    }

    /// Authorizes a call of a method, whatever it is about.
    pub fn authorize(self: &Arc<Self>, method: Method) -> Result<Authorization, Refusal> {
        let authorization = Authorization { caller: Arc::clone(self), permission: required(method) };
        if authorization.scopes(authorization.permission).next().is_none() {
            return Err(authorization.missing(authorization.permission));
        }
        Ok(authorization)
    }
}

/// A call that its caller may make, as long as it is about nothing outside the scopes of the permission.
#[derive(Clone, Debug)]
pub struct Authorization {
    caller: Arc<Caller>,
    permission: Permission,
}

impl Authorization {
    /// The caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The caller's name.
    pub fn name(&self) -> &str {
        self.caller.name()
    }

    /// True if the other authorization is of the same caller, and permits the same.
    pub fn equals(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.caller, &other.caller)
            || (self.name() == other.name() && self.scopes(self.permission).eq(other.scopes(other.permission)))
    }

    /// The scopes to which the permission is narrowed; `None` if one grant covers everything.
    pub fn narrowed_to(&self) -> Option<Vec<Scope>> {
        let is_unnarrowed = self.scopes(self.permission).any(Scope::is_unnarrowed);
        (!is_unnarrowed).then(|| self.scopes(self.permission).cloned().collect())
    }

    /// True if the repository and the environment are covered by one grant.
    pub fn covers(&self, repository: &RepositoryName, environment: Option<&Environment>) -> bool {
        self.scopes(self.permission).any(|scope| scope.covers(repository, environment))
    }

    /// Succeeds if the repository and the environment are covered by one grant.
    pub fn check(&self, repository: &RepositoryName, environment: Option<&Environment>) -> Result<(), Refusal> {
        if self.covers(repository, environment) {
            return Ok(());
        }
        let environment = environment.map_or_else(|| "no environment".to_owned(), |name| format!("environment {name}"));
        Err(self.outside(self.permission, format!("repository {repository} with {environment}")))
    }

    /// Succeeds if the repository is covered, in any environment.
    pub fn check_repository(&self, repository: &RepositoryName) -> Result<(), Refusal> {
        if self.scopes(self.permission).any(|scope| scope.covers_repository(repository)) {
            return Ok(());
        }
        Err(self.outside(self.permission, format!("repository {repository}")))
    }

    /// Succeeds if a grant covers all repositories.
    pub fn check_registry(&self) -> Result<(), Refusal> {
        if self.scopes(self.permission).any(|scope| scope.repositories.is_none()) {
            return Ok(());
        }
        Err(self.outside(self.permission, "a whole registry".to_owned()))
    }

    /// Succeeds if one grant covers everything that the patterns match. An empty list of patterns matches everything.
    pub fn check_patterns(&self, repositories: &[Glob], environments: &[Glob]) -> Result<(), Refusal> {
        self.check_patterns_for(self.permission, repositories, environments)
    }

    /// Succeeds if one grant with another permission covers everything that the patterns match.
    pub fn check_patterns_for(
        &self,
        permission: Permission,
        repositories: &[Glob],
        environments: &[Glob],
    ) -> Result<(), Refusal> {
        if self.scopes(permission).any(|scope| scope.covers_patterns(repositories, environments)) {
            return Ok(());
        }
        if self.scopes(permission).next().is_none() {
            return Err(self.missing(permission));
        }
        let subject = format!("repositories {} in environments {}", render(repositories), render(environments));
        Err(self.outside(permission, subject))
    }

    /// The scopes of the grants that have the permission.
    fn scopes(&self, permission: Permission) -> impl Iterator<Item = &Scope> {
        self.caller.grants.iter().filter(move |grant| grant.permissions.contains(&permission)).map(|grant| &grant.scope)
    }

    fn missing(&self, permission: Permission) -> Refusal {
        Refusal::PermissionMissing { caller: self.name().to_owned(), permission }
    }

    fn outside(&self, permission: Permission, subject: String) -> Refusal {
        let allowed = self.scopes(permission).map(Scope::to_string).collect::<Vec<_>>().join("; ");
        let (subject, allowed) = (shorten(subject), shorten(allowed));
        Refusal::OutOfScope { caller: self.name().to_owned(), permission, subject, allowed }
    }
}

/// Shortens a list for an error.
fn shorten(list: String) -> String {
    match list.char_indices().nth(MAX_LISTED_LENGTH) {
        Some((end, _)) => format!("{}…", list.get(..end).unwrap_or_default()),
        None => list,
    }
}

/// Lists patterns; an empty list matches everything.
fn render(globs: &[Glob]) -> String {
    if globs.is_empty() { "*".to_owned() } else { globs.iter().map(Glob::as_str).collect::<Vec<_>>().join(", ") }
}
