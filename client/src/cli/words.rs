//! How single values read: enums without their prefix, times, durations, platforms, packages.

use std::{convert::Infallible, time::Duration};

use jiff::SignedDuration;
use scangate_client::{
    prost_types::Timestamp,
    v1::{
        Evidence, Package, Platform, PolicyMode, RuleEffect, ScanFrequency, ScanStatus, ScanType, Severity,
        SeverityCount, StartScanOutcome, Verdict,
    },
};

const POLICIES: &str = "policies/";

/// The digits that tell two digests apart at a glance.
const DIGEST_PREFIX: usize = "sha256:".len() + 12;

macro_rules! enum_words {
    ($($function:ident($kind:ident, $prefix:literal, $unspecified:literal)),+ $(,)?) => {
        $(pub(crate) fn $function(number: i32) -> String {
            match $kind::try_from(number) {
                Ok($kind::Unspecified) => $unspecified.to_owned(),
                Ok(value) => value.as_str_name().trim_start_matches($prefix).to_owned(),
                // A value that this version does not know stays a number: nobody shall take it for a word.
                Err(_) => number.to_string(),
            }
        })+
    };
}

// What is not given is empty, but for the fields where it has a meaning of its own.
enum_words!(
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
    let Some(Platform { os, architecture, variant }) = platform else {
        return String::new();
    };
    if variant.is_empty() { format!("{os}/{architecture}") } else { format!("{os}/{architecture}/{variant}") }
}

pub(crate) fn package(package: Option<&Package>) -> String {
    package.map(|package| format!("{} {}", package.name, package.version)).unwrap_or_default()
}

pub(crate) fn fixed_in(package: Option<&Package>) -> String {
    package.map(|package| package.fixed_in.clone()).unwrap_or_default()
}

pub(crate) fn short_digest(digest: &str) -> String {
    digest.chars().take(DIGEST_PREFIX).collect()
}

/// To the second; an absent time is empty.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map(|time| Timestamp { nanos: 0, ..time }.to_string()).unwrap_or_default()
}

/// E.g. `5m 30s`; to the second.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// E.g. `2 CRITICAL, 5 HIGH`, as ECR labels them.
pub(crate) fn severity_counts(counts: &[SeverityCount]) -> String {
    let words: Vec<String> = counts.iter().map(|count| format!("{} {}", count.count, count_label(count))).collect();
    words.join(", ")
}

fn count_label(count: &SeverityCount) -> String {
    if count.label.is_empty() { severity(count.severity) } else { count.label.clone() }
}

/// `subject: description`, or the subject alone where nothing describes it.
pub(crate) fn described(subject: String, description: &str) -> String {
    if description.is_empty() { subject } else { format!("{subject}: {description}") }
}

/// Policies may be named with or without `policies/`.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a clap value parser")]
pub(crate) fn parse_policy_name(text: &str) -> Result<String, Infallible> {
    Ok(format!("{POLICIES}{}", policy_id(text)))
}

/// The id in a policy's name.
pub(crate) fn policy_id(name: &str) -> &str {
    name.strip_prefix(POLICIES).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_this_version_does_not_know_stays_a_number() {
        assert_eq!([verdict(1), verdict(0), verdict(77), evidence(0)], ["ALLOW", "UNSPECIFIED", "77", ""]);
    }

    #[test]
    fn durations_read_like_those_that_are_typed() {
        assert_eq!(duration(Duration::from_secs(330)), "5m 30s");
    }
}
