//! Decisions that this server cannot read as a whole: a newer server wrote them, or they are damaged. Lists and watches show the
//! readable parts, so that one such decision does not hide the others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use scangate_core::{
    Verdict,
    image::{Digest, RepositoryName, Tag},
    name::{Environment, PolicyId},
    registry::Registry,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{DecisionId, DecisionRecord, Entry, Filter, Listed};
use crate::auth::Scope;

/// The readable parts of a decision's record.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Outline {
    /// The terms under which it is indexed.
    pub keys: PartialTerms,
    /// The requested tag of the image.
    #[serde(deserialize_with = "if_readable")]
    pub tag: Option<Tag>,
    /// The first reason of its decision.
    #[serde(deserialize_with = "if_readable")]
    pub summary: Option<String>,
}

/// The readable terms of a decision. `None`: absent or unreadable.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PartialTerms {
    /// The registry.
    #[serde(deserialize_with = "if_readable")]
    pub registry: Option<Registry>,
    /// The repository.
    #[serde(deserialize_with = "if_readable")]
    pub repository: Option<RepositoryName>,
    /// The digest of the image, then those of its other manifests.
    #[serde(deserialize_with = "if_readable")]
    pub digests: Option<Vec<Digest>>,
    /// The environment; `Some(None)` if the request named none.
    #[serde(deserialize_with = "if_readable")]
    pub environment: Option<Option<Environment>>,
    /// The verdict.
    #[serde(deserialize_with = "if_readable")]
    pub verdict: Option<Verdict>,
    /// The policies that were applied.
    #[serde(deserialize_with = "if_readable")]
    pub policies: Option<Vec<PolicyId>>,
}

/// A listed decision that this server cannot read as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// Its id.
    pub id: DecisionId,
    /// The time of the evaluation; `None` if it cannot be read.
    pub evaluate_time: Option<Timestamp>,
    /// The caller's name; `None` if it cannot be read.
    pub caller: Option<String>,
    /// The caller's labels; empty if they cannot be read.
    pub labels: BTreeMap<String, String>,
    /// The readable parts of its record.
    pub outline: Outline,
    /// The part that cannot be read, and the cause.
    pub cause: String,
}

impl Outline {
    /// The outline of a record that is readable as a whole.
    pub fn of(record: &DecisionRecord) -> Self {
        let keys = record.keys.clone();
        Self {
            keys: PartialTerms {
                registry: Some(keys.registry),
                repository: Some(keys.repository),
                digests: Some(keys.digests),
                environment: Some(keys.environment),
                verdict: Some(keys.verdict),
                policies: Some(keys.policies),
            },
            tag: record.tag.clone(),
            summary: Some(record.summary.clone()),
        }
    }
}

impl Unreadable {
    /// A decision whose inputs or outcome cannot be read.
    pub fn from_entry(entry: &Entry, cause: String) -> Self {
        Self {
            id: entry.id.clone(),
            evaluate_time: Some(entry.evaluate_time),
            caller: Some(entry.caller.clone()),
            labels: entry.labels.clone(),
            outline: Outline::of(&entry.record),
            cause,
        }
    }
}

impl Listed {
    /// The id of the decision.
    pub fn id(&self) -> &DecisionId {
        match self {
            Self::Entry(entry) => &entry.id,
            Self::Unreadable(unreadable) => &unreadable.id,
        }
    }
}

impl Filter {
    /// Returns true if a decision may meet all conditions. A condition on an unreadable part counts as met, but a scope covers
    /// readable parts only.
    pub fn may_match(&self, unreadable: &Unreadable) -> bool {
        fn meets<C, P>(condition: Option<&C>, part: Option<&P>, holds: impl Fn(&C, &P) -> bool) -> bool {
            condition.zip(part).is_none_or(|(condition, part)| holds(condition, part))
        }
        let keys = &unreadable.outline.keys;
        let at = unreadable.evaluate_time.as_ref();
        let covers = |scope: &Scope| {
            let place = keys.repository.as_ref().zip(keys.environment.as_ref());
            place.is_some_and(|(repository, environment)| scope.covers(repository, environment.as_ref()))
        };
        self.within.as_ref().is_none_or(|scopes| scopes.iter().any(covers))
            && meets(self.repository.as_ref(), keys.repository.as_ref(), |wanted, found| wanted == found)
            && meets(self.digest.as_ref(), keys.digests.as_ref(), |wanted, found| found.contains(wanted))
            && meets(self.environment.as_ref(), keys.environment.as_ref(), |wanted, found| {
                found.as_ref() == Some(wanted)
            })
            && keys.verdict.is_none_or(|verdict| self.verdicts.is_empty() || self.verdicts.contains(&verdict))
            && meets(self.policy.as_ref(), keys.policies.as_ref(), |wanted, found| found.contains(wanted))
            && meets(self.caller.as_ref(), unreadable.caller.as_ref(), |wanted, found| wanted == found)
            && meets(self.start.as_ref(), at, |start, at| start <= at)
            && meets(self.end.as_ref(), at, |end, at| at < end)
    }
}

/// Deserialises a field; one that this server does not understand is `None`.
pub(super) fn if_readable<'de, T: DeserializeOwned, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(value)?;
    Ok(serde_json::from_value(value).ok())
}
