//! Segments: the decisions of one commit, encoded as compressed lines of JSON, and the hash chain through them.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::decision_log::{AppendRequest, DecisionId, Hash, unreadable::if_readable};

/// Maximum uncompressed size of a segment, well above that of a full batch with the maximum number of labels.
const MAX_UNCOMPRESSED_BYTES: u64 = 512 * 1024 * 1024;

/// Maximum capacity of the buffer that the encoder keeps between segments.
const BUFFER_CAPACITY: usize = 1024 * 1024;

/// A decision of a segment, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredEntry {
    /// The time of the evaluation.
    #[serde(rename = "at")]
    pub(super) evaluate_time: Timestamp,
    /// The blob of its record.
    #[serde(rename = "case")]
    pub(super) record: Hash,
    /// The caller's name.
    #[serde(default)]
    pub(super) caller: String,
    /// The caller's labels.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// The id, the fingerprint and the window in seconds of its idempotency key.
    #[serde(default)]
    pub(super) request: Option<(String, String, i64)>,
    /// The decision that the key stood for before.
    #[serde(default)]
    pub(super) supersedes: Option<DecisionId>,
}

/// The parts of a [`StoredEntry`] that can be read, if it cannot be read as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct PartialEntry {
    /// The time of the evaluation.
    #[serde(rename = "at", deserialize_with = "if_readable")]
    pub(super) evaluate_time: Option<Timestamp>,
    /// The blob of its record.
    #[serde(rename = "case", deserialize_with = "if_readable")]
    pub(super) record: Option<Hash>,
    /// The caller's name.
    #[serde(deserialize_with = "if_readable")]
    pub(super) caller: Option<String>,
    /// The caller's labels.
    #[serde(deserialize_with = "if_readable")]
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// The cause for which it cannot be read as a whole.
    #[serde(skip)]
    pub(super) cause: String,
}

/// A stored segment as readers need it. Its hash is for verification only: a damaged one stops no reader.
#[derive(Clone, Debug)]
pub(super) struct SegmentBody {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) last_time: i64,
    pub(super) body: Vec<u8>,
}

impl SegmentBody {
    /// Decodes the decisions, each as far as it can be read. An error if their number is wrong: then their ids are unknown.
    pub(super) fn decode(&self) -> io::Result<Vec<Line>> {
        let lines = decode_lines(&self.body, |line| Ok(Line::parse(line)))?;
        let expected = self.last.saturating_sub(self.first).saturating_add(1);
        if u64::try_from(lines.len()).is_ok_and(|found| found == expected) {
            return Ok(lines);
        }
        let cause = format!("it contains {} decisions instead of {expected}", lines.len());
        Err(io::Error::new(io::ErrorKind::InvalidData, cause))
    }
}

/// A decision of a segment, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(StoredEntry),
    Partial(PartialEntry),
}

impl Line {
    /// A decision of which nothing can be read.
    pub(super) fn unreadable(cause: String) -> Self {
        Self::Partial(PartialEntry { cause, ..PartialEntry::default() })
    }

    fn parse(line: &[u8]) -> Self {
        match serde_json::from_slice(line) {
            Ok(entry) => Self::Whole(entry),
            Err(error) => {
                let readable: PartialEntry = serde_json::from_slice(line).unwrap_or_default();
                Self::Partial(PartialEntry { cause: error.to_string(), ..readable })
            }
        }
    }

    /// The blob of its record.
    pub(super) fn record(&self) -> Option<Hash> {
        match self {
            Self::Whole(entry) => Some(entry.record),
            Self::Partial(entry) => entry.record,
        }
    }

    /// The caller's name.
    pub(super) fn caller(&self) -> Option<&str> {
        match self {
            Self::Whole(entry) => Some(&entry.caller),
            Self::Partial(entry) => entry.caller.as_deref(),
        }
    }
}

/// A position in a chain: a sequence number, and the hash of all decisions up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) sequence: u64,
    pub(super) hash: Hash,
}

impl Head {
    /// The position before a writer's first decision. The hash depends on the name, so that an entry is valid in one chain only.
    pub(super) fn genesis(writer: &str) -> Self {
        Self { sequence: 0, hash: Hash(Sha256::digest(writer).into()) }
    }

