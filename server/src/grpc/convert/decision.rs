//! Conversions of decisions, simulations and pages of findings.

use std::collections::BTreeMap;

use scangate_core::{
    Verdict,
    decision::{
        Breach, ManifestDecision, NextChange, Remediation, RuleReference, UnknownFix, Upgrade, Violation, Waived,
    },
    finding::Finding,
    image::{Digest, Platform},
    scan::Usage,
};
use scangate_proto::v1;

use super::{
    count::render_count,
    finding::{render_finding, render_package},
    image::{render_image, render_platform},
    policy::render_applied_policy,
    revision::render_revision,
    scan::{render_evidence, render_manifest_scan, render_scan},
    time::{render_duration, render_timestamp},
};
use crate::{
    decisions::{EvaluatedDecision, Evaluation, RecordedDecision},
    findings::Page,
    grpc::{field_violations::Fields, page_token},
};

/// The limit on the findings that one decision's violations list, so that a response stays within the message size that
/// clients accept (4 MiB by default). Counts are always complete, and GetFindings returns all findings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FindingLimit {
    /// For a response with one decision.
    Single,
    /// For one decision of a batch or a page, which may have hundreds.
    Batch,
}

impl FindingLimit {
    fn findings(self) -> usize {
        match self {
            Self::Single => 2000,
            Self::Batch => 50,
        }
    }

    fn waived(self) -> usize {
        match self {
            Self::Single => 1000,
            Self::Batch => 25,
        }
    }
}

/// Renders a decision.
pub(crate) fn render_decision(recorded: &RecordedDecision, limit: FindingLimit) -> v1::Decision {
    let v1::Decision { name, evaluate_time, labels, .. } = render_recorded_fields(recorded);
    v1::Decision { name, evaluate_time, labels, ..render_evaluated_fields(&recorded.evaluated, limit) }
}

/// Renders the fields that differ between records of one evaluated decision: name, time and the caller's labels.
pub(crate) fn render_recorded_fields(recorded: &RecordedDecision) -> v1::Decision {
    v1::Decision {
        name: format!("decisions/{}", recorded.id),
        evaluate_time: Some(render_timestamp(recorded.evaluate_time)),
        labels: recorded.labels.clone(),
        ..v1::Decision::default()
    }
}

/// Builds a decision or a simulation: their shared fields from an evaluation, and the given ones.
macro_rules! render_evaluation {
    ($message:ident, $evaluation:expr, $limit:expr, { $($field:ident: $value:expr),+ $(,)? }) => {{
        let Evaluation { image, environment, decision, inputs: _ } = $evaluation;
        let mut remaining = $limit.findings();
        v1::$message {
            verdict: render_verdict(decision.verdict).into(),
            reasons: decision.reasons.clone(),
            image: Some(render_image(image)),
            environment: environment.as_ref().map(ToString::to_string).unwrap_or_default(),
            violations: render_violations(&decision.violations, &mut remaining),
            warnings: render_violations(&decision.warnings, &mut remaining),
            waived: decision.waived.iter().take($limit.waived()).map(render_waived).collect(),
            waived_total: render_count(decision.waived_total),
            remediation: decision.remediation.as_ref().map(render_remediation),
            policies: decision.policies.iter().map(render_applied_policy).collect(),
            revision: render_revision(decision.revision),
            expire_time: decision.next_change.as_ref().map(|change| render_timestamp(change.change_time)),
            next_change: decision.next_change.as_ref().map(render_next_change),
            retry_after: decision.retry_after.map(render_duration),
            $($field: $value),+
        }
    }};
}

/// Renders the fields that all records of one evaluated decision share.
pub(crate) fn render_evaluated_fields(evaluated: &EvaluatedDecision, limit: FindingLimit) -> v1::Decision {
    let EvaluatedDecision { evaluation, deploy } = evaluated;
    render_evaluation!(Decision, evaluation, limit, {
        name: String::new(),
        deploy_image: deploy.as_ref().map(|digest| evaluation.image.pinned(digest)).unwrap_or_default(),
        manifests: render_manifests(evaluated),
        evaluate_time: None,
        labels: BTreeMap::new(),
    })
}

/// Renders an evaluation that was not recorded. It permits no deployment.
pub(crate) fn render_simulation(evaluation: &Evaluation) -> v1::Simulation {
    let manifests = &evaluation.decision.manifests;
    render_evaluation!(Simulation, evaluation, FindingLimit::Single, {
        manifests: manifests.iter().map(|manifest| render_manifest(evaluation, manifest)).collect(),
        evaluate_time: Some(render_timestamp(evaluation.decision.evaluate_time)),
    })
}

/// Renders the outcome for one manifest, which decisions and simulations share.
fn render_manifest(evaluation: &Evaluation, manifest: &ManifestDecision) -> v1::ManifestSimulation {
    let input = evaluation.inputs.iter().find(|input| input.manifest.digest == manifest.digest);
    let usage = input.map_or_else(Usage::default, |input| input.scan.usage);
    v1::ManifestSimulation {
        digest: manifest.digest.to_string(),
        platform: manifest.platform.as_ref().map(render_platform),
        scan: input.map(|input| render_scan(&input.scan, &manifest.assessment)),
        verdict: render_verdict(manifest.verdict).into(),
        reasons: manifest.reasons.clone(),
        in_use_count: usage.in_use_count.map(render_count),
        last_in_use_time: usage.last_in_use_time.map(render_timestamp),
    }
}

