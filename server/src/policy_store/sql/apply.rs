//! What a change does, all of it within the one transaction that it is given.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    queries::{self, Answered},
    row::{self, Row},
};
use crate::{
    idempotency::{DEDUP_WINDOW, RequestKey},
    policy_store::{
        Change, Error, MAX_CREATED, MAX_POLICIES, MAX_WAIVERS, Precondition, Resource, ResourceName, Revision, Write,
        WriteResult,
    },
    sql::Connection,
};

/// A write adds one request; as long as it may forget more than one, they cannot pile up.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// Applies the change, or answers as it was answered before. The caller commits, and on an error must not.
pub(super) async fn apply(connection: &mut Connection, write: Write) -> Result<WriteResult, Error> {
    let now = write.at.as_microsecond();
    if let Some(request) = &write.request
        && let Some(written) = replay(connection, request, now).await?
    {
        return Ok(written);
    }
    let revision = match write.change {
        Change::Create(documents) => create(connection, &documents, now).await?,
        Change::Update { document, expected } => update(connection, &document, expected, now).await?,
        Change::Delete { id, expected } => delete(connection, ResourceName::Policy(id), expected, now).await?,
    };
    queries::forget(connection, now, FORGOTTEN_AT_ONCE).await?;
    if let Some(request) = write.request {
        let answered = Answered { fingerprint: request.fingerprint, revision };
        let expire_time = now.saturating_add(micros(DEDUP_WINDOW));
        queries::remember(connection, &request.id, &answered, expire_time).await?;
    }
    written(connection, revision).await
}

/// Read back from the rows: whoever asks again later gets this, and must get the same.
async fn written(connection: &mut Connection, revision: i64) -> Result<WriteResult, Error> {
    let rows = queries::written(connection, revision).await?;
    let entries = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
    let mut documents: Vec<Revision> = entries.into_iter().filter_map(|entry| entry.document).collect();
    // Databases do not agree on the order of names.
    documents.sort_by_key(Revision::key);
    Ok(WriteResult { revision: row::revision(revision)?, documents })
}

async fn replay(connection: &mut Connection, request: &RequestKey, now: i64) -> Result<Option<WriteResult>, Error> {
    let Some(answered) = queries::answered(connection, &request.id, now).await? else { return Ok(None) };
    if answered.fingerprint != request.fingerprint {
        return Err(Error::RequestIdReused);
    }
    written(connection, answered.revision).await.map(Some)
}

async fn create(connection: &mut Connection, documents: &[Resource], now: i64) -> Result<i64, Error> {
    if !(1..=MAX_CREATED).contains(&documents.len()) {
        return Err(Error::BatchSize);
    }
    let mut keys = BTreeSet::new();
    for document in documents {
        let key = document.key();
        if present(connection, &key).await?.is_some() || !keys.insert(key.clone()) {
            return Err(Error::AlreadyExists(key));
        }
    }
    make_room(connection, documents).await?;
    let revision = queries::next_revision(connection).await?;
    for document in documents {
        put(connection, document, revision, now, now).await?;
    }
    Ok(revision)
}

async fn make_room(connection: &mut Connection, documents: &[Resource]) -> Result<(), Error> {
    let policies = documents.iter().filter(|document| matches!(document, Resource::Policy(_))).count();
    for (kind, more, most, full) in [
        ("policies", policies, MAX_POLICIES, Error::TooManyPolicies),
        ("waivers", documents.len() - policies, MAX_WAIVERS, Error::TooManyWaivers),
    ] {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        if more > 0 && row::revision(queries::count(connection, kind).await?)?.saturating_add(more) > most {
            return Err(full);
        }
    }
    Ok(())
}

async fn update(
    connection: &mut Connection,
    document: &Resource,
    expected: Precondition,
    now: i64,
) -> Result<i64, Error> {
    let present = expect(connection, document.key(), expected).await?;
    let create_time = present.create_time;
    if let Resource::Waiver(_) = document
        && let Some(old) = present.read()?.document
    {
        document.replaces(&old)?;
    }
    let revision = queries::next_revision(connection).await?;
    put(connection, document, revision, create_time, now).await?;
    Ok(revision)
}

async fn delete(
    connection: &mut Connection,
    key: ResourceName,
    expected: Precondition,
    now: i64,
) -> Result<i64, Error> {
    if matches!(&key, ResourceName::Policy(id) if id.is_default()) {
        return Err(Error::DefaultRequired);
    }
    let present = expect(connection, key.clone(), expected).await?;
    let revision = queries::next_revision(connection).await?;
    queries::record(connection, &Row::removal(&key, revision, present.create_time, now)).await?;
    let (kind, id) = row::kind(&key);
    queries::remove(connection, kind, id).await?;
    Ok(revision)
}

async fn present(connection: &mut Connection, key: &ResourceName) -> Result<Option<Row>, Error> {
    let (kind, id) = row::kind(key);
    Ok(queries::present(connection, kind, id).await?)
}

async fn expect(connection: &mut Connection, key: ResourceName, expected: Precondition) -> Result<Row, Error> {
    let Some(present) = present(connection, &key).await? else { return Err(Error::NotFound(key)) };
    let actual = row::revision(present.revision)?;
    match expected {
        Precondition::Revision(revision) if revision != actual => Err(Error::Conflict { key, actual }),
        Precondition::Revision(_) | Precondition::Any => Ok(present),
    }
}

async fn put(
    connection: &mut Connection,
    document: &Resource,
    revision: i64,
    create_time: i64,
    now: i64,
) -> Result<(), Error> {
    let row = Row::new(document, revision, create_time, now)?;
    queries::record(connection, &row).await?;
    Ok(queries::put(connection, &row).await?)
}

fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
