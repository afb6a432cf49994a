//! The first known enhanced scan of each digest, stored longer than its readings: a rescan then opens no new settle time.

use std::time::Duration;

use jiff::Timestamp;
use moka::{policy::EvictionPolicy, sync::Cache};
use scangate_core::scan::{Scan, ScanType, Status};

use super::ScanKey;

/// The time for which a first scan is stored after the last reading of its digest.
const TTL: Duration = Duration::from_hours(24);
/// The maximum of stored first scans, a few hundred bytes each.
const MAX_FIRST_SCANS: u64 = 50_000;

/// The reasons in Inspector's coverage with which an image stays scanned. With any other one Inspector may have closed its
/// findings, and the next scan counts as its first.
const SCANNED: [&str; 3] = ["SUCCESSFUL", "SCAN_FREQUENCY_SCAN_ON_PUSH", "SCAN_IN_PROGRESS"];

/// The first scans by digest. A forgotten one costs one more settle time.
#[derive(Debug)]
pub(super) struct FirstScans {
    scans: Cache<ScanKey, Timestamp>,
}

impl Default for FirstScans {
    fn default() -> Self {
        let scans = Cache::builder()
            // The default policy would refuse new digests in favour of frequent ones.
            .eviction_policy(EvictionPolicy::lru())
            .max_capacity(MAX_FIRST_SCANS)
            .time_to_live(TTL)
            .build();
        Self { scans }
    }
}

impl FirstScans {
    /// Returns the earliest enhanced scan since the push that this reading and the ones before it show, and stores it. A scan
    /// from before the push was of an image that has been deleted, with its findings.
    pub(super) fn record(&self, key: &ScanKey, push_time: Option<Timestamp>, scan: &Scan) -> Option<Timestamp> {
        let is_scanned = is_scanned(scan);
        let known = self.scans.get(key).filter(|_| is_scanned);
        let first = known.into_iter().chain(scan_times(scan)).filter(|at| push_time.is_none_or(|pushed| *at >= pushed));
        let first = first.min();
        match first {
            Some(first) if is_scanned => self.scans.insert(key.clone(), first),
            Some(_) | None => self.scans.invalidate(key),
        }
        first
    }
}

/// The times of enhanced scans that a reading shows.
fn scan_times(scan: &Scan) -> impl Iterator<Item = Timestamp> {
    let coverage = scan.coverage.as_ref().and_then(|coverage| coverage.last_scan_time);
    // A result with findings also shows a scan. Of an empty result, ECR's own time proves none.
    let with_findings = scan.report.as_ref().filter(|_| !scan.findings().is_empty());
    let complete_time = with_findings.and_then(|report| report.complete_time);
    let times = [coverage, complete_time, scan.first_scan_time];
    times.into_iter().flatten().filter(|_| scan.scan_type == ScanType::Enhanced)
}

fn is_scanned(scan: &Scan) -> bool {
    scan.scan_type == ScanType::Enhanced
        && matches!(scan.status, Status::Active | Status::Complete)
        && scan.coverage.as_ref().is_none_or(|coverage| SCANNED.contains(&coverage.reason.as_str()))
}
