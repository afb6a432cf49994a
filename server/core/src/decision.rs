//! Decisions: a verdict with the facts that it rests on.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    evidence::{Assessment, Evidence},
    finding::{Finding, Package},
    first_seen::FirstSeenTimes,
    image::{Digest, Platform},
    name::{PolicyId, RuleId, WaiverId},
    policy::Mode,
    stored::is_default,
};

/// The maximum number of findings that one violation lists. Its count is always complete.
pub const MAX_FINDINGS: usize = 100;

/// The maximum number of waived findings that a decision lists. Their count is always complete.
pub const MAX_WAIVED: usize = 1000;

/// The maximum number of packages with unknown fixes that a remediation lists.
pub const MAX_UNKNOWN_FIXES: usize = 100;

/// The verdict, from the most to the least permissive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// The image may be deployed.
    Allow,
    /// There is no verdict yet: retry later.
    Indeterminate,
    /// The image may not be deployed.
    Deny,
}

/// The cause of a violation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Breach {
    /// More findings match a rule than it allows.
    Rule {
        /// The rule.
        rule: RuleId,
        /// The number of findings that match.
        matched: u32,
        /// The number of findings that may match.
        allowed: u32,
        /// The matching findings, worst first, at most [`MAX_FINDINGS`].
        findings: Vec<Finding>,
    },
    /// The scan falls short of a requirement of the policy.
    Scan(Evidence),
    /// This server does not understand a part of the stored policy.
    NotUnderstood,
}

/// A violation of one policy by one manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Violation {
    /// The policy.
    pub policy: PolicyId,
    /// Its cause.
    pub breach: Breach,
    /// The rule's description, or the scan's shortfall and the next step.
    pub description: String,
    /// The manifest.
    pub manifest: Digest,
    /// Its platform.
    pub platform: Option<Platform>,
    /// For a warning that will deny for a reason known now: the first instant of the denial.
    pub deny_time: Option<Timestamp>,
}

impl Violation {
    /// Returns the violated rule; without a `rule` unless findings break one.
    pub fn reference(&self) -> RuleReference {
        let rule = match &self.breach {
            Breach::Rule { rule, .. } => Some(rule.clone()),
            Breach::Scan(_) | Breach::NotUnderstood => None,
        };
        RuleReference { policy: self.policy.clone(), rule }
    }
}

/// A finding that a waiver covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waived {
    /// The finding.
    pub finding: Finding,
    /// The manifest.
    pub manifest: Digest,
    /// Its platform.
    pub platform: Option<Platform>,
    /// The waivers that cover it together, in the order of their ids: one for its id, or one for each related CVE.
    pub waivers: Vec<AppliedWaiver>,
    /// The first instant at which the finding is no longer waived.
    pub expire_time: Timestamp,
}

/// A revision of a waiver that covers a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppliedWaiver {
    /// The waiver.
    pub id: WaiverId,
    /// The revision of the store that wrote the waiver.
    pub revision: u64,
    /// The waiver's reason.
    pub reason: String,
    /// The name of the caller who requested the waiver.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requested_by: String,
    /// The name of the caller who approved it; empty if the waiver needs no approval.
    #[serde(default, skip_serializing_if = "is_default")]
    pub approved_by: String,
    /// The end of the waiver, exclusive.
    pub expire_time: Timestamp,
}

/// The first instant at which a reason known now changes the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextChange {
    /// The instant of the change.
    pub change_time: Timestamp,
    /// The verdict from then on.
    pub verdict: Verdict,
    /// The event that causes it, in one sentence.
    pub reason: String,
}

/// The verdict on one manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestDecision {
    /// Its digest.
    pub digest: Digest,
    /// Its platform.
    pub platform: Option<Platform>,
    /// The assessment of its scan, without any policy's limit on the age.
    pub assessment: Assessment,
    /// The verdict.
    pub verdict: Verdict,
    /// The reasons, one sentence each.
    pub reasons: Vec<String>,
    /// True if a policy needs a new scan before it can decide.
    pub wants_scan: bool,
}

/// A policy that a decision rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppliedPolicy {
    /// Its id.
    pub id: PolicyId,
    /// Its revision.
    pub revision: u64,
    /// SHA-256 over its content.
    pub content_digest: String,
    /// The mode in which it was applied.
    pub mode: Mode,
    /// True if it took the place of `policies/default` in this decision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces_default: bool,
}

/// One package to upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The installed package.
    pub package: Package,
    /// The lowest known version that removes all of `vulnerability_ids`; empty if the scan reports a fix without its version.
    pub fixed_version: String,
    /// The vulnerabilities that it removes, in order.
    pub vulnerability_ids: Vec<String>,
}

/// A package with findings whose fix the scan does not report: fix unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnknownFix {
    /// The package; its name is empty if the scan names none.
    pub package: Package,
    /// The vulnerabilities, in order.
    pub vulnerability_ids: Vec<String>,
}

/// Names a rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleReference {
    /// The policy.
    pub policy: PolicyId,
    /// The rule; `None` for the policy's requirements on the scan, and for a policy that is not understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
}

/// The changes that would resolve a DENY.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remediation {
    /// The smallest set of upgrades that resolves every fixable violation, by package.
    pub upgrades: Vec<Upgrade>,
    /// The violations that no known upgrade resolves.
    pub unfixable: Vec<RuleReference>,
    /// The packages with findings of broken rules whose fix the scan does not report, at most [`MAX_UNKNOWN_FIXES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_fixes: Vec<UnknownFix>,
}

/// A verdict with its trail: the facts that explain it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The worst verdict of its manifests.
    pub verdict: Verdict,
    /// The reasons, one sentence each; the first one is a summary.
    pub reasons: Vec<String>,
    /// The verdicts on the manifests, by platform and digest.
    pub manifests: Vec<ManifestDecision>,
    /// The violations that deny.
    pub violations: Vec<Violation>,
    /// The violations that only warn.
    pub warnings: Vec<Violation>,
    /// The waived findings, by manifest and worst first, as many as have at most [`MAX_WAIVED`] waivers in total.
    pub waived: Vec<Waived>,
    /// The number of waived findings.
    pub waived_count: u32,
    /// For a DENY: the changes that would resolve it.
    pub remediation: Option<Remediation>,
    /// The policies that it rests on, by id.
    pub policies: Vec<AppliedPolicy>,
    /// The store's revision of the policies.
    pub revision: u64,
    /// The instant of the decision.
    pub evaluate_time: Timestamp,
    /// For INDETERMINATE: the delay before a retry makes sense.
    pub retry_after: Option<SignedDuration>,
    /// The first change of the verdict that is known now; the verdict is valid until then.
    pub next_change: Option<NextChange>,
    /// The first instant at which any field except `evaluate_time` may differ.
    pub unchanged_until: Option<Timestamp>,
}

/// The input for one manifest: its scan and the facts about its findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestInput {
    /// The manifest.
    pub manifest: crate::scan::Manifest,
    /// Its scan.
    pub scan: Arc<crate::scan::Scan>,
    /// The result of an attempt to start a scan for this decision; `None`: not attempted.
    pub start: Option<Start>,
    /// The times at which the gate first saw its findings.
    pub first_seen: Arc<FirstSeenTimes>,
}

/// The reason against the start of a scan under enhanced scanning.
pub const SCANS_ARE_MANAGED: &str = "the registry uses enhanced scanning, whose scans cannot be started on request";

/// The result of an attempt to start a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Start {
    /// A scan is running.
    Running,
    /// No scan can be started, for this reason.
    Refused(String),
}
