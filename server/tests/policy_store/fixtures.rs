//! Policies, waivers and writes for tests.

use jiff::SignedDuration;
use scangate_core::{
    name::{PolicyId, WaiverId},
    policy::{Policy, PolicySet},
    waiver::Waiver,
};
use scangate_server::{
    idempotency::{RequestKey, WRITE_WINDOW},
    policies::WriteOptions,
    policy_store::{
        Change, Error, PolicyStore, Precondition, Resource, ResourceName, Write, into_snapshot, sql::SqlPolicyStore,
    },
    sql::{self, Address, Database, OpenError},
};
use scangate_test_fixtures::noon;

/// Opens the policy store at an address.
pub(crate) async fn open(address: &Address) -> Result<SqlPolicyStore, OpenError> {
    let database = Database::open(address).await?;
    SqlPolicyStore::open(&database).await.map_err(|error| match error {
        Error::Corrupt { what, source } => sql::Error::Corrupt { what, source }.into(),
        Error::Unavailable(source) => sql::Error::Unavailable(source).into(),
        Error::NotFound(_)
        | Error::AlreadyExists(_)
        | Error::Conflict { .. }
        | Error::RequestIdReused
        | Error::BatchSize
        | Error::DefaultRequired
        | Error::TooManyPolicies
        | Error::TooManyWaivers
        | Error::Revoked(_)
        | Error::FromNewerServer { .. } => panic!("{error:?}"),
    })
}

/// Loads the current policies and waivers.
#[async_trait::async_trait]
pub(crate) trait LoadSnapshot {
    async fn load_snapshot(&self) -> Result<PolicySet, Error>;
}

#[async_trait::async_trait]
impl<S: PolicyStore + ?Sized> LoadSnapshot for S {
    async fn load_snapshot(&self) -> Result<PolicySet, Error> {
        into_snapshot(self.changes(None).await?)
    }
}

pub(crate) fn id(id: &str) -> PolicyId {
    PolicyId::parse(id).unwrap()
}

pub(crate) fn key(name: &str) -> ResourceName {
    ResourceName::Policy(id(name))
}

/// A policy with the rules of the default policy.
pub(crate) fn policy(name: &str) -> Policy {
    Policy { id: id(name), description: "As it was created.".to_owned(), ..Policy::built_in_default().unwrap() }
}

/// The same policy with changes.
pub(crate) fn changed(name: &str) -> Policy {
    Policy { description: "As it was changed.".to_owned(), honor_suppression: true, ..policy(name) }
}

pub(crate) fn create(name: &str) -> Write {
    write(Change::Create(vec![Resource::Policy(policy(name))]))
}

pub(crate) fn update(name: &str, expected: Precondition) -> Write {
    write(Change::Update { resource: Resource::Policy(changed(name)), expected })
}

pub(crate) fn delete(name: &str, expected: Precondition) -> Write {
    write(Change::Delete { id: id(name), expected })
}

pub(crate) fn write(change: Change) -> Write {
    Write { change, author: "ann".to_owned(), request: None, at: noon() }
}

/// The options of a write without an idempotency key.
pub(crate) fn options() -> WriteOptions {
    WriteOptions { caller: "ann".to_owned(), validate_only: false, request_key: None }
}

/// Adds an idempotency key to a write.
pub(crate) fn requested(id: &str, fingerprint: &str, write: Write) -> Write {
    let (id, fingerprint) = (id.to_owned(), fingerprint.to_owned());
    let key = RequestKey { caller: write.author.clone(), id, fingerprint, window: WRITE_WINDOW };
    Write { request: Some(key), ..write }
}

/// Makes a write, and its request, another caller's.
pub(crate) fn by(author: &str, write: Write) -> Write {
    let author = author.to_owned();
    let request = write.request.map(|key| RequestKey { caller: author.clone(), ..key });
    Write { author, request, ..write }
}

/// Moves a write to a later time.
pub(crate) fn later(by: SignedDuration, write: Write) -> Write {
    Write { at: write.at + by, ..write }
}

pub(crate) fn waiver_id(id: &str) -> WaiverId {
    WaiverId::parse(id).unwrap()
}

/// A waiver for one vulnerability.
pub(crate) fn waiver(name: &str) -> Waiver {
    scangate_test_fixtures::waiver(name, "CVE-2021-44228", noon())
}

/// Creates waivers in one write.
pub(crate) fn waive(names: &[&str]) -> Write {
    write(Change::Create(names.iter().map(|name| Resource::Waiver(waiver(name))).collect()))
}
