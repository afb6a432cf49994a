//! Decisions: a verdict with everything it rests on.

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
};

/// The most findings that one violation carries; its count is always whole.
pub const MAX_FINDINGS: usize = 100;

/// The most waived findings that a decision carries; their count is always whole.
pub const MAX_WAIVED: usize = 1000;

/// The answer, in ascending order of how little it lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Deploy.
    Allow,
    /// Not now: ask again.
    Indeterminate,
    /// Do not deploy.
    Deny,
}

/// What broke.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Breach {
    /// More findings match a rule than it allows.
    Rule {
        /// The rule.
        rule: RuleId,
        /// How many match.
        matched: u32,
        /// How many may.
        allowed: u32,
        /// Those that match, worst first, at most [`MAX_FINDINGS`].
        findings: Vec<Finding>,
    },
    /// The scan falls short of what the policy asks.
    Scan(Evidence),
}

/// A breach of one policy by one manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Violation {
    /// The policy.
    pub policy: PolicyId,
    /// What broke.
    pub breach: Breach,
    /// The rule's description, or what the scan lacks and what to do about it.
    pub description: String,
    /// The manifest.
    pub manifest: Digest,
    /// Its platform.
    pub platform: Option<Platform>,
    /// For a warning that will deny for a reason known now: from when.
    pub denies_from: Option<Timestamp>,
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
    /// The waiver; of several, the one that holds longest.
    pub waiver: WaiverId,
    /// Why it is waived.
    pub reason: String,
    /// Who asked.
    pub author: String,
    /// Who approved.
    pub approver: String,
    /// The first instant at which it no longer is.
    pub until: Timestamp,
}

/// The first instant at which a reason known now changes the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextChange {
    /// When.
    pub time: Timestamp,
    /// The verdict from then on.
    pub verdict: Verdict,
    /// What begins or ends, in one sentence.
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
    /// What its scan proves, whatever a policy thinks of its age.
    pub assessment: Assessment,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, one sentence each.
    pub reasons: Vec<String>,
    /// A policy wants a scan started before it decides.
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
    /// SHA-256 over its meaning.
    pub content_digest: String,
    /// The mode that it was applied in.
    pub mode: Mode,
}

/// One package to upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The package as it is.
    pub package: Package,
    /// The lowest version known to remove all of `fixes`; empty where the scan says that there is a fix and not which.
    pub to_version: String,
    /// The vulnerabilities that go, in order.
    pub fixes: Vec<String>,
}

/// What would turn a DENY.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remediation {
    /// The smallest set of upgrades that turns every violation which upgrades can turn, by package.
    pub upgrades: Vec<Upgrade>,
    /// The violations that no known upgrade can turn, as `policy/rule`, or `policy/scan` where it is the scan that falls short.
    pub unfixable: Vec<String>,
}

/// A verdict with its trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The answer: the worst of the manifests'.
    pub verdict: Verdict,
    /// Why, one sentence each; the first in brief.
    pub reasons: Vec<String>,
    /// By platform and digest.
    pub manifests: Vec<ManifestDecision>,
    /// What denies.
    pub violations: Vec<Violation>,
    /// What would deny, but only warns.
    pub warnings: Vec<Violation>,
    /// Findings that waivers cover, by manifest and worst first, at most [`MAX_WAIVED`].
    pub waived: Vec<Waived>,
    /// How many there are.
    pub waived_total: u32,
    /// For a DENY: how to turn it.
    pub remediation: Option<Remediation>,
    /// The policies that it rests on, by id.
    pub policies: Vec<AppliedPolicy>,
    /// Whether the gate chose the policies itself.
    pub authoritative: bool,
    /// Store revision of the policies.
    pub revision: u64,
    /// When.
    pub evaluated_at: Timestamp,
    /// For INDETERMINATE: when asking again makes sense.
    pub retry_after: Option<SignedDuration>,
    /// What changes the verdict first, of what is known now: until then it holds.
    pub next_change: Option<NextChange>,
    /// The first instant at which anything of this may be told differently, `evaluated_at` aside.
    pub unchanged_until: Option<Timestamp>,
}

/// A manifest with what was read about it: what is decided on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestInput {
    /// The manifest.
    pub manifest: crate::scan::Manifest,
    /// Its scan.
    pub scan: Arc<crate::scan::Scan>,
    /// What became of an attempt to start a scan for this decision; `None`: not attempted.
    pub start: Option<Start>,
    /// When the gate met its findings.
    pub first_seen: Arc<FirstSeenTimes>,
}

/// What became of an attempt to start a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Start {
    /// A scan runs.
    Running,
    /// None can be started, and why.
    Refused(String),
}