    /// Advances by one decision. The hash covers the sequence number, so that a moved decision is detected.
    fn advance(&mut self, entry: &[u8]) {
        self.sequence = self.sequence.saturating_add(1);
        let sequence = self.sequence.to_be_bytes();
        self.hash =
            Hash(Sha256::new().chain_update(self.hash.0).chain_update(sequence).chain_update(entry).finalize().into());
    }
}

/// The borrowed form of a [`StoredEntry`], for encoding.
#[derive(Serialize)]
struct EntryRef<'a> {
    at: Timestamp,
    case: Hash,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<(&'a str, &'a str, i64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supersedes: Option<&'a DecisionId>,
}

impl<'a> From<&'a AppendRequest> for EntryRef<'a> {
    fn from(request: &'a AppendRequest) -> Self {
        Self {
            at: request.evaluate_time,
            case: request.record.blob.hash(),
            caller: Some(request.caller.as_str()).filter(|caller| !caller.is_empty()),
            labels: &request.labels,
            request: request
                .request_key
                .as_ref()
                .map(|key| (key.id.as_str(), key.fingerprint.as_str(), key.window.as_secs())),
            supersedes: request.supersedes.as_ref(),
        }
    }
}

/// An encoder of segments that reuses its buffer.
#[derive(Default)]
pub(super) struct SegmentEncoder {
    lines: Vec<u8>,
    compressor: zstd::bulk::Compressor<'static>,
}

impl SegmentEncoder {
    /// Encodes a segment, and advances `head` over its entries.
    pub(super) fn encode(&mut self, requests: &[&AppendRequest], head: &mut Head) -> io::Result<Vec<u8>> {
        self.lines.clear();
        for request in requests {
            let start = self.lines.len();
            serde_json::to_writer(&mut self.lines, &EntryRef::from(*request))?;
            head.advance(self.lines.get(start..).unwrap_or_default());
            self.lines.push(b'\n');
        }
        self.compressor.set_compression_level(1)?;
        let body = self.compressor.compress(&self.lines);
        self.lines.shrink_to(BUFFER_CAPACITY);
        body
    }
}

/// Decodes a segment, and advances `head` over its entries.
pub(super) fn decode_chained(body: &[u8], head: &mut Head) -> io::Result<Vec<StoredEntry>> {
    decode_lines(body, |line| {
        head.advance(line);
        Ok(serde_json::from_slice(line)?)
    })
}

fn decode_lines<T>(body: &[u8], mut entry: impl FnMut(&[u8]) -> io::Result<T>) -> io::Result<Vec<T>> {
    let mut lines = Vec::new();
    zstd::stream::read::Decoder::new(body)?.take(MAX_UNCOMPRESSED_BYTES).read_to_end(&mut lines)?;
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(&mut entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_entry_is_read_in_part() {
        let hash = Hash([7; 32]);
        let entry = format!(r#"{{"at":"2026-03-01T12:00:00Z","case":"{hash}","labels":{{"a":"b"}}"#);
        let lines = format!("{entry}}}\n{entry},\"signature\":\"ci\"}}\n{{\"at\":7}}\nnot JSON\n");
        let body = zstd::bulk::compress(lines.as_bytes(), 1).unwrap();
        let segment = SegmentBody { first: 7, last: 10, last_time: 0, body };

        let decoded = segment.decode().unwrap();

        assert!(matches!(decoded[0], Line::Whole(_)));
        let partial: Vec<&PartialEntry> = decoded
            .iter()
            .filter_map(|line| match line {
                Line::Partial(entry) => Some(entry),
                Line::Whole(_) => None,
            })
            .collect();
        assert_eq!((partial.len(), partial[0].record), (3, Some(hash)));
        assert!(partial[0].evaluate_time.is_some() && partial[0].labels.is_some());
        assert!(partial[0].cause.contains("signature"), "{}", partial[0].cause);
        assert_eq!((partial[1].evaluate_time, partial[2].record), (None, None));
    }
}
