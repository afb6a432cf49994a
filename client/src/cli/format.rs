//! Formats single values: enums without their prefix, times, durations, platforms, packages.

use std::{convert::Infallible, time::Duration};

use jiff::SignedDuration;
use scangate_client::{
    prost_types::Timestamp,
    v1::{
        AffectedPackage, Evidence, Finding, Platform, PolicyMode, RuleEffect, ScanFrequency, ScanStatus, ScanType,
        Severity, SeverityCount, StartScanOutcome, Verdict,
    },
};

use crate::report::sanitize;

/// The collection in a policy's resource name.
const POLICIES: &str = "policies/";

/// The length of an abbreviated digest: 12 hexadecimal digits, as Docker prints them.
const SHORT_DIGEST_LENGTH: usize = "sha256:".len() + 12;

macro_rules! enum_names {
    ($($function:ident($kind:ident, $prefix:literal, $unspecified:literal)),+ $(,)?) => {
        $(pub(crate) fn $function(number: i32) -> String {
            match $kind::try_from(number) {
                Ok($kind::Unspecified) => $unspecified.to_owned(),
                Ok(value) => value.as_str_name().trim_start_matches($prefix).to_owned(),
                // A value that this version does not know is shown as its number.
                Err(_) => number.to_string(),
            }
        })+
    };
}

// The last argument is the text of the unspecified value: empty, or the default that the contract defines for it.
enum_names!(
    evidence(Evidence, "EVIDENCE_", ""),
    frequency(ScanFrequency, "SCAN_FREQUENCY_", ""),
    policy_mode(PolicyMode, "POLICY_MODE_", "ENFORCE"),
    rule_effect(RuleEffect, "RULE_EFFECT_", "DENY"),
    scan_status(ScanStatus, "SCAN_STATUS_", ""),
    scan_type(ScanType, "SCAN_TYPE_", ""),
    severity(Severity, "SEVERITY_", ""),
    start_scan_outcome(StartScanOutcome, "START_SCAN_OUTCOME_", ""),
    verdict(Verdict, "VERDICT_", "UNSPECIFIED"),
);

pub(crate) fn platform(platform: Option<&Platform>) -> String {
    let Some(Platform { os, os_version, architecture, variant }) = platform else {
        return String::new();
    };
    let version = if os_version.is_empty() { String::new() } else { format!("({os_version})") };
    let variant = if variant.is_empty() { String::new() } else { format!("/{variant}") };
    format!("{os}{version}/{architecture}{variant}")
}

/// Returns the id of a finding with its related ids, for example `GHSA-9qv9-x3m4-v8cp (CVE-2025-55182)`.
pub(crate) fn vulnerability(finding: &Finding) -> String {
    match finding.related_ids.as_slice() {
        [] => finding.vulnerability_id.clone(),
        related => format!("{} ({})", finding.vulnerability_id, related.join(", ")),
    }
}

pub(crate) fn package(package: Option<&AffectedPackage>) -> String {
    package.map(|package| format!("{} {}", package.name, package.version)).unwrap_or_default()
}

pub(crate) fn fixed_version(package: Option<&AffectedPackage>) -> String {
    package.map(|package| package.fixed_version.clone()).unwrap_or_default()
}

pub(crate) fn short_digest(digest: &str) -> String {
    sanitize(digest).chars().take(SHORT_DIGEST_LENGTH).collect()
}

/// Returns the time to the second, in RFC 3339; empty if absent.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map(|time| Timestamp { nanos: 0, ..time }.to_string()).unwrap_or_default()
}

/// Returns the duration to the second, e.g. `5m 30s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// Returns the counts with ECR's labels, e.g. `2 CRITICAL, 5 HIGH`.
pub(crate) fn severity_counts(counts: &[SeverityCount]) -> String {
    let parts: Vec<String> = counts.iter().map(|count| format!("{} {}", count.count, count_label(count))).collect();
    parts.join(", ")
}

fn count_label(count: &SeverityCount) -> String {
    if count.severity_label.is_empty() { severity(count.severity) } else { count.severity_label.clone() }
}

/// Returns `subject: description`, or the subject alone if the description is empty.
pub(crate) fn with_description(subject: String, description: &str) -> String {
    if description.is_empty() { subject } else { format!("{subject}: {description}") }
}

/// Returns the resource name of a policy whose name has the prefix `policies/` or lacks it.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a clap value parser")]
pub(crate) fn parse_policy_name(text: &str) -> Result<String, Infallible> {
    Ok(format!("{POLICIES}{}", policy_id(text)))
}

/// Returns the id in a policy's resource name.
pub(crate) fn policy_id(name: &str) -> &str {
    name.strip_prefix(POLICIES).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_enum_value_is_shown_as_number() {
        assert_eq!([verdict(1), verdict(0), verdict(77), evidence(0)], ["ALLOW", "UNSPECIFIED", "77", ""]);
    }

    #[test]
    fn duration_has_command_line_form() {
        assert_eq!(duration(Duration::from_secs(330)), "5m 30s");
    }
}
