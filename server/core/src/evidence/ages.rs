//! The ages of a scan and of its vulnerability data, and the limits of policies on them.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    assessment::{Evidence, Shortfall},
    checks::{is_clean_enhanced, scan_again},
    window::UNRENEWED_AGE,
};
use crate::scan::{Frequency, Scan, ScanType, Status};

/// The parts of a policy's requirements that concern ages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// The maximum age of any scan; `None`: no limit.
    pub max_scan_age: Option<SignedDuration>,
    /// The maximum age of a basic scan; `None`: no limit of its own.
    pub max_basic_scan_age: Option<SignedDuration>,
    /// The maximum age of the vulnerability data; `None`: no limit.
    pub max_source_age: Option<SignedDuration>,
    /// True if the policy waits for a running scan, and so does not judge the result that it replaces.
    pub awaits_running_scan: bool,
}

/// The times that a scan's ages count from; `None`: unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ages {
    /// The start of the scan's age: its completion. For continuous scanning, the last time at which ECR reports it as
    /// current; for an empty enhanced result, Inspector's `lastScannedAt`.
    pub as_of_time: Option<Timestamp>,
    /// The time of the vulnerability data, `vulnerabilitySourceUpdatedAt`. For an empty enhanced result, the later of it
    /// and Inspector's `lastScannedAt`.
    pub source_update_time: Option<Timestamp>,
    /// True for a basic scan.
    is_basic: bool,
    /// True for an enhanced scan on push, which is never repeated.
    is_unrenewable: bool,
    /// True if ECR reports a result, or a status that only a scan with a result can have.
    has_result: bool,
}

impl Ages {
    pub(super) fn new(scan: &Scan) -> Self {
        let report = scan.report.as_ref();
        let complete_time = report.and_then(|report| report.complete_time);
        let source = report.and_then(|report| report.source_update_time);
        let (as_of_time, source_update_time) = if is_clean_enhanced(scan) {
            // The times in ECR's report prove nothing here; Inspector's do.
            let last_scan_time = scan.coverage.as_ref().and_then(|coverage| coverage.last_scan_time);
            (last_scan_time, source.max(last_scan_time))
        } else if scan.scan_type == ScanType::Enhanced && scan.status == Status::Active {
            (complete_time.map(|at| source.map_or(at, |source| source.max(at))), source)
        } else {
            (complete_time, source)
        };
        Self {
            as_of_time,
            source_update_time,
            is_basic: scan.scan_type == ScanType::Basic,
            is_unrenewable: scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::ScanOnPush,
            has_result: report.is_some() || claims_result(&scan.status),
        }
    }

    /// Describes the times in one sentence; `None` if both are unknown.
    pub(crate) fn describe(&self) -> Option<String> {
        match (self.as_of_time, self.source_update_time) {
            (Some(as_of_time), Some(source)) => {
                Some(format!("the scan dates from {as_of_time}, its vulnerability data from {source}"))
            }
            (Some(as_of_time), None) => {
                Some(format!("the scan dates from {as_of_time}; ECR reports no time of its vulnerability data"))
            }
            (None, Some(source)) => {
                Some(format!("ECR reports no time of the scan; its vulnerability data dates from {source}"))
            }
            (None, None) => None,
        }
    }

    /// Returns the instants at which a limit of a policy begins to be exceeded.
    pub(crate) fn stale_from(&self, limits: Limits) -> impl Iterator<Item = Timestamp> {
        let limits = [(self.as_of_time, self.scan_limit(limits)), (self.source_update_time, limits.max_source_age)];
        limits.into_iter().filter_map(|(at, limit)| after(at?, limit?))
    }

    /// Returns the first instant at which a scan that cannot be renewed calls for a warning.
    pub(crate) fn unrenewed_from(&self) -> Option<Timestamp> {
        after(self.as_of_time.filter(|_| self.is_unrenewable)?, UNRENEWED_AGE)
    }

    /// The stricter of the limits on this scan's age.
    fn scan_limit(&self, limits: Limits) -> Option<SignedDuration> {
        let basic = limits.max_basic_scan_age.filter(|_| self.is_basic);
        limits.max_scan_age.into_iter().chain(basic).min()
    }

    pub(super) fn shortfalls(&self, limits: Limits, now: Timestamp) -> impl Iterator<Item = Shortfall> {
        let scan = self.scan_limit(limits).and_then(|limit| self.stale_scan(limit, now));
        let source = limits.max_source_age.and_then(|limit| self.stale_source(limit, now));
        scan.into_iter().chain(source)
    }

    fn stale_scan(&self, limit: SignedDuration, now: Timestamp) -> Option<Shortfall> {
        let cause = match self.as_of_time {
            Some(at) if now.duration_since(at) > limit => {
                format!("the scan dates from {at} and exceeds the policy's maximum age of {limit:#}")
            }
            None if self.has_result => {
                format!("ECR reports no time of the scan, but the policy limits its age to {limit:#}")
            }
            Some(_) | None => return None,
        };
        Some(Shortfall::new(Evidence::Stale, cause, scan_again(self.is_basic)))
    }

    /// A new scan does not renew the time of the vulnerability data: only ECR and Inspector do.
    fn stale_source(&self, limit: SignedDuration, now: Timestamp) -> Option<Shortfall> {
        let cause = match self.source_update_time {
            Some(at) if now.duration_since(at) > limit => format!(
                "the vulnerability data of the scan dates from {at} and exceeds the policy's maximum age of {limit:#}"
            ),
            None if self.has_result => {
                format!("ECR reports no time of the vulnerability data, but the policy limits its age to {limit:#}")
            }
            Some(_) | None => return None,
        };
        let step = "AWS alone renews that data: retry later, or raise or remove max_source_age";
        Some(Shortfall { outlasts_scans: true, ..Shortfall::new(Evidence::Stale, cause, step) })
    }
}

/// True for the status of a scan that once had a result, although ECR may no longer return it.
fn claims_result(status: &Status) -> bool {
    match status {
        Status::Complete
        | Status::Active
        | Status::ScanEligibilityExpired
        | Status::FindingsUnavailable
        | Status::ImageArchived => true,
        Status::NotFound
        | Status::InProgress
        | Status::Pending
        | Status::Failed
        | Status::UnsupportedImage
        | Status::LimitExceeded
        | Status::ImageSizeExceeded
        | Status::Unrecognised(_) => false,
    }
}

/// Returns the first instant at which more than `limit` has passed.
fn after(at: Timestamp, limit: SignedDuration) -> Option<Timestamp> {
    at.checked_add(limit).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()
}
