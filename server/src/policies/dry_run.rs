//! Dry run of a write against the current snapshot (`validate_only`).

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{policy, policy::PolicySet, waiver};

use crate::policy_store::{
    Change, Error, MAX_CREATE_BATCH_SIZE, Precondition, Resource, ResourceName, Revision, WriteResult,
};

/// Returns the result that the write would have. A draft has neither a content digest nor a new revision.
pub(super) fn dry_run(set: &PolicySet, change: Change, author: &str) -> Result<WriteResult, Error> {
    let mut replaced = None;
    let resources = match change {
        Change::Create(resources) => {
            if !(1..=MAX_CREATE_BATCH_SIZE).contains(&resources.len()) {
                return Err(Error::BatchSize);
            }
            let existing = resources.iter().map(Resource::name).find(|name| find(set, name).is_some());
            if let Some(name) = existing {
                return Err(Error::AlreadyExists(name));
            }
            resources.into_iter().map(|resource| draft(resource, set.revision, author, None)).collect()
        }
        Change::Update { resource, expected } => {
            let old = find_expected(set, resource.name(), expected)?;
            resource.check_replaces(&old)?;
            let draft = draft(resource, old.revision(), author, Some(&old));
            replaced = Some(old);
            vec![draft]
        }
        Change::Delete { id, .. } if id.is_default() => return Err(Error::DefaultRequired),
        Change::Delete { id, expected } => {
            replaced = Some(find_expected(set, ResourceName::Policy(id), expected)?);
            Vec::new()
        }
    };
    Ok(WriteResult { revision: set.revision, resources, replaced })
}

pub(super) fn find(set: &PolicySet, name: &ResourceName) -> Option<Revision> {
    match name {
        ResourceName::Policy(id) => set.policies.get(id).cloned().map(Revision::Policy),
        ResourceName::Waiver(id) => set.waivers.get(id).cloned().map(Revision::Waiver),
    }
}

fn find_expected(set: &PolicySet, name: ResourceName, expected: Precondition) -> Result<Revision, Error> {
    let Some(found) = find(set, &name) else { return Err(Error::NotFound(name)) };
    match expected {
        Precondition::Revision(revision) if revision != found.revision() => {
            Err(Error::Conflict { name, actual: found.revision() })
        }
        Precondition::Revision(_) | Precondition::Any => Ok(found),
    }
}

fn draft(resource: Resource, revision: u64, author: &str, old: Option<&Revision>) -> Revision {
    let now = Timestamp::now();
    let create_time = match old {
        Some(Revision::Policy(old)) => old.create_time,
        Some(Revision::Waiver(old)) => old.create_time,
        None => now,
    };
    match resource {
        Resource::Policy(policy) => Revision::Policy(Arc::new(policy::Revision {
            policy,
            revision,
            content_digest: String::new(),
            create_time,
            update_time: now,
            update_author: author.to_owned(),
            not_understood: Vec::new(),
        })),
        Resource::Waiver(waiver) => {
            let not_understood = Vec::new();
            Revision::Waiver(Arc::new(waiver::Revision {
                waiver,
                revision,
                create_time,
                update_time: now,
                not_understood,
            }))
        }
    }
}
