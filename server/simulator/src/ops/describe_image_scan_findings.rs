//! `DescribeImageScanFindings`: the read that everything turns on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Request, answered_id, enhanced_view, image, object, own_registry, repository};
use crate::clock::{earlier, epoch};
use crate::findings::{BasicFinding, Findings};
use crate::wire::{Answer, Error, Paging};
use crate::world::{Image, ImageStatus, Progress, Repository, ScanFrequency, ScanType, World};

/// Enhanced answers have at most so many findings a page, whatever is asked for.
const ENHANCED_PAGE: usize = 100;

const COMPLETE: &str = "The scan was completed successfully.";

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let (world, input) = (&*request.world, request.input);
    let scan_type = world.scanning().scan_type;
    let id = input.image_id()?;
    let asked = input.max_results(1..=1000, 100)?;
    if scan_type == ScanType::Enhanced && !own_registry(world, input)? {
        // Another account's enhanced findings look as if there were none, whatever the rights.
        let registry = input.string("registryId")?.unwrap_or_default();
        return Err(Error::scan_not_found(&id, input.repository_name()?, registry));
    }
    let repository = repository(world, input)?;
    let image = image(world, repository, &id)?;
    let size = if scan_type == ScanType::Enhanced { asked.min(ENHANCED_PAGE) } else { asked };
    let paging = Paging::read(input, image.digest(), size, request.twist)?;
    let view = view(world, repository, image, &paging)
        .ok_or_else(|| Error::scan_not_found(&id, repository.name(), world.account()))?;
    Ok(object([
        ("registryId", Some(json!(world.account()))),
        ("repositoryName", Some(json!(repository.name()))),
        ("imageId", Some(answered_id(&id, image))),
        ("imageScanStatus", Some(object([("status", Some(view.status)), ("description", view.description)]))),
        ("imageScanFindings", view.findings),
        ("nextToken", view.next.map(Value::from)),
    ]))
}

/// What a read shows of a scan.
struct View {
    status: Value,
    description: Option<Value>,
    findings: Option<Value>,
    next: Option<String>,
}

impl View {
    fn new(status: &str, description: Option<&str>, findings: Option<Value>) -> Self {
        Self { status: status.into(), description: description.map(Value::from), findings, next: None }
    }
}

fn view(world: &World, repository: &Repository, image: &Image, paging: &Paging) -> Option<View> {
    let scan_type = world.scanning().scan_type;
    let frequency = world.effective_scanning(repository).frequency;
    if image.status() == ImageStatus::Archived {
        return Some(View::new("IMAGE_ARCHIVED", Some("The image is archived."), None));
    }
    if scan_type == ScanType::Enhanced && frequency == ScanFrequency::Manual {
        // No filter matches: the repository is not scanned, and earlier findings are out of reach.
        return None;
    }
    let script = &image.scan.script;
    let mut view = match image.scan.progress(scan_type, world.now()) {
        Progress::NotFound => return None,
        Progress::Running => return Some(running(scan_type)),
        Progress::Premature => {
            return Some(View::new("COMPLETE", Some(COMPLETE), Some(json!({"findings": []}))));
        }
        Progress::Stopped { status, description, .. } => View::new(status, description, None),
        Progress::Ended { at, findings } if scan_type == ScanType::Basic => {
            let (body, next) = basic(findings, at, earlier(at, script.source_age), paging);
            View { next, ..View::new("COMPLETE", Some(COMPLETE), Some(body)) }
        }
        Progress::Ended { at, findings } => {
            let (body, next) = enhanced(world, repository, image, findings, at, paging);
            let (status, text) = match frequency {
                ScanFrequency::Continuous => ("ACTIVE", "Continuous scan is selected for image."),
                ScanFrequency::OnPush | ScanFrequency::Manual => ("COMPLETE", COMPLETE),
            };
            View { next, ..View::new(status, Some(text), Some(body)) }
        }
    };
    if let Some(status) = &script.status {
        view.status = json!(status);
        view.description = None;
    }
    if let Some(description) = &script.description {
        view.description = Some(json!(description));
    }
    Some(view)
}

fn running(scan_type: ScanType) -> View {
    match scan_type {
        ScanType::Basic => View::new("IN_PROGRESS", None, Some(json!({"findings": []}))),
        ScanType::Enhanced => View::new(
            "PENDING",
            Some("Pending start of the image scan."),
            Some(json!({"findings": [], "enhancedFindings": []})),
        ),
    }
}

/// A clean basic scan carries empty counts; counts are of the whole image, on every page.
fn basic(findings: &Findings, at: Timestamp, source: Timestamp, paging: &Paging) -> (Value, Option<String>) {
    let (all, counts) = match findings {
        Findings::Basic(all) => (all.as_ref(), findings.severity_counts()),
        // What only enhanced scanning finds, a basic scan of the same image does not.
        Findings::Clean | Findings::Enhanced(_) => (<&[BasicFinding]>::default(), BTreeMap::new()),
    };
    let (range, next) = paging.of(all.len());
    let page: Vec<&Value> = all.get(range).unwrap_or_default().iter().map(BasicFinding::body).collect();
    let body = json!({
        "findings": page, "imageScanCompletedAt": epoch(at), "vulnerabilitySourceUpdatedAt": epoch(source),
        "findingSeverityCounts": counts,
    });
    (body, next)
}

/// The times of an enhanced answer come from its findings: a clean one has neither times nor counts.
fn enhanced(
    world: &World,
    repository: &Repository,
    image: &Image,
    findings: &Findings,
    at: Timestamp,
    paging: &Paging,
) -> (Value, Option<String>) {
    let Findings::Enhanced(all) = findings else { return (json!({"findings": []}), None) };
    if all.is_empty() {
        return (json!({"findings": []}), None);
    }
    let (range, next) = paging.of(all.len());
    let page: Vec<Value> = all
        .get(range)
        .unwrap_or_default()
        .iter()
        .map(|finding| enhanced_view::of_image(finding, world, repository, image, at))
        .collect();
    let mut body = Map::new();
    body.insert("enhancedFindings".into(), page.into());
    body.insert("imageScanCompletedAt".into(), epoch(at));
    body.insert("vulnerabilitySourceUpdatedAt".into(), epoch(at));
    body.insert("findingSeverityCounts".into(), json!(findings.severity_counts()));
    (body.into(), next)
}
