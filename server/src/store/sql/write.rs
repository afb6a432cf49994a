//! What a change does, all of it within the one transaction that it is given.

use std::sync::Arc;

use jiff::SignedDuration;
use scangate_core::{
    name::PolicyId,
    policy::{Policy, Revised},
};

use super::{
    row::{self, PolicyRow},
    sqlite::Connection,
    statements::{self, Answered, Present},
};
use crate::store::{Change, Error, Expected, MAX_POLICIES, Request, Write, Written};

/// How long a request is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// A write adds one request; as long as it may forget more than one, they cannot pile up.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// Applies the change, or answers as it was answered before. The caller commits, and on an error must not.
pub(super) async fn apply(connection: &mut Connection, write: Write) -> Result<Written, Error> {
    let now = write.at.as_microsecond();
    if let Some(request) = &write.request
        && let Some(written) = replay(connection, request, now).await?
    {
        return Ok(written);
    }
    let (id, revision, policy) = match write.change {
        Change::Create(policy) => create(connection, policy, now).await?,
        Change::Update { policy, expected } => update(connection, policy, expected, now).await?,
        Change::Delete { id, expected } => delete(connection, id, expected, now).await?,
    };
    statements::forget(connection, now, FORGOTTEN_AT_ONCE).await?;
    if let Some(request) = write.request {
        let answered = Answered { fingerprint: request.fingerprint, policy_id: id.to_string(), revision };
        let expire_time = now.saturating_add(micros(REMEMBERED));
        statements::remember(connection, &request.id, &answered, expire_time).await?;
    }
    Ok(Written { revision: row::revision(revision)?, policy })
}

type Outcome = (PolicyId, i64, Option<Arc<Revised>>);

async fn replay(connection: &mut Connection, request: &Request, now: i64) -> Result<Option<Written>, Error> {
    let Some(answered) = statements::answered(connection, &request.id, now).await? else { return Ok(None) };
    if answered.fingerprint != request.fingerprint {
        return Err(Error::RequestIdReused);
    }
    let row = statements::recorded(connection, &answered.policy_id, answered.revision).await?;
    let policy = row.map(PolicyRow::read).transpose()?;
    Ok(Some(Written { revision: row::revision(answered.revision)?, policy }))
}

async fn create(connection: &mut Connection, policy: Policy, now: i64) -> Result<Outcome, Error> {
    if statements::present(connection, policy.id.as_str()).await?.is_some() {
        return Err(Error::AlreadyExists(policy.id));
    }
    if row::revision(statements::count(connection).await?)? >= MAX_POLICIES {
        return Err(Error::TooManyPolicies);
    }
    put(connection, policy, now, now).await
}

async fn update(connection: &mut Connection, policy: Policy, expected: Expected, now: i64) -> Result<Outcome, Error> {
    let present = expect(connection, &policy.id, expected).await?;
    put(connection, policy, present.create_time, now).await
}

async fn delete(connection: &mut Connection, id: PolicyId, expected: Expected, now: i64) -> Result<Outcome, Error> {
    if id.is_default() {
        return Err(Error::DefaultRequired);
    }
    let present = expect(connection, &id, expected).await?;
    let revision = statements::next_revision(connection).await?;
    statements::record_removal(connection, id.as_str(), revision, present.create_time, now).await?;
    statements::remove(connection, id.as_str()).await?;
    Ok((id, revision, None))
}

async fn expect(connection: &mut Connection, id: &PolicyId, expected: Expected) -> Result<Present, Error> {
    let Some(present) = statements::present(connection, id.as_str()).await? else {
        return Err(Error::NotFound(id.clone()));
    };
    let actual = row::revision(present.revision)?;
    match expected {
        Expected::Revision(revision) if revision != actual => Err(Error::Conflict { id: id.clone(), actual }),
        Expected::Revision(_) | Expected::Any => Ok(present),
    }
}

async fn put(connection: &mut Connection, policy: Policy, create_time: i64, now: i64) -> Result<Outcome, Error> {
    let revision = statements::next_revision(connection).await?;
    let row = PolicyRow::new(&policy, revision, create_time, now)?;
    statements::record(connection, &row).await?;
    statements::put(connection, &row).await?;
    // Read back from the row: whoever asks again later gets this, and must get the same.
    Ok((policy.id, revision, Some(row.read()?)))
}

fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
