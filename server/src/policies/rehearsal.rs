//! What the store would say to a change, as far as a snapshot tells.

use std::sync::Arc;

use jiff::Timestamp;
use scangate_core::{policy, policy::PolicySet, waiver};

use crate::store::{Change, Document, Error, Expected, Key, MAX_CREATED, Revised, Written};

/// A write that is not made. A draft has no digest and no revision of its own.
pub(super) fn rehearse(set: &PolicySet, change: Change) -> Result<Written, Error> {
    let documents = match change {
        Change::Create(documents) => {
            if !(1..=MAX_CREATED).contains(&documents.len()) {
                return Err(Error::BatchSize);
            }
            let taken = documents.iter().map(Document::key).find(|key| present(set, key).is_some());
            if let Some(key) = taken {
                return Err(Error::AlreadyExists(key));
            }
            documents.into_iter().map(|document| draft(document, set.revision, None)).collect()
        }
        Change::Update { document, expected } => {
            let old = expect(set, document.key(), expected)?;
            document.replaces(&old)?;
            vec![draft(document, old.revision(), Some(&old))]
        }
        Change::Delete { id, .. } if id.is_default() => return Err(Error::DefaultRequired),
        Change::Delete { id, expected } => {
            expect(set, Key::Policy(id), expected)?;
            Vec::new()
        }
    };
    Ok(Written { revision: set.revision, documents })
}

fn present(set: &PolicySet, key: &Key) -> Option<Revised> {
    match key {
        Key::Policy(id) => set.policies.get(id).cloned().map(Revised::Policy),
        Key::Waiver(id) => set.waivers.get(id).cloned().map(Revised::Waiver),
    }
}

fn expect(set: &PolicySet, key: Key, expected: Expected) -> Result<Revised, Error> {
    let Some(present) = present(set, &key) else { return Err(Error::NotFound(key)) };
    match expected {
        Expected::Revision(revision) if revision != present.revision() => {
            Err(Error::Conflict { key, actual: present.revision() })
        }
        Expected::Revision(_) | Expected::Any => Ok(present),
    }
}

fn draft(document: Document, revision: u64, old: Option<&Revised>) -> Revised {
    let now = Timestamp::now();
    let create_time = match old {
        Some(Revised::Policy(old)) => old.create_time,
        Some(Revised::Waiver(old)) => old.create_time,
        None => now,
    };
    match document {
        Document::Policy(policy) => Revised::Policy(Arc::new(policy::Revised {
            policy,
            revision,
            content_digest: String::new(),
            create_time,
            update_time: now,
        })),
        Document::Waiver(waiver) => {
            Revised::Waiver(Arc::new(waiver::Revised { waiver, revision, create_time, update_time: now }))
        }
    }
}
