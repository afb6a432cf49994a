//! Between rows and policies. What cannot be read whole is corrupt; nothing is skipped.

use jiff::Timestamp;
use scangate_core::policy::{Policy, Revised};
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::Error;

/// A row of `policies`, or of `policy_revisions` where it did not remove the policy.
#[derive(Debug, FromRow)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) body: String,
    pub(super) content_digest: String,
    pub(super) create_time: i64,
    pub(super) update_time: i64,
}

impl Stored {
    /// The row of a policy as it is written now.
    pub(super) fn new(policy: &Policy, revision: u64, created: Timestamp, updated: Timestamp) -> Result<Self, Error> {
        let (body, content_digest) = encode(policy)?;
        Ok(Self {
            id: policy.id.to_string(),
            revision: i64::try_from(revision).map_err(|error| corrupt("the revision", error))?,
            body,
            content_digest,
            create_time: created.as_microsecond(),
            update_time: updated.as_microsecond(),
        })
    }

    /// The policy in the row, or which policy it is that cannot be read.
    pub(super) fn read(self) -> Result<Revised, Error> {
        let what = format!("policy {} at revision {}", self.id, self.revision);
        let policy: Policy = serde_json::from_str(&self.body).map_err(|error| corrupt(&what, error))?;
        if policy.id.as_str() != self.id || encode(&policy)?.1 != self.content_digest {
            return Err(corrupt(&what, "it is not what was written"));
        }
        Ok(Revised {
            policy,
            revision: revision(self.revision)?,
            content_digest: self.content_digest,
            create_time: time(&what, self.create_time)?,
            update_time: time(&what, self.update_time)?,
        })
    }
}

/// A policy as text, and the digest of its meaning: everything but its name, members in the order of theirs.
fn encode(policy: &Policy) -> Result<(String, String), Error> {
    let failed = |error| corrupt("a policy", error);
    let body = serde_json::to_string(policy).map_err(failed)?;
    let mut meaning = serde_json::to_value(policy).map_err(failed)?;
    if let Some(members) = meaning.as_object_mut() {
        members.remove("id");
    }
    let digest = Sha256::digest(meaning.to_string());
    let hexadecimal = digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()));
        text
    });
    Ok((body, hexadecimal))
}

/// A revision from the database.
pub(super) fn revision(stored: i64) -> Result<u64, Error> {
    u64::try_from(stored).map_err(|error| corrupt("the revision", error))
}

fn time(what: &str, stored: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(stored).map_err(|error| corrupt(what, error))
}

pub(super) fn corrupt(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Corrupt { what: what.to_owned(), source: source.into() }
}
