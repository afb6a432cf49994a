//! Decisions that were committed together, as bytes, and the chain through them.

use std::{collections::BTreeMap, io::Read as _};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::decisions::Hash;

/// The most bytes that a segment may have once unpacked: a full batch with as many labels as there may be is well below.
const MOST: u64 = 512 * 1024 * 1024;

/// The hash that every chain begins with.
pub(super) const BEGINNING: Hash = Hash([0; 32]);

/// One decision of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// When it was made.
    #[serde(rename = "at")]
    pub(super) evaluated_at: Timestamp,
    /// What it is about.
    pub(super) case: Hash,
    /// The caller's context.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    /// The caller's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<String>,
}

/// Writes a segment: entries as lines of JSON, chained on from `hash`, which becomes the hash after the last.
pub(super) fn write<'a>(entries: impl Iterator<Item = &'a Entry>, hash: &mut Hash) -> std::io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for entry in entries {
        let began = lines.len();
        serde_json::to_writer(&mut lines, entry)?;
        *hash = chained(*hash, lines.get(began..).unwrap_or_default());
        lines.push(b'\n');
    }
    zstd::bulk::compress(&lines, 1)
}

/// Reads a segment, chained on from `hash`, which becomes the hash after the last.
pub(super) fn read(body: &[u8], hash: &mut Hash) -> std::io::Result<Vec<Entry>> {
    let mut lines = Vec::new();
    zstd::stream::read::Decoder::new(body)?.take(MOST).read_to_end(&mut lines)?;
    let mut entries = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        *hash = chained(*hash, line);
        entries.push(serde_json::from_slice(line)?);
    }
    Ok(entries)
}

fn chained(before: Hash, entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update(before.0).chain_update(entry).finalize().into())
}
