//! Policies and writes for tests to begin with.

use jiff::{SignedDuration, Timestamp};
use scangate_core::{name::PolicyId, policy::Policy};
use scangate_server::store::{Change, Expected, Request, Write};

/// A time of day on which tests write.
pub(crate) fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn id(id: &str) -> PolicyId {
    PolicyId::parse(id).unwrap()
}

/// The rules of the default policy, under a name of its own.
pub(crate) fn policy(name: &str) -> Policy {
    Policy { id: id(name), description: "As it was created.".to_owned(), ..Policy::built_in_default().unwrap() }
}

/// The same policy, changed.
pub(crate) fn changed(name: &str) -> Policy {
    Policy { description: "As it was changed.".to_owned(), honour_suppression: true, ..policy(name) }
}

pub(crate) fn create(name: &str) -> Write {
    write(Change::Create(policy(name)))
}

pub(crate) fn update(name: &str, expected: Expected) -> Write {
    write(Change::Update { policy: changed(name), expected })
}

pub(crate) fn delete(name: &str, expected: Expected) -> Write {
    write(Change::Delete { id: id(name), expected })
}

fn write(change: Change) -> Write {
    Write { change, request: None, at: noon() }
}

/// The write as a request of this id and fingerprint asks for it.
pub(crate) fn requested(id: &str, fingerprint: &str, write: Write) -> Write {
    Write { request: Some(Request { id: id.to_owned(), fingerprint: fingerprint.to_owned() }), ..write }
}

/// The write at a later time.
pub(crate) fn later(by: SignedDuration, write: Write) -> Write {
    Write { at: write.at + by, ..write }
}