fn render_manifests(evaluated: &EvaluatedDecision) -> Vec<v1::ManifestDecision> {
    let Evaluation { image, decision, .. } = &evaluated.evaluation;
    let render = |manifest| {
        let simulated = render_manifest(&evaluated.evaluation, manifest);
        let v1::ManifestSimulation { digest, platform, scan, verdict, reasons, in_use_count, last_in_use_time } =
            simulated;
        // No platform of a denied image may be deployed, even if it passes by itself.
        let deploy_image =
            if decision.verdict == Verdict::Allow { image.pinned(&manifest.digest) } else { String::new() };
        v1::ManifestDecision { digest, platform, scan, verdict, reasons, deploy_image, in_use_count, last_in_use_time }
    };
    decision.manifests.iter().map(render).collect()
}

/// Renders a verdict.
pub(crate) fn render_verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Allow => v1::Verdict::Allow,
        Verdict::Indeterminate => v1::Verdict::Indeterminate,
        Verdict::Deny => v1::Verdict::Deny,
    }
}

/// Parses a verdict of a filter.
pub(crate) fn parse_verdict(fields: &mut Fields, path: &str, verdict: i32) -> Option<Verdict> {
    match v1::Verdict::try_from(verdict) {
        Ok(v1::Verdict::Allow) => Some(Verdict::Allow),
        Ok(v1::Verdict::Deny) => Some(Verdict::Deny),
        Ok(v1::Verdict::Indeterminate) => Some(Verdict::Indeterminate),
        Ok(v1::Verdict::Unspecified) | Err(_) => {
            fields.refuse(path, "must be VERDICT_ALLOW, VERDICT_DENY or VERDICT_INDETERMINATE");
            None
        }
    }
}

fn render_violations(violations: &[Violation], remaining: &mut usize) -> Vec<v1::Violation> {
    violations.iter().map(|violation| render_violation(violation, remaining)).collect()
}

fn render_violation(violation: &Violation, remaining: &mut usize) -> v1::Violation {
    let mut out = v1::Violation {
        policy: violation.policy.resource_name(),
        description: violation.description.clone(),
        manifest_digest: violation.manifest.to_string(),
        platform: violation.platform.as_ref().map(render_platform),
        deny_time: violation.deny_time.map(render_timestamp),
        ..v1::Violation::default()
    };
    match &violation.breach {
        Breach::Scan(evidence) => out.evidence = render_evidence(*evidence).into(),
        // The description says it all.
        Breach::NotUnderstood => {}
        Breach::Rule { rule, matched, allowed, findings } => {
            out.rule = rule.to_string();
            out.matched = render_count(*matched);
            out.allowed = render_count(*allowed);
            let shown = findings.iter().take(*remaining);
            out.findings = shown
                .map(|finding| render_brief_finding(finding, &violation.manifest, violation.platform.as_ref()))
                .collect();
            *remaining = remaining.saturating_sub(out.findings.len());
        }
    }
    out
}

/// Renders a finding without its long description, which GetFindings returns.
fn render_brief_finding(finding: &Finding, manifest: &Digest, platform: Option<&Platform>) -> v1::Finding {
    v1::Finding { description: String::new(), ..render_finding(finding, manifest, platform) }
}

fn render_waived(waived: &Waived) -> v1::WaivedFinding {
    v1::WaivedFinding {
        finding: Some(render_brief_finding(&waived.finding, &waived.manifest, waived.platform.as_ref())),
        waiver: waived.waiver.resource_name(),
        reason: waived.reason.clone(),
        approver: waived.approver.clone(),
        expire_time: Some(render_timestamp(waived.expire_time)),
        author: waived.author.clone(),
        waiver_revision: render_revision(waived.waiver_revision),
    }
}

fn render_remediation(remediation: &Remediation) -> v1::Remediation {
    let upgrade = |upgrade: &Upgrade| v1::PackageUpgrade {
        package: Some(render_package(&upgrade.package)),
        to_version: upgrade.to_version.clone(),
        vulnerability_ids: upgrade.vulnerability_ids.clone(),
    };
    let unknown_fix = |unknown: &UnknownFix| v1::UnknownFix {
        package: Some(render_package(&unknown.package)),
        vulnerability_ids: unknown.vulnerability_ids.clone(),
    };
    v1::Remediation {
        upgrades: remediation.upgrades.iter().map(upgrade).collect(),
        unfixable: remediation.unfixable.iter().map(render_rule_reference).collect(),
        unknown_fixes: remediation.unknown_fixes.iter().map(unknown_fix).collect(),
    }
}

/// Renders a reference to a rule.
pub(crate) fn render_rule_reference(reference: &RuleReference) -> v1::RuleReference {
    v1::RuleReference {
        policy: reference.policy.resource_name(),
        rule: reference.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn render_next_change(change: &NextChange) -> v1::NextChange {
    v1::NextChange {
        change_time: Some(render_timestamp(change.change_time)),
        verdict: render_verdict(change.verdict).into(),
        reason: change.reason.clone(),
    }
}

/// Renders a page of findings.
pub(crate) fn render_findings_page(page: &Page, binding: &str) -> v1::GetFindingsResponse {
    v1::GetFindingsResponse {
        image: Some(render_image(&page.image)),
        manifests: page.inputs.iter().map(render_manifest_scan).collect(),
        findings: page
            .findings
            .iter()
            .map(|(manifest, finding)| render_finding(finding, &manifest.digest, manifest.platform.as_ref()))
            .collect(),
        total_size: render_count(page.total),
        next_page_token: page.next.as_ref().map(|next| page_token::encode(binding, next)).unwrap_or_default(),
    }
}
