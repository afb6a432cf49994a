//! `DescribeImageScanFindings`: the status and findings of an image's scan, the main input of a gate.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Request, enhanced_finding, is_own_registry, require_image, require_repository, response_image_id, sparse_object,
};
use crate::clock::{epoch_seconds, saturating_sub};
use crate::findings::{BasicFinding, Findings};
use crate::wire::{Error, OperationResult, Paging};
use crate::world::{Image, ImageStatus, Progress, Repository, ScanFrequency, ScanScript, ScanType, World};

/// The limit of findings on an enhanced page, whatever the request's `maxResults`.
const MAX_ENHANCED_PAGE_SIZE: usize = 100;

const COMPLETE_DESCRIPTION: &str = "The scan was completed successfully.";

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let (world, input) = (&*request.world, request.input);
    let scan_type = world.scanning().scan_type;
    let id = input.image_id()?;
    let max_results = input.max_results(1..=1000, 100)?;
    if scan_type == ScanType::Enhanced && !is_own_registry(world, input)? {
        // ECR returns this error for another account's enhanced findings, whatever the caller's permissions.
        let registry = input.string("registryId")?.unwrap_or_default();
        return Err(Error::scan_not_found(&id, input.repository_name()?, registry));
    }
    let repository = require_repository(world, input)?;
    let image = require_image(world, repository, &id)?;
    let size = if scan_type == ScanType::Enhanced { max_results.min(MAX_ENHANCED_PAGE_SIZE) } else { max_results };
    let paging = Paging::from_input(input, image.digest(), size, request.paging_fault)?;
    let view = scan_view(world, repository, image, &paging)
        .ok_or_else(|| Error::scan_not_found(&id, repository.name(), world.account()))?;
    Ok(sparse_object([
        ("registryId", Some(json!(world.account()))),
        ("repositoryName", Some(json!(repository.name()))),
        ("imageId", Some(response_image_id(&id, image))),
        ("imageScanStatus", Some(sparse_object([("status", Some(view.status)), ("description", view.description)]))),
        ("imageScanFindings", view.findings),
        ("nextToken", view.next.map(Value::from)),
    ]))
}

/// The members of a response that come from the scan.
struct ScanView {
    status: Value,
    description: Option<Value>,
    findings: Option<Value>,
    next: Option<String>,
}

impl ScanView {
    fn new(status: &str, description: Option<&str>, findings: Option<Value>) -> Self {
        Self { status: status.into(), description: description.map(Value::from), findings, next: None }
    }

    /// Applies the script's overrides of status and description to an ended scan.
    fn with_overrides(mut self, script: &ScanScript) -> Self {
        if let Some(status) = &script.status {
            self.status = json!(status);
            self.description = None;
        }
        if let Some(description) = &script.description {
            self.description = Some(json!(description));
        }
        self
    }
}

/// Returns `None` if the image has no scan that a read can see.
fn scan_view(world: &World, repository: &Repository, image: &Image, paging: &Paging) -> Option<ScanView> {
    let scan_type = world.scanning().scan_type;
    let frequency = world.effective_scanning(repository).frequency;
    if image.status() == ImageStatus::Archived {
        return Some(ScanView::new("IMAGE_ARCHIVED", Some("The image is archived."), None));
    }
    if scan_type == ScanType::Enhanced && frequency == ScanFrequency::Manual {
        // No filter matches: the repository is not scanned, and earlier findings are not accessible.
        return None;
    }
    let script = &image.scan.script;
    let view = match image.scan.progress(scan_type, world.now()) {
        Progress::NotFound => return None,
        Progress::Running => return Some(running_view(scan_type)),
        Progress::Premature => {
            let no_findings = json!({"findings": []});
            return Some(ScanView::new("COMPLETE", Some(COMPLETE_DESCRIPTION), Some(no_findings)));
        }
        Progress::Stopped { status, description, .. } => ScanView::new(status, description, None),
        Progress::Ended { at, findings } if scan_type == ScanType::Basic => {
            let (body, next) = basic_page(findings, at, saturating_sub(at, script.source_age), paging);
            ScanView { next, ..ScanView::new("COMPLETE", Some(COMPLETE_DESCRIPTION), Some(body)) }
        }
        Progress::Ended { at, findings } => {
            let (body, next) = enhanced_page(world, repository, image, findings, at, paging);
            let (status, text) = match frequency {
                ScanFrequency::Continuous => ("ACTIVE", "Continuous scan is selected for image."),
                ScanFrequency::OnPush | ScanFrequency::Manual => ("COMPLETE", COMPLETE_DESCRIPTION),
            };
            ScanView { next, ..ScanView::new(status, Some(text), Some(body)) }
        }
    };
    Some(view.with_overrides(script))
}

fn running_view(scan_type: ScanType) -> ScanView {
    match scan_type {
        ScanType::Basic => ScanView::new("IN_PROGRESS", None, Some(json!({"findings": []}))),
        ScanType::Enhanced => ScanView::new(
            "PENDING",
            Some("Pending start of the image scan."),
            Some(json!({"findings": [], "enhancedFindings": []})),
        ),
    }
}

/// The findings of a basic scan, and the next page's token. A clean scan has empty counts; the counts on every page
/// cover the whole image.
fn basic_page(findings: &Findings, at: Timestamp, source: Timestamp, paging: &Paging) -> (Value, Option<String>) {
    let (all, counts) = match findings {
        Findings::Basic(all) => (all.as_ref(), findings.severity_counts()),
        // A basic scan does not report findings of enhanced scanning.
        Findings::Clean | Findings::Enhanced(_) => (<&[BasicFinding]>::default(), BTreeMap::new()),
    };
    let (range, next) = paging.page(all.len());
    let page: Vec<&Value> = all.get(range).unwrap_or_default().iter().map(BasicFinding::body).collect();
    let body = json!({
        "findings": page, "imageScanCompletedAt": epoch_seconds(at), "vulnerabilitySourceUpdatedAt": epoch_seconds(source),
        "findingSeverityCounts": counts,
    });
    (body, next)
}

/// The findings of an enhanced scan, and the next page's token. The times come from the findings: a clean scan has
/// neither times nor counts.
fn enhanced_page(
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
    let (range, next) = paging.page(all.len());
    let page: Vec<Value> = all
        .get(range)
        .unwrap_or_default()
        .iter()
        .map(|finding| enhanced_finding::to_json(finding, world, repository, image, at))
        .collect();
    let mut body = Map::new();
    body.insert("enhancedFindings".into(), page.into());
    body.insert("imageScanCompletedAt".into(), epoch_seconds(at));
    body.insert("vulnerabilitySourceUpdatedAt".into(), epoch_seconds(at));
    body.insert("findingSeverityCounts".into(), json!(findings.severity_counts()));
    (body.into(), next)
}
