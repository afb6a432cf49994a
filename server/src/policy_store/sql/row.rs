//! Converts resources to rows and back. A damaged row is an error: to skip a policy would fail open. A row of a newer server is
//! read in part.
//!
//! The body is the resource's JSON without its id. The content digest is taken over that stored text, so it stays valid when the
//! type gains fields, and policies that differ only in their id share it.

use std::{num::TryFromIntError, sync::Arc};

use jiff::Timestamp;
use scangate_core::{policy, waiver};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::partial::{self, Partial};
use crate::{
    policy_store::{Entry, Error, Resource, ResourceName, Revision},
    sql::{self, FromRow, values},
};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A stored revision of a resource. A deletion has neither body nor digest.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) body: Option<String>,
    pub(super) content_digest: Option<String>,
    /// Microseconds, like all stored times: equal in every database, and sortable, unlike RFC 3339 with a fraction.
    pub(super) create_time: i64,
    pub(super) write_time: i64,
    pub(super) author: String,
}

/// The parts that all rows of one write share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp<'a> {
    pub(super) revision: i64,
    pub(super) write_time: i64,
    /// The name of the caller who writes; empty for the server itself.
    pub(super) author: &'a str,
}

/// Returns the kind, as in the resource name, and the id.
pub(super) fn kind_and_id(name: &ResourceName) -> (&'static str, &str) {
    match name {
        ResourceName::Policy(id) => ("policies", id.as_str()),
        ResourceName::Waiver(id) => ("waivers", id.as_str()),
    }
}

impl FromRow for Row {
    fn from_row(row: &sql::Row<'_>) -> Result<Self, sql::Error> {
        Ok(Self {
            kind: row.get(0)?,
            id: row.get(1)?,
            revision: row.get(2)?,
            body: row.get(3)?,
            content_digest: row.get(4)?,
            create_time: row.get(5)?,
            write_time: row.get(6)?,
            author: row.get(7)?,
        })
    }
}

impl Row {
    /// Returns the columns in the order of [`Self::from_row`].
    pub(super) fn values(&self) -> [sql::Value<'_>; 8] {
        let Self { kind, id, revision, body, content_digest, create_time, write_time, author } = self;
        values![kind, id, *revision, body, content_digest, *create_time, *write_time, author]
    }

    pub(super) fn new(resource: &Resource, create_time: i64, stamp: &Stamp<'_>) -> Result<Self, Error> {
        let body = match resource {
            Resource::Policy(policy) => encode_body(policy),
            Resource::Waiver(waiver) => encode_body(waiver),
        };
        let body = body.map_err(Error::Unavailable)?;
        let name = resource.name();
        let (kind, id) = self::kind_and_id(&name);
        Ok(Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
            revision: stamp.revision,
            content_digest: Some(digest_of(&body)),
            body: Some(body),
            create_time,
            write_time: stamp.write_time,
            author: stamp.author.to_owned(),
        })
    }

    /// Creates the row of a deletion.
    pub(super) fn removal(name: &ResourceName, create_time: i64, stamp: &Stamp<'_>) -> Self {
        let (kind, id) = self::kind_and_id(name);
        let (kind, id) = (kind.to_owned(), id.to_owned());
        let Stamp { revision, write_time, author } = *stamp;
        let author = author.to_owned();
        Self { kind, id, revision, body: None, content_digest: None, create_time, write_time, author }
    }

    /// Converts the row, or returns [`Error::Corrupt`] with the resource's name.
    pub(super) fn into_entry(self) -> Result<Entry, Error> {
        let what = format!("{}/{}", self.kind, self.id);
        self.parse().map_err(|source| Error::Corrupt { what, source })
    }

    fn parse(self) -> Result<Entry, Source> {
        let name = match self.kind.as_str() {
            "policies" => ResourceName::Policy(self.id.clone().try_into()?),
            "waivers" => ResourceName::Waiver(self.id.clone().try_into()?),
            _ => return Err("it is neither a policy nor a waiver".into()),
        };
        let revision = self.revision.try_into()?;
        let write_time = Timestamp::from_microsecond(self.write_time)?;
        let resource = match (self.body, self.content_digest) {
            (None, None) => None,
            (Some(body), Some(content_digest)) => {
                if digest_of(&body) != content_digest {
                    return Err("the content digest does not match the body".into());
                }
                let create_time = Timestamp::from_microsecond(self.create_time)?;
                Some(match &name {
                    ResourceName::Policy(_) => {
                        let (policy, not_understood) = decode_body(&body, self.id)?;
                        Revision::Policy(Arc::new(policy::Revision {
                            policy,
                            revision,
                            content_digest,
                            create_time,
                            update_time: write_time,
                            update_author: self.author.clone(),
                            not_understood,
                        }))
                    }
                    ResourceName::Waiver(_) => {
                        let (waiver, not_understood) = decode_body(&body, self.id)?;
                        Revision::Waiver(Arc::new(waiver::Revision {
                            waiver,
                            revision,
                            create_time,
                            update_time: write_time,
                            not_understood,
                        }))
                    }
                })
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err("it has a body without a digest, or a digest without a body".into());
            }
        };
        Ok(Entry { name, revision, write_time, author: self.author, resource })
    }
}

