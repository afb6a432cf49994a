//! Applies a change within the caller's transaction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    queries,
    row::{self, Row, Stamp},
};
use crate::{
    idempotency::{
        RequestKey,
        sql::{self as requests, Claim, Kind, StoredRequest},
    },
    policy_store::{
        Change, Entry, Error, MAX_CREATE_BATCH_SIZE, MAX_POLICIES, MAX_WAIVERS, Precondition, Resource, ResourceName,
        Revision, Write, WriteResult,
    },
    sql::Connection,
};

/// The author and the time of a write.
#[derive(Clone, Copy, Debug)]
struct By<'a> {
    author: &'a str,
    now: i64,
}

impl<'a> By<'a> {
    /// Takes the next revision of the store.
    async fn stamp(self, connection: &mut Connection) -> Result<Stamp<'a>, Error> {
        let revision = queries::next_revision(connection).await?;
        Ok(Stamp { revision, write_time: self.now, author: self.author })
    }
}

/// Applies the change, or returns the first result of a repeated request. The caller must commit, or roll back on an error.
pub(super) async fn apply(connection: &mut Connection, write: Write) -> Result<WriteResult, Error> {
    if let Some(request) = &write.request
        && let Some(written) = claim(connection, request, write.at).await?
    {
        return Ok(written);
    }
    let by = By { author: &write.author, now: write.at.as_microsecond() };
    let revision = match write.change {
        Change::Create(resources) => create(connection, &resources, by).await?,
        Change::Update { resource, expected } => update(connection, &resource, expected, by).await?,
        Change::Delete { id, expected } => delete(connection, ResourceName::Policy(id), expected, by).await?,
    };
    let request = write.request.iter().map(|request| (request.key(), revision.unsigned_abs())).collect::<Vec<_>>();
    requests::set_targets(connection, Kind::Write, "", &request, write.at).await?;
    load_result(connection, revision).await
}

/// Returns the recorded result of a request; `None` if there is none.
pub(super) async fn recorded(
    connection: &mut Connection,
    request: &RequestKey,
    now: i64,
) -> Result<Option<WriteResult>, Error> {
    match requests::find(connection, Kind::Write, request.key(), now).await? {
        Some(recorded) => result_of(connection, request, &recorded).await.map(Some),
        None => Ok(None),
    }
}

/// Returns the result of a recorded request if it is the same request.
async fn result_of(
    connection: &mut Connection,
    request: &RequestKey,
    recorded: &StoredRequest,
) -> Result<WriteResult, Error> {
    if recorded.fingerprint != request.fingerprint {
        return Err(Error::RequestIdReused);
    }
    load_result(connection, row::to_i64(recorded.sequence)).await
}

/// Loads a result from the rows of its revision, so that a repeated request returns the same.
async fn load_result(connection: &mut Connection, revision: i64) -> Result<WriteResult, Error> {
    let rows = queries::load_written(connection, revision).await?;
    let replaced = match rows.as_slice() {
        [only] => queries::find_previous(connection, only).await?,
        // Several resources are written at once only if they are created.
        _ => None,
    };
    // A new version repairs a damaged policy.
    let replaced = replaced.and_then(|row| row.into_entry().ok()).and_then(|entry| entry.resource);
    let entries = rows.into_iter().map(Row::into_entry).collect::<Result<Vec<_>, _>>()?;
    let mut resources: Vec<Revision> = entries.into_iter().filter_map(|entry| entry.resource).collect();
    // Databases differ in their collation.
    resources.sort_by_key(Revision::name);
    Ok(WriteResult { revision: row::to_revision(revision)?, resources, replaced })
}

/// Claims the key of a request; returns the result of the first one if it is taken.
async fn claim(
    connection: &mut Connection,
    request: &RequestKey,
    now: Timestamp,
) -> Result<Option<WriteResult>, Error> {
    let claims = BTreeMap::from([(request.key(), Claim { key: request, supersedes: None })]);
    let taken = requests::claim(connection, Kind::Write, &claims, now).await?;
    match taken.get(&request.key()) {
        Some(recorded) => result_of(connection, request, recorded).await.map(Some),
        None => Ok(None),
    }
}

