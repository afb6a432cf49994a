//! Faults of content: what they change in an answer that is otherwise right.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Fault;
use crate::clock::epoch;
use crate::findings::set;
use crate::world::manifest::digest;

const COUNTS: &str = "/imageScanFindings/findingSeverityCounts";
const COMPLETED: &str = "/imageScanFindings/imageScanCompletedAt";
const YEAR: f64 = 365.0 * 86_400.0;

/// Makes the fault in the answer. Faults that are not of content change nothing here.
pub(crate) fn mutate(fault: &Fault, body: &mut Value, now: Timestamp) {
    match fault {
        Fault::CountsDisagree => counts_disagree(body),
        Fault::CountNegative => {
            let severity = first_count(body).unwrap_or_else(|| "HIGH".to_owned());
            set(body, &format!("{COUNTS}/{severity}"), json!(-1));
        }
        Fault::DropCounts => remove(body, COUNTS),
        Fault::DropFindingsObject => remove(body, "/imageScanFindings"),
        Fault::DropStatus => remove(body, "/imageScanStatus"),
        Fault::UnknownStatus(status) => set(body, "/imageScanStatus/status", json!(status)),
        Fault::UnknownSeverity(severity) => rename_severity(body, severity),
        Fault::WrongDigest => replace(body, "imageDigest", &json!(digest("another image"))),
        Fault::WrongRepository => replace(body, "repositoryName", &json!("another/repository")),
        Fault::WrongRegistry => replace(body, "registryId", &json!("999999999999")),
        Fault::NanScore => nan_score(body),
        Fault::HugeTimestamp => completed(body, |_| json!(1e300)),
        Fault::FutureCompletedAt => completed(body, |time| {
            let base = time.and_then(Value::as_f64).or_else(|| epoch(now).as_f64());
            json!(base.unwrap_or_default() + YEAR)
        }),
        Fault::DropField(pointer) => remove(body, pointer),
        Fault::SetField { pointer, value } => set(body, pointer, value.clone()),
        Fault::ScanChangesBetweenPages => scan_changes(body),
        Fault::PartialFailure => partial_failure(body),
        Fault::CorruptManifest => corrupt_manifests(body),
        Fault::Throttle400
        | Fault::Throttle429
        | Fault::Throttle429Empty
        | Fault::ServerError500
        | Fault::ServiceUnavailable503
        | Fault::Error { .. }
        | Fault::Delay(_)
        | Fault::Hang
        | Fault::DropConnection
        | Fault::CutConnection
        | Fault::TruncateBody
        | Fault::MalformedJson
        | Fault::EmptyBody200
        | Fault::EmptyObject
        | Fault::RepeatPage
        | Fault::DuplicatePage
        | Fault::MissingPage
        | Fault::TokenLoop => {}
    }
}

fn remove(body: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    match body.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            if let Some(index) = name.parse::<usize>().ok().filter(|&index| index < items.len()) {
                items.remove(index);
            }
        }
        _ => {}
    }
}

fn counts(body: &mut Value) -> Option<&mut Map<String, Value>> {
    body.pointer_mut(COUNTS).and_then(Value::as_object_mut)
}

/// The same on every page, since counts are.
fn first_count(body: &mut Value) -> Option<String> {
    counts(body)?.keys().next().cloned()
}

fn counts_disagree(body: &mut Value) {
    match first_count(body) {
        Some(severity) => remove(body, &format!("{COUNTS}/{severity}")),
        None => set(body, &format!("{COUNTS}/HIGH"), json!(1)),
    }
}

/// One severity gets the other name everywhere, so that counts and findings still agree.
fn rename_severity(body: &mut Value, severity: &str) {
    let Some(old) = first_count(body) else {
        return set(body, &format!("{COUNTS}/{severity}"), json!(1));
    };
    if let Some(counts) = counts(body)
        && let Some(count) = counts.remove(&old)
    {
        counts.insert(severity.to_owned(), count);
    }
    for list in ["findings", "enhancedFindings"] {
        let findings = body.pointer_mut(&format!("/imageScanFindings/{list}")).and_then(Value::as_array_mut);
        for finding in findings.into_iter().flatten() {
            if finding.get("severity").and_then(Value::as_str) == Some(&old) {
                set(finding, "/severity", json!(severity));
            }
        }
    }
}

