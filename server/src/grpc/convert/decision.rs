//! EvaluateCodec: decisions and pages of findings.

use std::collections::BTreeMap;

use scangate_core::{
    Verdict,
    decision::{Breach, ManifestDecision, ManifestInput, NextChange, Remediation, Upgrade, Violation, Waived},
    finding::Finding,
    image::{Digest, Platform},
};
use scangate_proto::v1;

use super::{
    evaluate_request::render_findings_token,
    finding::{render_finding, render_package},
    image::{render_image, render_platform},
    policy::render_applied_policy,
    scan::{render_evidence, render_manifest_scan, render_scan},
    time::{render_duration, render_timestamp},
};
use crate::{
    decisions::{EvaluatedDecision, RecordedDecision},
    findings::Page,
    grpc::field_violations::Fields,
};

/// How many findings one answer shows in its violations, so that it stays within what clients take (4 MiB by default).
/// Counts are whole, and GetFindings has them all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FindingLimit {
    /// For a decision alone.
    Single,
    /// For one decision among the hundred of a batch or a page.
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

/// A decision for the wire.
pub(crate) fn render_decision(answer: &RecordedDecision, room: FindingLimit) -> v1::Decision {
    let v1::Decision { name, evaluated_at, labels, .. } = render_recorded_fields(answer);
    v1::Decision { name, evaluated_at, labels, ..render_evaluated_fields(&answer.evaluated, room) }
}

/// What an answer alone has: its name, its time, and what its caller gave it to keep.
pub(crate) fn render_recorded_fields(answer: &RecordedDecision) -> v1::Decision {
    v1::Decision {
        name: format!("decisions/{}", answer.id),
        evaluated_at: Some(render_timestamp(answer.evaluated_at)),
        labels: answer.labels.clone(),
        ..v1::Decision::default()
    }
}

/// What all answers that tell of a judgement have in common.
pub(crate) fn render_evaluated_fields(judgement: &EvaluatedDecision, room: FindingLimit) -> v1::Decision {
    let EvaluatedDecision { image, environment, decision, inputs, deploy } = judgement;
    let mut findings = room.findings();
    let scans: BTreeMap<&Digest, &ManifestInput> = inputs.iter().map(|input| (&input.manifest.digest, input)).collect();
    let is_allowed = decision.verdict == Verdict::Allow && decision.authoritative;
    let manifest = |manifest: &ManifestDecision| v1::ManifestDecision {
        digest: manifest.digest.to_string(),
        platform: manifest.platform.as_ref().map(render_platform),
        scan: scans.get(&manifest.digest).map(|input| render_scan(&input.scan, &manifest.assessment)),
        verdict: render_verdict(manifest.verdict).into(),
        reasons: manifest.reasons.clone(),
        // Of an image that is denied nothing is to be deployed, its good platforms neither.
        deploy_image: if is_allowed { image.pinned(&manifest.digest) } else { String::new() },
    };
    v1::Decision {
        name: String::new(),
        verdict: render_verdict(decision.verdict).into(),
        reasons: decision.reasons.clone(),
        image: Some(render_image(image)),
        deploy_image: deploy.as_ref().map(|digest| image.pinned(digest)).unwrap_or_default(),
        environment: environment.as_ref().map(ToString::to_string).unwrap_or_default(),
        manifests: decision.manifests.iter().map(manifest).collect(),
        violations: decision.violations.iter().map(|violation| render_violation(violation, &mut findings)).collect(),
        warnings: decision.warnings.iter().map(|violation| render_violation(violation, &mut findings)).collect(),
        waived: decision.waived.iter().take(room.waived()).map(render_waived).collect(),
        waived_total: decision.waived_total,
        remediation: decision.remediation.as_ref().map(render_remediation),
        authoritative: decision.authoritative,
        policies: decision.policies.iter().map(render_applied_policy).collect(),
        revision: decision.revision,
        evaluated_at: None,
        valid_until: decision.next_change.as_ref().map(|change| render_timestamp(change.time)),
        next_change: decision.next_change.as_ref().map(render_next_change),
        retry_after: decision.retry_after.map(render_duration),
        labels: BTreeMap::new(),
    }
}

