//! `ListCoverage`: the images that Inspector scans, and the status of their latest scans.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::filter::{self, FieldValue, text};
use crate::clock::{epoch_seconds, saturating_sub};
use crate::operations::{Request, add_use};
use crate::wire::{OperationResult, Paging};
use crate::world::{Coverage, Image, ImageStatus, Progress, Repository, ScanFrequency, ScanType, World};

pub(crate) fn handle(request: &mut Request<'_>) -> OperationResult {
    let (world, input) = (&*request.world, request.input);
    let size = input.max_results(1..=200, 200)?;
    let criteria = input.object("filterCriteria")?.unwrap_or_default();
    let mut rows = Vec::new();
    for repository in world.repositories() {
        for image in repository.images().filter(|image| image.manifest.scannable) {
            let Some(covered) = find_coverage(world, repository, image) else { continue };
            if filter::matches(&criteria, |name| covered.field(name))? {
                rows.push(covered.to_json());
            }
        }
    }
    let (range, next) = Paging::from_input(input, "coverage", size, request.paging_fault)?.page(rows.len());
    let page = rows.get(range).unwrap_or_default();
    let mut body = json!({"coveredResources": page});
    if let (Some(next), Some(members)) = (next, body.as_object_mut()) {
        members.insert("nextToken".into(), next.into());
    }
    Ok(body)
}

struct CoveredImage<'a> {
    world: &'a World,
    repository: &'a Repository,
    image: &'a Image,
    code: String,
    reason: String,
    scan_time: Option<Timestamp>,
}

/// The coverage of an image; `None` if Inspector does not list it.
fn find_coverage<'a>(world: &'a World, repository: &'a Repository, image: &'a Image) -> Option<CoveredImage<'a>> {
    let (code, reason, scan_time) = match &image.scan.script.coverage {
        Coverage::Absent => return None,
        Coverage::Explicit { code, reason, scanned_ago } => {
            (code.clone(), reason.clone(), scanned_ago.map(|ago| saturating_sub(world.now(), ago)))
        }
        Coverage::Auto => {
            let (active, reason, scan_time) = coverage_from_scan(world, repository, image)?;
            (if active { "ACTIVE" } else { "INACTIVE" }.to_owned(), reason.to_owned(), scan_time)
        }
    };
    Some(CoveredImage { world, repository, image, code, reason, scan_time })
}

/// Derives coverage from the scan: true if it is active, its reason, and the time of the latest scan.
fn coverage_from_scan(
    world: &World,
    repository: &Repository,
    image: &Image,
) -> Option<(bool, &'static str, Option<Timestamp>)> {
    if world.scanning().scan_type != ScanType::Enhanced {
        return None;
    }
    if image.status() == ImageStatus::Archived {
        return Some((false, "IMAGE_ARCHIVED", None));
    }
    let frequency = world.effective_scanning(repository).frequency;
    if frequency == ScanFrequency::Manual {
        return Some((false, "SCAN_FREQUENCY_MANUAL", None));
    }
    match image.scan.progress(ScanType::Enhanced, world.now()) {
        Progress::NotFound => None,
        Progress::Running => Some((true, "PENDING_INITIAL_SCAN", None)),
        Progress::Premature => Some((true, "SCAN_IN_PROGRESS", None)),
        // Open: live accounts are reported to answer with either code. A script can answer with ACTIVE.
        Progress::Ended { at, .. } if frequency == ScanFrequency::OnPush => {
            Some((false, "SCAN_FREQUENCY_SCAN_ON_PUSH", Some(at)))
        }
        Progress::Ended { at, .. } => Some((true, "SUCCESSFUL", Some(at))),
        Progress::Stopped { at, status, .. } => Some((false, inactive_reason(status), Some(at))),
    }
}

fn inactive_reason(status: &str) -> &'static str {
    match status {
        "SCAN_ELIGIBILITY_EXPIRED" => "SCAN_ELIGIBILITY_EXPIRED",
        "UNSUPPORTED_IMAGE" => "UNSUPPORTED_OS",
        "IMAGE_ARCHIVED" => "IMAGE_ARCHIVED",
        "IMAGE_SIZE_EXCEEDED" => "IMAGE_SIZE_EXCEEDED",
        "LIMIT_EXCEEDED" => "STORAGE_LIMIT_EXCEEDED",
        _ => "INTERNAL_ERROR",
    }
}

impl CoveredImage<'_> {
    fn resource_id(&self) -> String {
        format!("{}/{}", self.world.repository_arn(self.repository.name()), self.image.digest())
    }

    fn tags(&self) -> Vec<String> {
        self.repository.tags_of(self.image.digest()).map(str::to_owned).collect()
    }

    fn field(&self, name: &str) -> FieldValue {
        match name {
            "resourceId" => text(self.resource_id()),
            "resourceType" => text("AWS_ECR_CONTAINER_IMAGE"),
            "accountId" => text(self.world.account()),
            "scanType" => text("PACKAGE"),
            "ecrRepositoryName" => text(self.repository.name()),
            "ecrImageTags" => FieldValue::Texts(self.tags()),
            "scanStatusCode" => text(&self.code),
            "scanStatusReason" => text(&self.reason),
            "lastScannedAt" => FieldValue::Time(self.scan_time),
            "imagePulledAt" => FieldValue::Time(self.image.pull_time()),
            _ => FieldValue::Unsupported,
        }
    }

    fn to_json(&self) -> Value {
        let frequency = self.world.effective_scanning(self.repository).frequency;
        let mut row = json!({
            "resourceType": "AWS_ECR_CONTAINER_IMAGE", "resourceId": self.resource_id(),
            "accountId": self.world.account(), "scanType": "PACKAGE",
            "scanStatus": {"statusCode": self.code, "reason": self.reason},
            "resourceMetadata": {
                "ecrImage": {"tags": self.tags()},
                "ecrRepository": {"name": self.repository.name(), "scanFrequency": frequency.as_str()},
            },
        });
        add_use(&mut row, "/resourceMetadata/ecrImage", self.image);
        if let Some(scan_time) = self.scan_time {
            crate::findings::set_pointer(&mut row, "/lastScannedAt", epoch_seconds(scan_time));
        }
        if let Some(pull_time) = self.image.pull_time() {
            crate::findings::set_pointer(
                &mut row,
                "/resourceMetadata/ecrImage/imagePulledAt",
                epoch_seconds(pull_time),
            );
        }
        row
    }
}
