//! Policies as rows, and back. Nothing that cannot be read in full is passed over: a policy left out would open the gate.
//!
//! The body is the policy's JSON without its id, and the content digest is taken over that very text. So it can be checked
//! after the policy's type has gained fields, and two policies that differ in nothing but their names have the same one.

use std::{num::TryFromIntError, sync::Arc};

use jiff::Timestamp;
use scangate_core::{
    name::PolicyId,
    policy::{Match, Mode, Policy, PolicySet, Revised, ScanRequirements},
    rule::Rule,
    severity::Severity,
};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::store::Error;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What is wrong with a row that is well-formed.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("the content digest is not that of the body")]
    Digest,
    #[error("the body has an id of its own")]
    Id,
    #[error("it is missing")]
    Missing,
    #[error("its revision is {0}, later than that of the store")]
    Ahead(u64),
}

/// A policy as the database holds it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct PolicyRow {
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) body: String,
    pub(super) content_digest: String,
    /// Microseconds, as are all times here: the same number in every database, and it sorts, which RFC 3339 with a fraction
    /// does not.
    pub(super) create_time: i64,
    pub(super) update_time: i64,
}

impl PolicyRow {
    pub(super) fn new(policy: &Policy, revision: i64, create_time: i64, update_time: i64) -> Result<Self, Error> {
        let body = body(policy).map_err(|source| Error::Unavailable(source.into()))?;
        let content_digest = digest(&body);
        Ok(Self { id: policy.id.to_string(), revision, body, content_digest, create_time, update_time })
    }

    /// The row's policy, or [`Error::Corrupt`] with the policy's name.
    pub(super) fn read(self) -> Result<Arc<Revised>, Error> {
        let what = format!("policies/{}", self.id);
        self.parse().map(Arc::new).map_err(|source| Error::Corrupt { what, source })
    }

    fn parse(self) -> Result<Revised, Source> {
        if digest(&self.body) != self.content_digest {
            return Err(Damage::Digest.into());
        }
        let mut fields: Map<String, Value> = serde_json::from_str(&self.body)?;
        if fields.insert("id".to_owned(), Value::String(self.id)).is_some() {
            return Err(Damage::Id.into());
        }
        Ok(Revised {
            policy: serde_json::from_value(Value::Object(fields))?,
            revision: self.revision.try_into()?,
            content_digest: self.content_digest,
            create_time: Timestamp::from_microsecond(self.create_time)?,
            update_time: Timestamp::from_microsecond(self.update_time)?,
        })
    }
}

/// Every policy of the store, or the reason why there is no telling.
pub(super) fn policy_set(revision: Option<i64>, rows: Vec<PolicyRow>) -> Result<PolicySet, Error> {
    let stored = revision.ok_or_else(|| damaged("the store's revision", Damage::Missing))?;
    let mut set = PolicySet { revision: self::revision(stored)?, ..PolicySet::default() };
    for row in rows {
        let revised = row.read()?;
        if revised.revision > set.revision {
            return Err(damaged(&revised.policy.id.resource_name(), Damage::Ahead(revised.revision)));
        }
        set.policies.insert(revised.policy.id.clone(), revised);
    }
    if !set.policies.keys().any(PolicyId::is_default) {
        return Err(damaged("policies/default", Damage::Missing));
    }
    Ok(set)
}

/// A revision as the rest of the server counts.
pub(super) fn revision(stored: i64) -> Result<u64, Error> {
    stored.try_into().map_err(|source: TryFromIntError| Error::Corrupt {
        what: format!("the revision {stored}"),
        source: source.into(),
    })
}

fn damaged(what: &str, damage: Damage) -> Error {
    Error::Corrupt { what: what.to_owned(), source: damage.into() }
}

/// A policy without its name.
#[derive(Serialize)]
struct Body<'a> {
    description: &'a str,
    #[serde(rename = "match")]
    matches: &'a Match,
    mode: Mode,
    effective_time: Option<Timestamp>,
    scan: &'a ScanRequirements,
    rules: &'a [Rule],
    unrated_as: Severity,
    honour_suppression: bool,
}

fn body(policy: &Policy) -> serde_json::Result<String> {
    // Named one by one, so that a field which the policy gains cannot be forgotten here.
    let Policy { id: _, description, matches, mode, effective_time, scan, rules, unrated_as, honour_suppression } =
        policy;
    let (mode, effective_time) = (*mode, *effective_time);
    let (unrated_as, honour_suppression) = (*unrated_as, *honour_suppression);
    serde_json::to_string(&Body {
        description,
        matches,
        mode,
        effective_time,
        scan,
        rules,
        unrated_as,
        honour_suppression,
    })
}

fn digest(body: &str) -> String {
    Sha256::digest(body).iter().fold(String::with_capacity(64), |digest, byte| digest + &format!("{byte:02x}"))
}