async fn create(connection: &mut Connection, resources: &[Resource], by: By<'_>) -> Result<i64, Error> {
    if !(1..=MAX_CREATE_BATCH_SIZE).contains(&resources.len()) {
        return Err(Error::BatchSize);
    }
    let mut names = BTreeSet::new();
    for resource in resources {
        let name = resource.name();
        if queries::find_current(connection, &name).await?.is_some() || !names.insert(name.clone()) {
            return Err(Error::AlreadyExists(name));
        }
    }
    check_limits(connection, resources).await?;
    let stamp = by.stamp(connection).await?;
    for resource in resources {
        put_resource(connection, resource, by.now, &stamp).await?;
    }
    Ok(stamp.revision)
}

async fn check_limits(connection: &mut Connection, resources: &[Resource]) -> Result<(), Error> {
    let policies = resources.iter().filter(|resource| matches!(resource, Resource::Policy(_))).count();
    for (kind, added, limit, error) in [
        ("policies", policies, MAX_POLICIES, Error::TooManyPolicies),
        ("waivers", resources.len() - policies, MAX_WAIVERS, Error::TooManyWaivers),
    ] {
        let added = u64::try_from(added).unwrap_or(u64::MAX);
        if added == 0 {
            continue;
        }
        let count = row::to_revision(queries::count_current(connection, kind).await?)?;
        if count.saturating_add(added) > limit {
            return Err(error);
        }
    }
    Ok(())
}

async fn update(
    connection: &mut Connection,
    resource: &Resource,
    expected: Precondition,
    by: By<'_>,
) -> Result<i64, Error> {
    let current = check_precondition(connection, resource.name(), expected).await?;
    let create_time = current.create_time;
    match (resource, current.into_entry()) {
        (Resource::Policy(_) | Resource::Waiver(_), Ok(Entry { resource: Some(old), .. })) => {
            resource.check_replaces(&old)?;
        }
        // A new version repairs a damaged policy. A damaged waiver could be a revoked one.
        (Resource::Policy(_), Err(_)) | (_, Ok(Entry { resource: None, .. })) => {}
        (Resource::Waiver(_), Err(error)) => return Err(error),
    }
    let stamp = by.stamp(connection).await?;
    put_resource(connection, resource, create_time, &stamp).await?;
    Ok(stamp.revision)
}

async fn delete(
    connection: &mut Connection,
    name: ResourceName,
    expected: Precondition,
    by: By<'_>,
) -> Result<i64, Error> {
    if matches!(&name, ResourceName::Policy(id) if id.is_default()) {
        return Err(Error::DefaultRequired);
    }
    let current = check_precondition(connection, name.clone(), expected).await?;
    let stamp = by.stamp(connection).await?;
    queries::insert_revision(connection, &Row::removal(&name, current.create_time, &stamp)).await?;
    queries::delete_current(connection, &name).await?;
    Ok(stamp.revision)
}

async fn check_precondition(
    connection: &mut Connection,
    name: ResourceName,
    expected: Precondition,
) -> Result<Row, Error> {
    let Some(current) = queries::find_current(connection, &name).await? else { return Err(Error::NotFound(name)) };
    let actual = row::to_revision(current.revision)?;
    match expected {
        Precondition::Revision(revision) if revision != actual => Err(Error::Conflict { name, actual }),
        Precondition::Revision(_) | Precondition::Any => Ok(current),
    }
}

async fn put_resource(
    connection: &mut Connection,
    resource: &Resource,
    create_time: i64,
    stamp: &Stamp<'_>,
) -> Result<(), Error> {
    let row = Row::new(resource, create_time, stamp)?;
    queries::insert_revision(connection, &row).await?;
    Ok(queries::upsert_current(connection, &row).await?)
}
