//! A scan in cached form: its findings are compressed JSON, decoded for as long as a reader holds them.
//!
//! Each scan is encoded on its own, so its size is known when it is cached and never changes.

use std::{
    io,
    sync::{Arc, Weak},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use scangate_core::{finding::Finding, scan::Scan};
use tokio::sync::Mutex as AsyncMutex;

use super::memory;
use crate::registry::{Error, Source};

/// The zstd level. ADR 7 has the size and the time of the levels around it.
const LEVEL: i32 = 3;
/// The maximum size of a scan's findings as JSON: beyond the most findings that are read of one manifest.
pub(super) const MAX_JSON_BYTES: usize = 256 * 1024 * 1024;

/// A scan with encoded findings.
#[derive(Debug)]
pub(super) struct EncodedScan {
    /// The scan without its findings.
    outline: Scan,
    /// `None`: the report has no list of findings.
    findings: Option<EncodedFindings>,
    /// Shared by concurrent readers, so that they get the same scan.
    decoded: Mutex<Weak<Scan>>,
    /// Held while a reader decodes the scan for all.
    decoding: AsyncMutex<()>,
}

/// Findings as JSON, compressed with a checksum. Equal findings have equal bytes.
#[derive(Debug, PartialEq, Eq)]
struct EncodedFindings {
    compressed: Box<[u8]>,
    /// The size of the JSON in bytes. Decoding allocates no more.
    json_bytes: usize,
}

impl EncodedFindings {
    /// Encodes findings; `None` if their JSON exceeds a size.
    fn encode(findings: &[Finding], max_json_bytes: usize) -> Result<Option<Self>, Error> {
        let mut json = BoundedJson { bytes: Vec::new(), limit: max_json_bytes };
        match serde_json::to_writer(&mut json, findings) {
            Ok(()) => {}
            Err(full) if full.is_io() => return Ok(None),
            Err(error) => return Err(damaged(error.into())),
        }
        let compressed = compress(&json.bytes).map_err(damaged)?.into_boxed_slice();
        Ok(Some(Self { compressed, json_bytes: json.bytes.len() }))
    }

    fn decode(&self) -> io::Result<Vec<Finding>> {
        let json = zstd::bulk::decompress(&self.compressed, self.json_bytes)?;
        Ok(serde_json::from_slice(&json)?)
    }
}

impl EncodedScan {
    /// Encodes a scan; `None` if the JSON of its findings exceeds a size.
    pub(super) fn new(scan: &Scan, max_json_bytes: usize) -> Result<Option<Self>, Error> {
        let findings = match scan.report.as_ref().and_then(|report| report.findings.as_deref()) {
            Some(findings) => match EncodedFindings::encode(findings, max_json_bytes)? {
                None => return Ok(None),
                encoded => encoded,
            },
            None => None,
        };
        let (outline, decoded, decoding) = (scan.without_findings(), Mutex::default(), AsyncMutex::default());
        Ok(Some(Self { outline, findings, decoded, decoding }))
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

    /// Returns the size of the findings as JSON, in bytes.
    pub(super) fn json_bytes(&self) -> usize {
        self.findings.as_ref().map_or(0, |findings| findings.json_bytes)
    }

    /// Returns the scan that a reader has decoded and still holds.
    pub(super) fn decoded(&self) -> Option<Arc<Scan>> {
        self.decoded.lock().upgrade()
    }

    /// Returns the decoded scan. Of concurrent callers, one decodes it, on its async worker.
    pub(super) async fn decode_once(&self) -> Result<Arc<Scan>, Error> {
        if let Some(scan) = self.decoded() {
            return Ok(scan);
        }
        let _first = self.decoding.lock().await;
        self.decoded().map_or_else(|| self.decode(), Ok)
    }

    /// Decodes the scan; an error if its encoding is damaged.
    pub(super) fn decode(&self) -> Result<Arc<Scan>, Error> {
        let findings = self.findings.as_ref().map(EncodedFindings::decode).transpose().map_err(damaged)?;
        let mut scan = self.outline.clone();
        if let Some(report) = &mut scan.report {
            report.findings = findings;
        }
        let scan = Arc::new(scan);
        *self.decoded.lock() = Arc::downgrade(&scan);
        Ok(scan)
    }
}

/// JSON up to a size.
struct BoundedJson {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for BoundedJson {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress(json: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(json)
}

pub(super) fn damaged(error: io::Error) -> Error {
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

    pub(in crate::registry::cache) fn intact_scan() -> EncodedScan {
        EncodedScan::new(&scan(), MAX_JSON_BYTES).unwrap().unwrap()
    }

    /// Returns an encoded scan of which one byte is flipped.
    pub(in crate::registry::cache) fn damaged_scan() -> EncodedScan {
        let mut encoded = intact_scan();
        let compressed = &mut encoded.findings.as_mut().unwrap().compressed;
        let middle = compressed.len() / 2;
        compressed[middle] ^= 1;
        encoded
    }

    #[test]
    fn any_damaged_byte_is_detected() {
        let intact = intact_scan().findings.unwrap();
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
        let intact = intact_scan().findings.unwrap();
        for length in 0..intact.compressed.len() {
            let truncated = EncodedFindings { compressed: intact.compressed[..length].into(), ..intact };

            assert!(truncated.decode().is_err(), "{length} bytes");
        }
    }

    #[test]
    fn oversized_content_is_an_error() {
        let intact = intact_scan().findings.unwrap();
        let json_bytes = intact.json_bytes - 1;

        assert!(EncodedFindings { json_bytes, ..intact }.decode().is_err());
    }

    #[test]
    fn scan_beyond_the_size_is_not_encoded() {
        let json_bytes = intact_scan().json_bytes();

        assert!(EncodedScan::new(&scan(), json_bytes).unwrap().is_some());
        assert!(EncodedScan::new(&scan(), json_bytes - 1).unwrap().is_none());
    }

    #[test]
    fn damaged_scan_is_an_error() {
        assert!(matches!(damaged_scan().decode(), Err(Error::DamagedCache(_))));
    }
}
