//! Access: the grants in force, and the callers that they make of principals. They can be replaced while the server runs.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use super::{Caller, Identity, Permission, Principal, Scope};

/// A grant of permissions to all identities that match it. Grants add up; there are no denials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The pattern of names.
    pub who: NamePattern,
    /// Claims that a token must have, with these values.
    pub claims: BTreeMap<String, String>,
    /// The permissions of its role.
    pub permissions: Vec<Permission>,
    /// The scope of the permissions.
    pub scope: Scope,
}

impl Grant {
    /// True if the grant is for this identity.
    fn is_for(&self, identity: &Identity) -> bool {
        self.who.matches(&identity.name)
            && self.claims.iter().all(|(claim, value)| identity.claims.get(claim) == Some(value))
    }
}

/// A pattern of names. `*` stands for characters of one segment, which `/` and `:` end; `**` for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Creates a pattern.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// True if the whole name matches; upper and lower case differ.
    pub fn matches(&self, name: &str) -> bool {
        self.0 == "**" || self.0 == name
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
    grants: Vec<Grant>,
}

impl Access {
    /// Access by these grants.
    pub fn new(grants: Vec<Grant>) -> Arc<Self> {
        Arc::new(Self { grants: ArcSwap::from_pointee(Grants { generation: 0, grants }) })
    }

    /// Replaces the grants. The next call of each caller is under the new ones.
    pub fn replace(&self, grants: Vec<Grant>) {
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
        let granted = self
            .grants
            .iter()
            .filter(|grant| grant.is_for(identity))
            .flat_map(|grant| grant.permissions.iter().map(|permission| (*permission, grant.scope.clone())));
        Caller::new(identity.clone(), self.generation, granted)
    }
}
