//! A scan in cached form: its findings are compressed JSON, decoded for as long as a reader holds them.
//!
//! Each scan is encoded on its own, so its size is known when it is cached and never changes.

use std::{
    io,
    sync::{Arc, Weak},
};

use jiff::Timestamp;
use scangate_core::{finding::Finding, scan::Scan};
use tokio::sync::Mutex;

use super::memory;
use crate::registry::{Error, Source};

/// The zstd level. ADR 7 has the size and the time of the levels around it.
const LEVEL: i32 = 3;
/// The maximum size of a scan's findings as JSON: beyond the most findings that are read of one manifest.
const MAX_JSON_BYTES: usize = 256 * 1024 * 1024;
/// The maximum size of findings as JSON that an async worker decodes, in milliseconds. A thread for blocking work decodes larger
/// ones.
const MAX_WORKER_JSON_BYTES: usize = 1024 * 1024;

/// A scan with encoded findings.
#[derive(Debug)]
pub(super) struct EncodedScan {
    /// The scan without its findings.
    outline: Scan,
    /// `None`: the report has no list of findings.
    findings: Option<EncodedFindings>,
    /// Shared by concurrent readers, so that they get the same scan.
    decoded: Mutex<Weak<Scan>>,
}

/// Findings as JSON, compressed with a checksum. Equal findings have equal bytes.
#[derive(Debug, PartialEq, Eq)]
struct EncodedFindings {
    compressed: Box<[u8]>,
    /// The size of the JSON in bytes. Decoding allocates no more.
    json_bytes: usize,
}

impl EncodedFindings {
    fn encode(findings: &[Finding]) -> Result<Self, Error> {
        let json = serde_json::to_vec(findings).map_err(|error| damaged(error.into()))?;
        if json.len() > MAX_JSON_BYTES {
            return Err(Error::TooComplex("findings that exceed 256 MiB as JSON".to_owned()));
        }
        let compressed = compress(&json).map_err(damaged)?.into_boxed_slice();
        Ok(Self { compressed, json_bytes: json.len() })
    }

    fn decode(&self) -> io::Result<Vec<Finding>> {
        let json = zstd::bulk::decompress(&self.compressed, self.json_bytes)?;
        Ok(serde_json::from_slice(&json)?)
    }
}

impl EncodedScan {
    /// Encodes a scan.
    pub(super) fn new(scan: &Scan) -> Result<Self, Error> {
        let findings = scan.report.as_ref().and_then(|report| report.findings.as_deref());
        let findings = findings.map(EncodedFindings::encode).transpose()?;
        Ok(Self { outline: scan.without_findings(), findings, decoded: Mutex::default() })
    }

    /// Returns the scan without its findings.
    pub(super) fn outline(&self) -> &Scan {
        &self.outline
    }

    /// Sets the time since which the scan is unchanged.
    pub(super) fn set_unchanged_since(&mut self, since: Timestamp) {
        self.outline.unchanged_since = since;
    }

    /// Sets the earliest known scan of the digest.
    pub(super) fn set_first_scan_time(&mut self, first: Option<Timestamp>) {
        self.outline.first_scan_time = first;
    }

    /// True if both scans have the same findings.
    pub(super) fn has_same_findings(&self, other: &Self) -> bool {
        self.findings == other.findings
    }

    /// Returns the estimated memory of the cached scan, in bytes.
    pub(super) fn bytes(&self) -> u32 {
        memory::size_of_scan(&self.outline, self.findings.as_ref().map(|findings| &*findings.compressed))
    }

    /// Returns the decoded scan; an error if its encoding is damaged.
    pub(super) async fn decode(self: &Arc<Self>) -> Result<Arc<Scan>, Error> {
        let mut decoded = self.decoded.lock().await;
        if let Some(scan) = decoded.upgrade() {
            return Ok(scan);
        }
        let is_large = self.findings.as_ref().is_some_and(|findings| findings.json_bytes > MAX_WORKER_JSON_BYTES);
        let scan = if is_large {
            let encoded = Arc::clone(self);
            let decoding = tokio::task::spawn_blocking(move || encoded.decode_blocking());
            decoding.await.map_err(|lost| damaged(io::Error::other(lost)))??
        } else {
            self.decode_blocking()?
        };
        let scan = Arc::new(scan);
        *decoded = Arc::downgrade(&scan);
        Ok(scan)
    }

    fn decode_blocking(&self) -> Result<Scan, Error> {
        let findings = self.findings.as_ref().map(EncodedFindings::decode).transpose().map_err(damaged)?;
        let mut scan = self.outline.clone();
        if let Some(report) = &mut scan.report {
            report.findings = findings;
        }
        Ok(scan)
    }
}

fn compress(json: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(json)
}

fn damaged(error: io::Error) -> Error {
    Error::DamagedCache(Source::new(error))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::registry::cache) fn scan() -> Scan {
        let finding = json!({
            "id": "CVE-2026-1", "package": {"name": "openssl", "version": "1.1.1"}, "severity": "HIGH",
            "description": "A flaw in a library allows an attacker to bypass the permission checks.",
        });
        let findings: Vec<_> = std::iter::repeat_n(finding, 3).collect();
        serde_json::from_value(json!({
            "read_time": "2026-11-28T12:00:00Z", "unchanged_since": "2026-11-28T12:00:00Z", "status": "COMPLETE",
            "scan_type": "BASIC", "frequency": "SCAN_ON_PUSH", "report": {"findings": findings},
        }))
        .unwrap()
    }

    /// Returns an encoded scan of which one byte is flipped.
    pub(in crate::registry::cache) fn damaged_scan() -> EncodedScan {
        let mut encoded = EncodedScan::new(&scan()).unwrap();
        let compressed = &mut encoded.findings.as_mut().unwrap().compressed;
        let middle = compressed.len() / 2;
        compressed[middle] ^= 1;
        encoded
    }

    #[test]
    fn any_damaged_byte_is_detected() {
        let intact = EncodedFindings::encode(scan().findings()).unwrap();
        for index in 0..intact.compressed.len() {
            for bit in 0..u8::BITS {
                let mut compressed = intact.compressed.clone();
                compressed[index] ^= 1 << bit;
                let damaged = EncodedFindings { compressed, ..intact };

                // A bit of the frame's header that zstd ignores may change nothing.
                let decoded = damaged.decode();

                assert!(decoded.as_ref().is_err() || decoded.is_ok_and(|list| list == scan().findings()), "{index}");
            }
        }
    }

    #[test]
    fn truncated_encoding_is_an_error() {
        let intact = EncodedFindings::encode(scan().findings()).unwrap();
        for length in 0..intact.compressed.len() {
            let truncated = EncodedFindings { compressed: intact.compressed[..length].into(), ..intact };

            assert!(truncated.decode().is_err(), "{length} bytes");
        }
    }

    #[test]
    fn oversized_content_is_an_error() {
        let intact = EncodedFindings::encode(scan().findings()).unwrap();
        let json_bytes = intact.json_bytes - 1;

        assert!(EncodedFindings { json_bytes, ..intact }.decode().is_err());
    }

    #[tokio::test]
    async fn damaged_scan_is_an_error() {
        assert!(matches!(Arc::new(damaged_scan()).decode().await, Err(Error::DamagedCache(_))));
    }
}
