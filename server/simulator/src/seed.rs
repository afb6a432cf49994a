//! Recorded findings of real scans, from public sources (see `seed/SOURCES.md` and `seed/LICENSES.md`).
//!
//! The recordings carry times as a CLI or a recorder writes them; they are converted here into epoch seconds, as on the
//! wire. Fields that identify the recorded image are removed: the simulated image replaces it.

use jiff::Timestamp;
use serde_json::Value;

use crate::clock::epoch_seconds;
use crate::findings::{BasicFinding, EnhancedFinding};

/// A real basic scan of a Debian 10 image: 257 findings (1 CRITICAL, 5 HIGH, 32 MEDIUM, 25 LOW, 183 INFORMATIONAL,
/// 11 UNDEFINED) with 253 distinct names.
pub fn debian10_257() -> Vec<BasicFinding> {
    load_basic(include_str!("../seed/basic-debian10-257.json"))
}

/// Three basic findings (MEDIUM, INFORMATIONAL, UNDEFINED) of a hand-edited recording.
pub fn basic_three() -> Vec<BasicFinding> {
    load_basic(include_str!("../seed/basic-counts-disagree-3.json"))
}

/// Two enhanced findings of a Debian 12 image: a MEDIUM, and an UNTRIAGED with score 0.0 and no CVSS.
pub fn untriaged() -> Vec<EnhancedFinding> {
    load_enhanced(include_str!("../seed/enhanced-untriaged-2.json"))
}

/// One enhanced MEDIUM finding of a `CentOS` 8 image, in several packages.
pub fn centos8() -> Vec<EnhancedFinding> {
    load_enhanced(include_str!("../seed/enhanced-centos8-1.json"))
}

/// One Inspector finding of an ECR image, converted into ECR's form, with its EPSS probability.
pub fn inspector_one() -> Vec<EnhancedFinding> {
    load_recording(include_str!("../seed/inspector2-list-findings-ecr-1.json"), "/findings")
        .into_iter()
        .map(|finding| {
            let epss = finding.pointer("/epss/score").and_then(Value::as_f64);
            let finding = anonymise(from_inspector(finding));
            match epss {
                Some(probability) => finding.epss(probability),
                None => finding,
            }
        })
        .collect()
}

fn load_basic(text: &str) -> Vec<BasicFinding> {
    load_recording(text, "/imageScanFindings/findings").into_iter().map(BasicFinding::from_wire).collect()
}

fn load_enhanced(text: &str) -> Vec<EnhancedFinding> {
    load_recording(text, "/imageScanFindings/enhancedFindings").into_iter().map(anonymise).collect()
}

/// Returns the list at `pointer`, with all times in wire form. The recordings are part of this crate, and a test reads
/// each. An unreadable one therefore yields an empty list, which spares every caller an error.
fn load_recording(text: &str, pointer: &str) -> Vec<Value> {
    let mut recording: Value = serde_json::from_str(text).unwrap_or_default();
    match recording.pointer_mut(pointer).map(Value::take) {
        Some(Value::Array(mut findings)) => {
            findings.iter_mut().for_each(to_wire_times);
            findings
        }
        _ => Vec::new(),
    }
}

const TIME_MEMBERS: [&str; 8] = [
    "firstObservedAt",
    "lastObservedAt",
    "updatedAt",
    "vendorCreatedAt",
    "vendorUpdatedAt",
    "pushedAt",
    "lastInUseAt",
    "lastKnownExploitAt",
];

fn to_wire_times(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(to_wire_times),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if TIME_MEMBERS.contains(&name.as_str())
                    && let Some(time) = parse_time(member)
                {
                    *member = epoch_seconds(time);
                } else {
                    to_wire_times(member);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Parses an ISO 8601 time.
fn parse_time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok())
}

/// Removes the account, the ARN and the image of the recording, except for the image's operating system.
fn anonymise(mut body: Value) -> EnhancedFinding {
    let mut os = None;
    if let Some(members) = body.as_object_mut() {
        members.remove("awsAccountId");
        members.remove("findingArn");
        let resources = members.remove("resources").unwrap_or_default();
        os = resources.pointer("/0/details/awsEcrContainerImage/platform").and_then(Value::as_str).map(str::to_owned);
    }
    let finding = EnhancedFinding::from_wire(body);
    match os {
        Some(os) => finding.os(&os),
        None => finding,
    }
}

/// Converts a finding from Inspector's form into ECR's.
fn from_inspector(mut finding: Value) -> Value {
    if let Some(members) = finding.as_object_mut() {
        members.remove("epss");
        if let Some(score) = members.remove("inspectorScore") {
            members.insert("score".into(), score);
        }
        if let Some(mut details) = members.remove("inspectorScoreDetails") {
            let mut cvss = details.get_mut("adjustedCvss").map(Value::take).unwrap_or_default();
            if let Some(cvss) = cvss.as_object_mut() {
                cvss.remove("cvssSource");
            }
            members.insert("scoreDetails".into(), serde_json::json!({"cvss": cvss}));
        }
        if let Some(Value::Array(packages)) =
            members.get_mut("packageVulnerabilityDetails").and_then(|details| details.get_mut("vulnerablePackages"))
        {
            for package in packages.iter_mut().filter_map(Value::as_object_mut) {
                package.remove("remediation");
            }
        }
    }
    finding
}
