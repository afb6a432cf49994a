//! `ListFindings`: the same findings as in ECR, in Inspector's own form, with EPSS and exploit details.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::filter::{self, FieldValue};
use crate::findings::EnhancedFinding;
use crate::findings::Findings;
use crate::operations::{Request, enhanced_finding_to_json};
use crate::wire::{OperationResult, Paging};
use crate::world::{Image, Progress, Repository, ScanFrequency, ScanType, World};

pub(crate) fn handle(request: &mut Request<'_>) -> OperationResult {
    let (world, input) = (&*request.world, request.input);
    let size = input.max_results(1..=100, 100)?;
    let criteria = input.object("filterCriteria")?.unwrap_or_default();
    let mut rows = Vec::new();
    for finding in all_findings(world) {
        if filter::matches(&criteria, |name| field(&finding, name))? {
            rows.push(finding);
        }
    }
    let (range, next) = Paging::from_input(input, "findings", size, request.paging_fault)?.page(rows.len());
    let page = rows.get(range).unwrap_or_default();
    let mut body = json!({"findings": page});
    if let (Some(next), Some(members)) = (next, body.as_object_mut()) {
        members.insert("nextToken".into(), next.into());
    }
    Ok(body)
}

fn all_findings(world: &World) -> Vec<Value> {
    let mut findings = Vec::new();
    for_each_finding(world, |found| {
        findings.push(to_inspector_form(found.finding, found.to_ecr_json(world), world));
    });
    findings
}

/// A finding with its image.
pub(super) struct ImageFinding<'a> {
    pub(super) finding: &'a EnhancedFinding,
    pub(super) repository: &'a Repository,
    pub(super) image: &'a Image,
    at: Timestamp,
}

impl ImageFinding<'_> {
    pub(super) fn to_ecr_json(&self, world: &World) -> Value {
        enhanced_finding_to_json(self.finding, world, self.repository, self.image, self.at)
    }
}

/// Visits all findings of all images whose enhanced scan has ended.
pub(super) fn for_each_finding(world: &World, mut visit: impl FnMut(&ImageFinding<'_>)) {
    if world.scanning().scan_type != ScanType::Enhanced {
        return;
    }
    let is_scanned = |repository: &&Repository| world.effective_scanning(repository).frequency != ScanFrequency::Manual;
    for repository in world.repositories().filter(is_scanned) {
        for image in repository.images() {
            let progress = image.scan.progress(ScanType::Enhanced, world.now());
            if let Progress::Ended { at, findings: Findings::Enhanced(findings) } = progress {
                for finding in findings.iter() {
                    visit(&ImageFinding { finding, repository, image, at });
                }
            }
        }
    }
}

/// Converts ECR's form into Inspector's, which has other names for some members (`score` is `inspectorScore`).
fn to_inspector_form(finding: &EnhancedFinding, mut body: Value, world: &World) -> Value {
    let Some(members) = body.as_object_mut() else { return body };
    if let Some(score) = members.remove("score") {
        members.insert("inspectorScore".into(), score);
    }
    if let Some(details) = members.remove("scoreDetails") {
        let mut cvss = details.get("cvss").cloned().unwrap_or_default();
        let source = cvss.get("scoreSource").cloned();
        if let (Some(source), Some(cvss)) = (source, cvss.as_object_mut()) {
            cvss.insert("cvssSource".into(), source);
        }
        members.insert("inspectorScoreDetails".into(), json!({"adjustedCvss": cvss}));
    }
    if let Some(url) = body.pointer("/remediation/recommendation/url").cloned() {
        crate::findings::set_pointer(&mut body, "/remediation/recommendation/Url", url);
    }
    if body.pointer("/resources/0").is_some() {
        crate::findings::set_pointer(&mut body, "/resources/0/partition", "aws".into());
        crate::findings::set_pointer(&mut body, "/resources/0/region", world.region().into());
    }
    finding.add_listed(&mut body);
    body
}

const IMAGE: &str = "/details/awsEcrContainerImage";

/// The texts at a pointer: one text, or a list of them.
fn texts_at(body: &Value, pointer: &str) -> Vec<String> {
    match body.pointer(pointer) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The value that a criterion's name refers to. A criterion on resources holds if any resource meets it.
fn field(finding: &Value, criterion: &str) -> FieldValue {
    let texts = |pointer: &str| FieldValue::Texts(texts_at(finding, pointer));
    let resources = |pointer: &str| {
        let resources = finding.get("resources").and_then(Value::as_array).into_iter().flatten();
        FieldValue::Texts(resources.flat_map(|resource| texts_at(resource, pointer)).collect())
    };
    let number = |pointer: &str| FieldValue::Number(finding.pointer(pointer).and_then(Value::as_f64));
    match criterion {
        "findingArn" => texts("/findingArn"),
        "awsAccountId" => texts("/awsAccountId"),
        "findingType" => texts("/type"),
        "severity" => texts("/severity"),
        "findingStatus" => texts("/status"),
        "title" => texts("/title"),
        "fixAvailable" => texts("/fixAvailable"),
        "exploitAvailable" => texts("/exploitAvailable"),
        "vulnerabilityId" => texts("/packageVulnerabilityDetails/vulnerabilityId"),
        "vulnerabilitySource" => texts("/packageVulnerabilityDetails/source"),
        "vendorSeverity" => texts("/packageVulnerabilityDetails/vendorSeverity"),
        "resourceType" => resources("/type"),
        "resourceId" => resources("/id"),
        "ecrImageHash" => resources(&format!("{IMAGE}/imageHash")),
        "ecrImageRegistry" => resources(&format!("{IMAGE}/registry")),
        "ecrImageRepositoryName" => resources(&format!("{IMAGE}/repositoryName")),
        "ecrImageTags" => resources(&format!("{IMAGE}/imageTags")),
        "ecrImageArchitecture" => resources(&format!("{IMAGE}/architecture")),
        "epssScore" => number("/epss/score"),
        "inspectorScore" => number("/inspectorScore"),
        _ => FieldValue::Unsupported,
    }
}
