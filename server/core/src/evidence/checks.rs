//! Checks that apply to every scan, whatever its status.

use super::assessment::{Assessment, Evidence};
use crate::scan::{Flaw, Frequency, Scan, ScanType};

/// The next step for a value that this version does not recognise.
pub(super) const UPDATE: &str = "check for an update of scan-gate";

/// Returns the gravest of the selected flaws. The variants of [`Flaw`] are in the order of gravity.
pub(super) fn flaw(scan: &Scan, selected: impl Fn(&&Flaw) -> bool) -> Option<Assessment> {
    scan.flaws.iter().filter(selected).min().map(|flaw| match flaw {
        Flaw::Mismatch(detail) => {
            Assessment::new(Evidence::Mismatch, format!("ECR returned data about another image: {detail}"))
        }
        Flaw::Malformed(detail) => {
            Assessment::new(Evidence::Malformed, format!("ECR's response contains impossible values: {detail}"))
        }
        Flaw::Incomplete(detail) => {
            Assessment::new(Evidence::Incomplete, format!("ECR's response is incomplete: {detail}"))
        }
    })
}

/// True if enhanced scanning is switched off for the repository.
pub(super) fn is_off(scan: &Scan) -> bool {
    scan.scan_type == ScanType::Enhanced && scan.frequency == Frequency::Manual
}

pub(super) fn not_covered() -> Assessment {
    Assessment::new(
        Evidence::NotCovered,
        "enhanced scanning is off for the repository: no scanning rule of the registry matches it; add one",
    )
}
