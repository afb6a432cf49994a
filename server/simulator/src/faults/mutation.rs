//! Content faults: modifications of an otherwise correct response.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Fault;
use crate::clock::epoch_seconds;
use crate::findings::set_pointer;
use crate::world::manifest::digest;

const COUNTS: &str = "/imageScanFindings/findingSeverityCounts";
const COMPLETED_AT: &str = "/imageScanFindings/imageScanCompletedAt";
const YEAR_SECONDS: f64 = 365.0 * 86_400.0;

/// Applies a content fault to the response. Faults of other kinds change nothing here.
pub(crate) fn mutate(fault: &Fault, body: &mut Value, now: Timestamp) {
    match fault {
        Fault::CountsDisagree => counts_disagree(body),
        Fault::CountNegative => {
            let severity = first_counted_severity(body).unwrap_or_else(|| "HIGH".to_owned());
            set_pointer(body, &format!("{COUNTS}/{severity}"), json!(-1));
        }
        Fault::DropCounts => remove(body, COUNTS),
        Fault::DropFindingsObject => remove(body, "/imageScanFindings"),
        Fault::DropStatus => remove(body, "/imageScanStatus"),
        Fault::UnknownStatus(status) => set_pointer(body, "/imageScanStatus/status", json!(status)),
        Fault::UnknownSeverity(severity) => rename_severity(body, severity),
        Fault::WrongDigest => replace(body, "imageDigest", &json!(digest("another image"))),
        Fault::WrongRepository => replace(body, "repositoryName", &json!("another/repository")),
        Fault::WrongRegistry => replace(body, "registryId", &json!("999999999999")),
        Fault::NanScore => nan_score(body),
        Fault::HugeTimestamp => set_completion_times(body, |_| json!(1e300)),
        Fault::FutureCompletedAt => set_completion_times(body, |time| {
            let base = time.and_then(Value::as_f64).or_else(|| epoch_seconds(now).as_f64());
            json!(base.unwrap_or_default() + YEAR_SECONDS)
        }),
        Fault::DropField(pointer) => remove(body, pointer),
        Fault::SetField { pointer, value } => set_pointer(body, pointer, value.clone()),
        Fault::ScanChangesBetweenPages => replace_scan(body),
        Fault::PerPageFacts => state_per_page(body),
        Fault::PartialFailure => fail_batch_items(body),
        Fault::CorruptManifest => corrupt_manifests(body),
        Fault::Throttle400
        | Fault::Throttle429
        | Fault::Throttle429Empty
        | Fault::ServerError500
        | Fault::ServiceUnavailable503
        | Fault::Html(_)
        | Fault::Raw { .. }
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

/// The first severity with a count. It is the same on every page, because the counts are.
fn first_counted_severity(body: &mut Value) -> Option<String> {
    counts(body)?.keys().next().cloned()
}

fn counts_disagree(body: &mut Value) {
    match first_counted_severity(body) {
        Some(severity) => remove(body, &format!("{COUNTS}/{severity}")),
        None => set_pointer(body, &format!("{COUNTS}/HIGH"), json!(1)),
    }
}

/// Renames one severity in counts and findings, so that they still agree.
fn rename_severity(body: &mut Value, severity: &str) {
    let Some(old) = first_counted_severity(body) else {
        return set_pointer(body, &format!("{COUNTS}/{severity}"), json!(1));
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
                set_pointer(finding, "/severity", json!(severity));
            }
        }
    }
}

