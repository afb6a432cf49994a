//! Decisions that were committed together, as bytes, and the chain through them.

use std::{collections::BTreeMap, io::Read as _};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::decision_log::{AppendRequest, Hash};

/// The most bytes that a segment may have once unpacked: a full batch with as many labels as there may be is well below.
const MOST: u64 = 512 * 1024 * 1024;

/// The most bytes that are kept from one segment for the next.
const KEPT: usize = 1024 * 1024;

/// The hash that the chain of a writer begins with: no two chains have a place in common.
pub(super) fn beginning(writer: &str) -> Hash {
    Hash(Sha256::digest(writer).into())
}

/// One decision of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredEntry {
    /// When it was made.
    #[serde(rename = "at")]
    pub(super) evaluated_at: Timestamp,
    /// What it is about.
    pub(super) case: Hash,
    /// The caller's context.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// The caller's request, with its fingerprint.
    #[serde(default)]
    pub(super) request: Option<(String, String)>,
}

/// Where a chain has come to: a decision's place in it, and the hash of everything up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) sequence: u64,
    pub(super) hash: Hash,
}

impl Head {
    /// Before the first decision of a writer.
    pub(super) fn beginning(writer: &str) -> Self {
        Self { sequence: 0, hash: beginning(writer) }
    }

    /// One decision on. Its place is part of the hash: what is moved to another is another.
    fn advance(&mut self, entry: &[u8]) {
        self.sequence = self.sequence.saturating_add(1);
        let place = self.sequence.to_be_bytes();
        self.hash =
            Hash(Sha256::new().chain_update(self.hash.0).chain_update(place).chain_update(entry).finalize().into());
    }
}

/// An [`StoredEntry`] as it is written, out of a record.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    case: Hash,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<(&'a str, &'a str)>,
}

impl<'a> From<&'a AppendRequest> for Line<'a> {
    fn from(record: &'a AppendRequest) -> Self {
        Self {
            at: record.evaluated_at,
            case: record.case.case.hash(),
            labels: &record.labels,
            request: record.request.as_ref().map(|request| (request.id.as_str(), request.fingerprint.as_str())),
        }
    }
}

/// Writes segments, one after the other in the same memory.
#[derive(Default)]
pub(super) struct Pen {
    lines: Vec<u8>,
    packer: zstd::bulk::Compressor<'static>,
}

impl Pen {
    /// Writes a segment: entries as lines of JSON, chained on from `head`, which moves on to the last.
    pub(super) fn write(&mut self, records: &[&AppendRequest], head: &mut Head) -> std::io::Result<Vec<u8>> {
        self.lines.clear();
        for record in records {
            let began = self.lines.len();
            serde_json::to_writer(&mut self.lines, &Line::from(*record))?;
            head.advance(self.lines.get(began..).unwrap_or_default());
            self.lines.push(b'\n');
        }
        self.packer.set_compression_level(1)?;
        let body = self.packer.compress(&self.lines);
        self.lines.shrink_to(KEPT);
        body
    }
}

/// Reads a segment, chained on from `head`, which moves on to the last.
pub(super) fn read_on(body: &[u8], head: &mut Head) -> std::io::Result<Vec<StoredEntry>> {
    each_line(body, |line| {
        head.advance(line);
        Ok(serde_json::from_slice(line)?)
    })
}

/// Reads a segment, whatever comes before it.
pub(super) fn read(body: &[u8]) -> std::io::Result<Vec<StoredEntry>> {
    each_line(body, |line| Ok(serde_json::from_slice(line)?))
}

fn each_line(
    body: &[u8],
    mut entry: impl FnMut(&[u8]) -> std::io::Result<StoredEntry>,
) -> std::io::Result<Vec<StoredEntry>> {
    let mut lines = Vec::new();
    zstd::stream::read::Decoder::new(body)?.take(MOST).read_to_end(&mut lines)?;
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(&mut entry).collect()
}
