//! Dry run of a write against the current snapshot (`validate_only`).

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{policy, policy::PolicySet, waiver};

use crate::policy_store::{Change, Error, MAX_CREATED, Precondition, Resource, ResourceName, Revision, WriteResult};

/// Returns the result that the write would have. A draft has neither a content digest nor a new revision.
pub(super) fn dry_run(set: &PolicySet, change: Change) -> Result<WriteResult, Error> {
    let documents = match change {
        Change::Create(documents) => {
            if !(1..=MAX_CREATED).contains(&documents.len()) {
                return Err(Error::BatchSize);
            }
            let existing = documents.iter().map(Resource::key).find(|key| find(set, key).is_some());
            if let Some(key) = existing {
                return Err(Error::AlreadyExists(key));
            }
            documents.into_iter().map(|document| draft(document, set.revision, None)).collect()
        }
        Change::Update { document, expected } => {
            let old = find_expected(set, document.key(), expected)?;
            document.replaces(&old)?;
            vec![draft(document, old.revision(), Some(&old))]
        }
        Change::Delete { id, .. } if id.is_default() => return Err(Error::DefaultRequired),
        Change::Delete { id, expected } => {
            find_expected(set, ResourceName::Policy(id), expected)?;
            Vec::new()
        }
    };
    Ok(WriteResult { revision: set.revision, documents })
}

fn find(set: &PolicySet, key: &ResourceName) -> Option<Revision> {
    match key {
        ResourceName::Policy(id) => set.policies.get(id).cloned().map(Revision::Policy),
        ResourceName::Waiver(id) => set.waivers.get(id).cloned().map(Revision::Waiver),
    }
}

fn find_expected(set: &PolicySet, key: ResourceName, expected: Precondition) -> Result<Revision, Error> {
    let Some(found) = find(set, &key) else { return Err(Error::NotFound(key)) };
    match expected {
        Precondition::Revision(revision) if revision != found.revision() => {
            Err(Error::Conflict { key, actual: found.revision() })
        }
        Precondition::Revision(_) | Precondition::Any => Ok(found),
    }
}

fn draft(document: Resource, revision: u64, old: Option<&Revision>) -> Revision {
    let now = Timestamp::now();
    let create_time = match old {
        Some(Revision::Policy(old)) => old.create_time,
        Some(Revision::Waiver(old)) => old.create_time,
        None => now,
    };
    match document {
        Resource::Policy(policy) => Revision::Policy(Arc::new(policy::Revision {
            policy,
            revision,
            content_digest: String::new(),
            create_time,
            update_time: now,
        })),
        Resource::Waiver(waiver) => {
            Revision::Waiver(Arc::new(waiver::Revision { waiver, revision, create_time, update_time: now }))
        }
    }
}