/// Replaces all members of this name, except inside findings, which name their image themselves.
fn replace(body: &mut Value, name: &str, new_value: &Value) {
    match body {
        Value::Object(members) => {
            for (member, value) in members.iter_mut().filter(|(member, _)| *member != "imageScanFindings") {
                if member == name {
                    *value = new_value.clone();
                } else {
                    replace(value, name, new_value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, name, new_value)),
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
            set_pointer(finding, score, json!("NaN"));
        }
    }
    let attributes = body.pointer_mut("/imageScanFindings/findings/0/attributes").and_then(Value::as_array_mut);
    if let Some(attributes) = attributes {
        // A finding without a score gets one too.
        attributes.retain(|attribute| {
            !attribute.get("key").and_then(Value::as_str).is_some_and(|key| key.ends_with("_SCORE"))
        });
        attributes.push(json!({"key": "CVSS3_SCORE", "value": "NaN"}));
    }
}

/// Changes the completion time of the scan, in ECR's response or in Inspector's coverage.
fn set_completion_times(body: &mut Value, change: impl Fn(Option<&Value>) -> Value) {
    if body.pointer("/imageScanFindings").is_some() {
        let time = change(body.pointer(COMPLETED_AT));
        set_pointer(body, COMPLETED_AT, time);
    }
    for row in body.get_mut("coveredResources").and_then(Value::as_array_mut).into_iter().flatten() {
        let time = change(row.get("lastScannedAt"));
        set_pointer(row, "/lastScannedAt", time);
    }
}

/// Changes the completion time and the counts to those of a later scan.
fn replace_scan(body: &mut Value) {
    set_completion_times(body, |time| json!(time.and_then(Value::as_f64).unwrap_or_default() + 60.0));
    let count = counts(body).and_then(|counts| counts.get("HIGH").and_then(Value::as_u64)).unwrap_or_default();
    if body.pointer(COUNTS).is_some() {
        set_pointer(body, &format!("{COUNTS}/HIGH"), json!(count + 1));
    }
}

/// Counts the findings of this page only. The completion time is a second earlier for each finding.
fn state_per_page(body: &mut Value) {
    let lists = ["findings", "enhancedFindings"].map(|list| format!("/imageScanFindings/{list}"));
    let findings: Vec<&Value> = lists.iter().filter_map(|list| body.pointer(list)?.as_array()).flatten().collect();
    let seconds = u32::try_from(findings.len()).unwrap_or(u32::MAX);
    let mut counts = Map::new();
    for severity in findings.iter().filter_map(|finding| finding.get("severity")?.as_str()) {
        let count = counts.get(severity).and_then(Value::as_u64).unwrap_or_default();
        counts.insert(severity.to_owned(), json!(count + 1));
    }
    if body.pointer(COUNTS).is_some() {
        set_pointer(body, COUNTS, counts.into());
        set_completion_times(body, |time| json!(time.and_then(Value::as_f64).unwrap_or_default() - f64::from(seconds)));
    }
}

/// Turns all items of a batch response into failures.
fn fail_batch_items(body: &mut Value) {
    if body.get("findingDetails").is_some() {
        return fail_finding_details(body);
    }
    let mut failures = take_list(body, "failures");
    failures.extend(take_list(body, "images").iter().map(|image| {
        json!({
            "imageId": image.get("imageId"), "failureCode": "ImageNotFound",
            "failureReason": "Requested image not found",
        })
    }));
    failures.extend(take_list(body, "scanningConfigurations").iter().map(|row| {
        json!({
            "repositoryName": row.get("repositoryName"), "failureCode": "REPOSITORY_NOT_FOUND",
            "failureReason": "The repository does not exist in the registry",
        })
    }));
    set_pointer(body, "/failures", failures.into());
}

fn fail_finding_details(body: &mut Value) {
    let details = take_list(body, "findingDetails");
    let mut errors = take_list(body, "errors");
    errors.extend(details.iter().map(|details| {
        json!({
            "findingArn": details.get("findingArn"), "errorCode": "INTERNAL_ERROR",
            "errorMessage": "The details could not be retrieved",
        })
    }));
    set_pointer(body, "/errors", errors.into());
}

fn take_list(body: &mut Value, name: &str) -> Vec<Value> {
    match body.get_mut(name) {
        Some(Value::Array(items)) => std::mem::take(items),
        _ => Vec::new(),
    }
}

/// Appends a newline to each manifest: it is still the same JSON, but its hash differs.
fn corrupt_manifests(body: &mut Value) {
    for image in body.get_mut("images").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(text)) = image.get_mut("imageManifest") {
            text.push('\n');
        }
    }
}
