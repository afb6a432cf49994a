//! Inspector's coverage as the proof that an image without findings was scanned.

use jiff::Timestamp;

use crate::scan::{Frequency, Scan};

/// The conclusion from Inspector's coverage.
pub(super) enum Proof {
    /// Inspector scanned the image at this instant.
    ScannedAt(Timestamp),
    /// A scan is running or about to run, for this reason.
    Pending(&'static str),
    /// No proof: the cause, and the next step.
    Missing(String, &'static str),
}

const SUCCESSFUL: &str = "SUCCESSFUL";
const SCAN_ON_PUSH: &str = "SCAN_FREQUENCY_SCAN_ON_PUSH";
/// The reasons of a scan to come, whatever the status code.
const PENDING: [&str; 3] = ["PENDING_INITIAL_SCAN", "SCAN_IN_PROGRESS", "PENDING_REVIVAL_SCAN"];

const PUSH_AGAIN: &str = "push the image again, and check that enhanced scanning covers its repository";

/// Draws the conclusion from the coverage of an empty enhanced result.
pub(super) fn proof(scan: &Scan) -> Proof {
    let Some(coverage) = &scan.coverage else {
        return Proof::Missing("Inspector's coverage does not list the image".to_owned(), PUSH_AGAIN);
    };
    let reason = coverage.reason.as_str();
    if let Some(pending) = PENDING.into_iter().find(|pending| *pending == reason) {
        return Proof::Pending(pending);
    }
    let proves = match reason {
        // The frequency is the proof. Live accounts return this reason with either status code.
        SCAN_ON_PUSH => scan.frequency == Frequency::ScanOnPush,
        SUCCESSFUL => coverage.active,
        _ => false,
    };
    match coverage.last_scan_time {
        Some(at) if proves => Proof::ScannedAt(at),
        None if proves => {
            let cause = "Inspector's coverage reports no scan time for the image".to_owned();
            Proof::Missing(cause, PUSH_AGAIN)
        }
        Some(_) | None => {
            let code = if coverage.active { "ACTIVE" } else { "INACTIVE" };
            Proof::Missing(format!("Inspector's coverage reports {code} {reason}"), next_step(reason))
        }
    }
}

fn next_step(reason: &str) -> &'static str {
    match reason {
        "UNSUPPORTED_OS" => "use a base image with an operating system that Inspector supports",
        "UNSUPPORTED_MEDIA_TYPE" | "INVALID_ARTIFACT" => "push a container image that Inspector can scan",
        "IMAGE_SIZE_EXCEEDED" | "STORAGE_LIMIT_EXCEEDED" | "EXTRACTION_COLLECTION_TIME_LIMIT_EXCEEDED" => {
            "make the image smaller and push it again"
        }
        "IMAGE_ARCHIVED" => "restore the image and scan it before deploying",
        "SCAN_ELIGIBILITY_EXPIRED" => "push the image again or extend the re-scan duration",
        "ACCESS_DENIED" | "ACCESS_DENIED_TO_ENCRYPTION_KEY" => {
            "let Inspector read the repository and its encryption key, and push the image again"
        }
        "INTERNAL_ERROR" => "wait for Inspector's next scan, or push the image again",
        SCAN_ON_PUSH => "the repository's frequency is no longer on push: push the image again",
        _ => PUSH_AGAIN,
    }
}
