//! `ListCoverage`: which images Inspector scans, and how the latest scan went.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::filter::{self, Fact, text};
use crate::clock::{earlier, epoch};
use crate::ops::Request;
use crate::wire::{Answer, Paging};
use crate::world::{Coverage, Image, ImageStatus, Progress, Repository, ScanFrequency, ScanType, World};

pub(crate) fn answer(request: &mut Request<'_>) -> Answer {
    let (world, input) = (&*request.world, request.input);
    let size = input.max_results(1..=200, 200)?;
    let criteria = input.object("filterCriteria")?.unwrap_or_default();
    let mut rows = Vec::new();
    for repository in world.repositories() {
        for image in repository.images().filter(|image| image.manifest.scannable) {
            let Some(covered) = covered(world, repository, image) else { continue };
            if filter::passes(&criteria, |name| covered.fact(name))? {
                rows.push(covered.to_json());
            }
        }
    }
    let (range, next) = Paging::read(input, "coverage", size, request.twist)?.of(rows.len());
    let page = rows.get(range).unwrap_or_default();
    let mut body = json!({"coveredResources": page});
    if let (Some(next), Some(members)) = (next, body.as_object_mut()) {
        members.insert("nextToken".into(), next.into());
    }
    Ok(body)
}

/// A covered image.
struct Covered<'a> {
    world: &'a World,
    repository: &'a Repository,
    image: &'a Image,
    code: String,
    reason: String,
    scanned_at: Option<Timestamp>,
}

fn covered<'a>(world: &'a World, repository: &'a Repository, image: &'a Image) -> Option<Covered<'a>> {
    let (code, reason, scanned_at) = match &image.scan.script.coverage {
        Coverage::Absent => return None,
        Coverage::Says { code, reason, scanned_ago } => {
            (code.clone(), reason.clone(), scanned_ago.map(|ago| earlier(world.now(), ago)))
        }
        Coverage::Auto => {
            let (active, reason, scanned_at) = of_scan(world, repository, image)?;
            (if active { "ACTIVE" } else { "INACTIVE" }.to_owned(), reason.to_owned(), scanned_at)
        }
    };
    Some(Covered { world, repository, image, code, reason, scanned_at })
}

/// What follows from the scan: whether coverage is active, why, and when the image was last scanned.
fn of_scan(world: &World, repository: &Repository, image: &Image) -> Option<(bool, &'static str, Option<Timestamp>)> {
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
        Progress::Ended { at, .. } if frequency == ScanFrequency::OnPush => {
            Some((true, "SCAN_FREQUENCY_SCAN_ON_PUSH", Some(at)))
        }
        Progress::Ended { at, .. } => Some((true, "SUCCESSFUL", Some(at))),
        Progress::Stopped { at, status, .. } => Some((false, reason_of(status), Some(at))),
    }
}

fn reason_of(status: &str) -> &'static str {
    match status {
        "SCAN_ELIGIBILITY_EXPIRED" => "SCAN_ELIGIBILITY_EXPIRED",
        "UNSUPPORTED_IMAGE" => "UNSUPPORTED_OS",
        "IMAGE_ARCHIVED" => "IMAGE_ARCHIVED",
        "IMAGE_SIZE_EXCEEDED" => "IMAGE_SIZE_EXCEEDED",
        "LIMIT_EXCEEDED" => "STORAGE_LIMIT_EXCEEDED",
        _ => "INTERNAL_ERROR",
    }
}

impl Covered<'_> {
    fn resource_id(&self) -> String {
        format!("{}/{}", self.world.repository_arn(self.repository.name()), self.image.digest())
    }

    fn tags(&self) -> Vec<String> {
        self.repository.tags_of(self.image.digest()).map(str::to_owned).collect()
    }

    fn fact(&self, name: &str) -> Fact {
        match name {
            "resourceId" => text(self.resource_id()),
            "resourceType" => text("AWS_ECR_CONTAINER_IMAGE"),
            "accountId" => text(self.world.account()),
            "scanType" => text("PACKAGE"),
            "ecrRepositoryName" => text(self.repository.name()),
            "ecrImageTags" => Fact::Texts(self.tags()),
            "scanStatusCode" => text(&self.code),
            "scanStatusReason" => text(&self.reason),
            "lastScannedAt" => Fact::Time(self.scanned_at),
            "imagePulledAt" => Fact::Time(self.image.pulled_at()),
            _ => Fact::Unknown,
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
        if let Some(scanned_at) = self.scanned_at {
            crate::findings::set(&mut row, "/lastScannedAt", epoch(scanned_at));
        }
        if let Some(pulled_at) = self.image.pulled_at() {
            crate::findings::set(&mut row, "/resourceMetadata/ecrImage/imagePulledAt", epoch(pulled_at));
        }
        row
    }
}
