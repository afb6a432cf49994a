//! Documents as rows, and back. Nothing that cannot be read in full is passed over: a policy left out would open the gate.
//!
//! The body is the document's JSON without its id, and the content digest is taken over that very text. So it can be checked after
//! the document's type has gained fields, and two policies that differ in nothing but their names have the same one.

use std::{num::TryFromIntError, sync::Arc};

use jiff::Timestamp;
use scangate_core::{policy, waiver};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::policy_store::{Entry, Error, Resource, ResourceName, Revision};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What is wrong with a row that is well-formed.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("the content digest is not that of the body")]
    Digest,
    #[error("the body has an id of its own")]
    Id,
    #[error("it is missing")]
    Missing,
    #[error("its revision is {0}, later than that of the store")]
    Ahead(u64),
    #[error("it has a body and no digest, or a digest and no body")]
    Half,
    #[error("it is neither a policy nor a waiver")]
    Kind,
}

/// A revision of a document as the database holds it; without body and digest where it was removed.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) body: Option<String>,
    pub(super) content_digest: Option<String>,
    /// Microseconds, as are all times here: the same number in every database, and it sorts, which RFC 3339 with a fraction
    /// does not.
    pub(super) create_time: i64,
    pub(super) write_time: i64,
}

/// How a document's kind is written: as in its resource name.
pub(super) fn kind(key: &ResourceName) -> (&'static str, &str) {
    match key {
        ResourceName::Policy(id) => ("policies", id.as_str()),
        ResourceName::Waiver(id) => ("waivers", id.as_str()),
    }
}

impl Row {
    pub(super) fn new(document: &Resource, revision: i64, create_time: i64, write_time: i64) -> Result<Self, Error> {
        let body = match document {
            Resource::Policy(policy) => body(policy),
            Resource::Waiver(waiver) => body(waiver),
        };
        let body = body.map_err(Error::Unavailable)?;
        let key = document.key();
        let (kind, id) = self::kind(&key);
        Ok(Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
            revision,
            content_digest: Some(digest(&body)),
            body: Some(body),
            create_time,
            write_time,
        })
    }

    /// The entry that says that a document was removed.
    pub(super) fn removal(key: &ResourceName, revision: i64, create_time: i64, write_time: i64) -> Self {
        let (kind, id) = self::kind(key);
        let (kind, id) = (kind.to_owned(), id.to_owned());
        Self { kind, id, revision, body: None, content_digest: None, create_time, write_time }
    }

    /// The row's entry, or [`Error::Corrupt`] with the document's name.
    pub(super) fn read(self) -> Result<Entry, Error> {
        let what = format!("{}/{}", self.kind, self.id);
        self.parse().map_err(|source| Error::Corrupt { what, source })
    }

    fn parse(self) -> Result<Entry, Source> {
        let key = match self.kind.as_str() {
            "policies" => ResourceName::Policy(self.id.clone().try_into()?),
            "waivers" => ResourceName::Waiver(self.id.clone().try_into()?),
            _ => return Err(Damage::Kind.into()),
        };
        let revision = self.revision.try_into()?;
        let write_time = Timestamp::from_microsecond(self.write_time)?;
        let document = match (self.body, self.content_digest) {
            (None, None) => None,
            (Some(body), Some(content_digest)) => {
                if digest(&body) != content_digest {
                    return Err(Damage::Digest.into());
                }
                let create_time = Timestamp::from_microsecond(self.create_time)?;
                Some(match &key {
                    ResourceName::Policy(_) => Revision::Policy(Arc::new(policy::Revision {
                        policy: document(&body, self.id)?,
                        revision,
                        content_digest,
                        create_time,
                        update_time: write_time,
                    })),
                    ResourceName::Waiver(_) => Revision::Waiver(Arc::new(waiver::Revision {
                        waiver: document(&body, self.id)?,
                        revision,
                        create_time,
                        update_time: write_time,
                    })),
                })
            }
            (Some(_), None) | (None, Some(_)) => return Err(Damage::Half.into()),
        };
        Ok(Entry { key, revision, write_time, document })
    }
}

/// The rows as entries that lead up to a revision, in order, or the reason why there is no telling.
pub(super) fn entries(revision: u64, rows: Vec<Row>) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = rows.into_iter().map(Row::read).collect::<Result<_, _>>()?;
    if let Some(entry) = entries.iter().find(|entry| entry.revision > revision) {
        return Err(Error::Corrupt { what: entry.key.to_string(), source: Damage::Ahead(entry.revision).into() });
    }
    // Databases do not agree on the order of names.
    entries.sort_by(|one, other| (one.revision, &one.key).cmp(&(other.revision, &other.key)));
    Ok(entries)
}

/// What the store cannot be without, if it is there.
pub(super) fn required<T>(what: &str, found: Option<T>) -> Result<T, Error> {
    found.ok_or_else(|| Error::Corrupt { what: what.to_owned(), source: Damage::Missing.into() })
}

/// A time as the rest of the server has it.
pub(super) fn time(stored: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(stored)
        .map_err(|source| Error::Corrupt { what: format!("the time {stored}"), source: source.into() })
}

/// A revision as the rest of the server counts.
pub(super) fn revision(stored: i64) -> Result<u64, Error> {
    stored.try_into().map_err(|source: TryFromIntError| Error::Corrupt {
        what: format!("the revision {stored}"),
        source: source.into(),
    })
}

/// A revision as the database counts: none is as large as what does not fit.
pub(super) fn stored(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A document's JSON without its id.
fn body(document: &impl Serialize) -> Result<String, Source> {
    let Value::Object(mut fields) = serde_json::to_value(document)? else { return Err(Damage::Kind.into()) };
    fields.remove("id").ok_or(Damage::Id)?;
    Ok(serde_json::to_string(&fields)?)
}

fn document<T: DeserializeOwned>(body: &str, id: String) -> Result<T, Source> {
    let mut fields: Map<String, Value> = serde_json::from_str(body)?;
    if fields.insert("id".to_owned(), Value::String(id)).is_some() {
        return Err(Damage::Id.into());
    }
    Ok(serde_json::from_value(Value::Object(fields))?)
}

fn digest(body: &str) -> String {
    Sha256::digest(body).iter().fold(String::with_capacity(64), |digest, byte| digest + &format!("{byte:02x}"))
}
