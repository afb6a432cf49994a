//! Access: the grants in force, and the callers that they make of principals. They can be replaced while the server runs.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use super::{ANONYMOUS, Caller, Identity, NamePattern, Permission, Principal, Scope, Source};

/// A grant of permissions to all identities that match it. Grants add up; there are no denials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The pattern of names. Only the pattern `anonymous` matches callers without an identity: a `*` is for identities.
    pub who: NamePattern,
    /// Claims that a token must have, with these values. Identities of other sources have no claims.
    pub claims: BTreeMap<String, String>,
    /// The permissions of its role.
    pub permissions: Vec<Permission>,
    /// The scope of the permissions.
    pub scope: Scope,
}

impl Grant {
    /// A grant to callers without an identity, for all repositories and environments.
    pub fn to_anonymous(permissions: &[Permission]) -> Self {
        Self {
            who: NamePattern::anonymous(),
            claims: BTreeMap::new(),
            permissions: permissions.to_vec(),
            scope: Scope::default(),
        }
    }

    /// True if the grant is for this identity.
    fn is_for(&self, identity: &Identity) -> bool {
        let is_named = match identity.source {
            Source::None => self.who.as_str() == ANONYMOUS,
            Source::Certificate | Source::Token | Source::UnixSocket => self.who.matches(&identity.name),
        };
        is_named && self.claims.iter().all(|(claim, value)| identity.claims.get(claim) == Some(value))
    }
}

/// The grants in force.
#[derive(Debug)]
pub struct Access {
    grants: ArcSwap<Grants>,
}

#[derive(Debug)]
struct Grants {
    generation: u64,
    grants: Vec<Arc<Grant>>,
}

impl Access {
    /// Access by these grants.
    pub fn new(grants: Vec<Grant>) -> Arc<Self> {
        Arc::new(Self { grants: ArcSwap::from_pointee(Grants { generation: 0, grants: shared(grants) }) })
    }

    /// Replaces the grants. The next call of each caller is under the new ones.
    pub fn replace(&self, grants: Vec<Grant>) {
        let grants = shared(grants);
        self.grants.rcu(|old| Grants { generation: old.generation.wrapping_add(1), grants: grants.clone() });
    }

    /// Returns the caller that the grants in force make of a principal.
    pub fn caller(&self, principal: &Principal) -> Arc<Caller> {
        let grants = self.grants.load();
        let known = principal.caller.load_full().filter(|caller| caller.generation == grants.generation);
        known.unwrap_or_else(|| {
            let caller = Arc::new(grants.caller(principal.identity()));
            principal.caller.store(Some(Arc::clone(&caller)));
            caller
        })
    }
}

impl Grants {
    fn caller(&self, identity: &Identity) -> Caller {
        let grants = self.grants.iter().filter(|grant| grant.is_for(identity)).map(Arc::clone).collect();
        Caller::new(identity.clone(), self.generation, grants)
    }
}

fn shared(grants: Vec<Grant>) -> Vec<Arc<Grant>> {
    grants.into_iter().map(Arc::new).collect()
}