/// Converts rows to ordered entries. A row later than the store's revision is corrupt.
pub(super) fn into_entries(revision: u64, rows: Vec<Row>) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = rows.into_iter().map(Row::into_entry).collect::<Result<_, _>>()?;
    if let Some(entry) = entries.iter().find(|entry| entry.revision > revision) {
        let source = format!("its revision {} is later than the store's", entry.revision).into();
        return Err(Error::Corrupt { what: entry.name.to_string(), source });
    }
    // Databases differ in their collation.
    entries.sort_by(|one, other| (one.revision, &one.name).cmp(&(other.revision, &other.name)));
    Ok(entries)
}

/// Unwraps a value that every store has.
pub(super) fn required<T>(what: &str, found: Option<T>) -> Result<T, Error> {
    found.ok_or_else(|| Error::Corrupt { what: what.to_owned(), source: "it is missing".into() })
}

/// Converts a stored time.
pub(super) fn to_timestamp(stored: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(stored)
        .map_err(|source| Error::Corrupt { what: format!("the time {stored}"), source: source.into() })
}

/// Converts a stored revision.
pub(super) fn to_revision(stored: i64) -> Result<u64, Error> {
    stored.try_into().map_err(|source: TryFromIntError| Error::Corrupt {
        what: format!("the revision {stored}"),
        source: source.into(),
    })
}

/// Converts a revision to its stored form. A number that does not fit is larger than any stored revision.
pub(super) fn to_i64(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// Serialises a resource as JSON without its id.
fn encode_body(resource: &impl Serialize) -> Result<String, Source> {
    let Value::Object(mut fields) = serde_json::to_value(resource)? else { return Err("it is no JSON object".into()) };
    fields.remove("id");
    Ok(serde_json::to_string(&fields)?)
}

/// Deserialises a resource, with the parts that this server does not understand. Text that is no JSON object is an error.
fn decode_body<T: Partial>(body: &str, id: String) -> Result<(T, Vec<String>), Source> {
    let mut fields: Map<String, Value> = serde_json::from_str(body)?;
    if fields.insert("id".to_owned(), Value::String(id)).is_some() {
        return Err("the body contains an id".into());
    }
    // Most resources are understood, so the fields are not copied for the others.
    let fields = Value::Object(fields);
    match T::deserialize(&fields) {
        Ok(resource) => Ok((resource, Vec::new())),
        Err(refused) => {
            let Value::Object(fields) = fields else { return Err(refused.into()) };
            Ok(partial::read(fields, &refused)?)
        }
    }
}

fn digest_of(body: &str) -> String {
    hex::encode(Sha256::digest(body))
}
