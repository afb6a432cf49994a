//! `ListFindings`: the same findings as ECR shows, in Inspector's own shape, with EPSS and exploit details.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::filter::{self, Fact};
use crate::findings::EnhancedFinding;
use crate::findings::Findings;
use crate::ops::{Request, enhanced_finding_of_image};
use crate::wire::{Answer, Paging};
use crate::world::{Image, Progress, Repository, ScanFrequency, ScanType, World};

pub(crate) fn answer(request: &mut Request<'_>) -> Answer {
    let (world, input) = (&*request.world, request.input);
    let size = input.max_results(1..=100, 100)?;
    let criteria = input.object("filterCriteria")?.unwrap_or_default();
    let mut rows = Vec::new();
    for finding in all(world) {
        if filter::passes(&criteria, |name| fact(&finding, name))? {
            rows.push(finding);
        }
    }
    let (range, next) = Paging::read(input, "findings", size, request.twist)?.of(rows.len());
    let page = rows.get(range).unwrap_or_default();
    let mut body = json!({"findings": page});
    if let (Some(next), Some(members)) = (next, body.as_object_mut()) {
        members.insert("nextToken".into(), next.into());
    }
    Ok(body)
}

fn all(world: &World) -> Vec<Value> {
    let mut findings = Vec::new();
    each(world, |found| findings.push(in_inspector_form(found.finding, found.as_ecr_shows_it(world), world)));
    findings
}

/// A finding in an image.
pub(super) struct Found<'a> {
    pub(super) finding: &'a EnhancedFinding,
    pub(super) repository: &'a Repository,
    pub(super) image: &'a Image,
    at: Timestamp,
}

impl Found<'_> {
    pub(super) fn as_ecr_shows_it(&self, world: &World) -> Value {
        enhanced_finding_of_image(self.finding, world, self.repository, self.image, self.at)
    }
}

/// Every finding of every image whose enhanced scan has ended.
pub(super) fn each(world: &World, mut see: impl FnMut(&Found<'_>)) {
    if world.scanning().scan_type != ScanType::Enhanced {
        return;
    }
    let scanned = |repository: &&Repository| world.effective_scanning(repository).frequency != ScanFrequency::Manual;
    for repository in world.repositories().filter(scanned) {
        for image in repository.images() {
            let progress = image.scan.progress(ScanType::Enhanced, world.now());
            if let Progress::Ended { at, findings: Findings::Enhanced(found) } = progress {
                for finding in found.iter() {
                    see(&Found { finding, repository, image, at });
                }
            }
        }
    }
}

/// ECR's `score` is Inspector's `inspectorScore`, and so on.
fn in_inspector_form(finding: &EnhancedFinding, mut body: Value, world: &World) -> Value {
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
        crate::findings::set(&mut body, "/remediation/recommendation/Url", url);
    }
    if body.pointer("/resources/0").is_some() {
        crate::findings::set(&mut body, "/resources/0/partition", "aws".into());
        crate::findings::set(&mut body, "/resources/0/region", world.region().into());
    }
    finding.add_listed(&mut body);
    body
}

const IMAGE: &str = "/resources/0/details/awsEcrContainerImage";

fn fact(finding: &Value, criterion: &str) -> Fact {
    let texts = |pointer: &str| match finding.pointer(pointer) {
        Some(Value::String(text)) => Fact::Texts(vec![text.clone()]),
        Some(Value::Array(texts)) => Fact::Texts(texts.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => Fact::Texts(Vec::new()),
    };
    let number = |pointer: &str| Fact::Number(finding.pointer(pointer).and_then(Value::as_f64));
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
        "resourceType" => texts("/resources/0/type"),
        "resourceId" => texts("/resources/0/id"),
        "ecrImageHash" => texts(&format!("{IMAGE}/imageHash")),
        "ecrImageRegistry" => texts(&format!("{IMAGE}/registry")),
        "ecrImageRepositoryName" => texts(&format!("{IMAGE}/repositoryName")),
        "ecrImageTags" => texts(&format!("{IMAGE}/imageTags")),
        "ecrImageArchitecture" => texts(&format!("{IMAGE}/architecture")),
        "epssScore" => number("/epss/score"),
        "inspectorScore" => number("/inspectorScore"),
        _ => Fact::Unknown,
    }
}