/// A verdict for the wire.
pub(crate) fn render_verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Allow => v1::Verdict::Allow,
        Verdict::Indeterminate => v1::Verdict::Indeterminate,
        Verdict::Deny => v1::Verdict::Deny,
    }
}

/// A verdict to look for.
pub(crate) fn parse_verdict(fields: &mut Fields, path: &str, given: i32) -> Option<Verdict> {
    match v1::Verdict::try_from(given) {
        Ok(v1::Verdict::Allow) => Some(Verdict::Allow),
        Ok(v1::Verdict::Deny) => Some(Verdict::Deny),
        Ok(v1::Verdict::Indeterminate) => Some(Verdict::Indeterminate),
        Ok(v1::Verdict::Unspecified) | Err(_) => {
            fields.refuse(path, "must be VERDICT_ALLOW, _DENY or _INDETERMINATE");
            None
        }
    }
}

fn render_violation(violation: &Violation, room: &mut usize) -> v1::Violation {
    let mut out = v1::Violation {
        policy: violation.policy.resource_name(),
        description: violation.description.clone(),
        manifest_digest: violation.manifest.to_string(),
        platform: violation.platform.as_ref().map(render_platform),
        denies_from: violation.denies_from.map(render_timestamp),
        ..v1::Violation::default()
    };
    match &violation.breach {
        Breach::Scan(evidence) => out.evidence = render_evidence(*evidence).into(),
        Breach::Rule { rule, matched, allowed, findings } => {
            out.rule = rule.to_string();
            out.matched = *matched;
            out.allowed = *allowed;
            let shown = findings.iter().take(*room);
            out.findings =
                shown.map(|finding| brief(finding, &violation.manifest, violation.platform.as_ref())).collect();
            *room = room.saturating_sub(out.findings.len());
        }
    }
    out
}

/// A finding without its long text, which is GetFindings' business.
fn brief(finding: &Finding, manifest: &Digest, platform: Option<&Platform>) -> v1::Finding {
    v1::Finding { description: String::new(), ..render_finding(finding, manifest, platform) }
}

fn render_waived(waived: &Waived) -> v1::WaivedFinding {
    v1::WaivedFinding {
        finding: Some(brief(&waived.finding, &waived.manifest, waived.platform.as_ref())),
        waiver: waived.waiver.resource_name(),
        reason: waived.reason.clone(),
        approver: waived.approver.clone(),
        until: Some(render_timestamp(waived.until)),
        author: waived.author.clone(),
    }
}

fn render_remediation(remediation: &Remediation) -> v1::Remediation {
    let upgrade = |upgrade: &Upgrade| v1::PackageUpgrade {
        package: Some(render_package(&upgrade.package)),
        to_version: upgrade.to_version.clone(),
        fixes: upgrade.fixes.clone(),
    };
    v1::Remediation {
        upgrades: remediation.upgrades.iter().map(upgrade).collect(),
        unfixable: remediation.unfixable.clone(),
    }
}

fn render_next_change(change: &NextChange) -> v1::NextChange {
    v1::NextChange {
        time: Some(render_timestamp(change.time)),
        verdict: render_verdict(change.verdict).into(),
        reason: change.reason.clone(),
    }
}

/// A page of findings for the wire.
pub(crate) fn render_findings_page(page: &Page, binding: &str) -> v1::GetFindingsResponse {
    v1::GetFindingsResponse {
        image: Some(render_image(&page.image)),
        manifests: page.inputs.iter().map(render_manifest_scan).collect(),
        findings: page
            .findings
            .iter()
            .map(|(manifest, finding)| render_finding(finding, &manifest.digest, manifest.platform.as_ref()))
            .collect(),
        total_size: u32::try_from(page.total).unwrap_or(u32::MAX),
        next_page_token: page
            .next_offset
            .map(|offset| render_findings_token(binding, offset, &page.fingerprint))
            .unwrap_or_default(),
    }
}