/// Everywhere but inside findings, which name their image themselves.
fn replace(body: &mut Value, name: &str, with: &Value) {
    match body {
        Value::Object(members) => {
            for (member, value) in members.iter_mut().filter(|(member, _)| *member != "imageScanFindings") {
                if member == name {
                    *value = with.clone();
                } else {
                    replace(value, name, with);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, name, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn nan_score(body: &mut Value) {
    let scores = [
        ("/imageScanFindings/enhancedFindings/0", "/score"),
        ("/findings/0", "/inspectorScore"),
        ("/findings/0", "/epss/score"),
        ("/findingDetails/0", "/epssScore"),
    ];
    for (list, score) in scores {
        if let Some(finding) = body.pointer_mut(list) {
            set(finding, score, json!("NaN"));
        }
    }
    let attributes = body.pointer_mut("/imageScanFindings/findings/0/attributes").and_then(Value::as_array_mut);
    if let Some(attributes) = attributes {
        // Also where the finding came without a score.
        attributes.retain(|attribute| {
            !attribute.get("key").and_then(Value::as_str).is_some_and(|key| key.ends_with("_SCORE"))
        });
        attributes.push(json!({"key": "CVSS3_SCORE", "value": "NaN"}));
    }
}

/// The time a scan completed, in ECR's answer or in Inspector's coverage.
fn completed(body: &mut Value, change: impl Fn(Option<&Value>) -> Value) {
    if body.pointer("/imageScanFindings").is_some() {
        let time = change(body.pointer(COMPLETED));
        set(body, COMPLETED, time);
    }
    for row in body.get_mut("coveredResources").and_then(Value::as_array_mut).into_iter().flatten() {
        let time = change(row.get("lastScannedAt"));
        set(row, "/lastScannedAt", time);
    }
}

fn scan_changes(body: &mut Value) {
    completed(body, |time| json!(time.and_then(Value::as_f64).unwrap_or_default() + 60.0));
    let count = counts(body).and_then(|counts| counts.get("HIGH").and_then(Value::as_u64)).unwrap_or_default();
    if body.pointer(COUNTS).is_some() {
        set(body, &format!("{COUNTS}/HIGH"), json!(count + 1));
    }
}

fn partial_failure(body: &mut Value) {
    let found = |body: &mut Value, list: &str| match body.get_mut(list) {
        Some(Value::Array(items)) => std::mem::take(items),
        _ => Vec::new(),
    };
    let mut failures = found(body, "failures");
    failures.extend(found(body, "images").iter().map(|image| {
        json!({
            "imageId": image.get("imageId"), "failureCode": "ImageNotFound",
            "failureReason": "Requested image not found",
        })
    }));
    failures.extend(found(body, "scanningConfigurations").iter().map(|row| {
        json!({
            "repositoryName": row.get("repositoryName"), "failureCode": "REPOSITORY_NOT_FOUND",
            "failureReason": "The repository does not exist in the registry",
        })
    }));
    let details = found(body, "findingDetails");
    if body.get("findingDetails").is_none() {
        return set(body, "/failures", failures.into());
    }
    let mut errors = found(body, "errors");
    errors.extend(details.iter().map(|details| {
        json!({
            "findingArn": details.get("findingArn"), "errorCode": "INTERNAL_ERROR",
            "errorMessage": "The details could not be retrieved",
        })
    }));
    set(body, "/errors", errors.into());
}

/// Still JSON that says the same: only the hash tells.
fn corrupt_manifests(body: &mut Value) {
    for image in body.get_mut("images").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(text)) = image.get_mut("imageManifest") {
            text.push('\n');
        }
    }
}
