//! Answers: decisions and pages of findings.

use std::collections::BTreeMap;

use scangate_core::{
    Verdict,
    decision::{Breach, ManifestDecision, ManifestInput, NextChange, Remediation, Upgrade, Violation, Waived},
    finding::Finding,
    image::{Digest, Platform},
};
use scangate_proto::v1;

use super::{
    evaluate_request::findings_token,
    finding::{finding_out, package_out},
    image::{image_out, platform_out},
    policy::applied_out,
    scan::{evidence_out, manifest_scan_out, scan_out},
    time::{duration, timestamp},
};
use crate::{
    decisions::{EvaluatedDecision, RecordedDecision},
    findings::Page,
    grpc::field_violations::Fields,
};

/// How many findings one answer shows in its violations, so that it stays within what clients take (4 MiB by default).
/// Counts are whole, and GetFindings has them all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// For a decision alone.
    Alone,
    /// For one decision among the hundred of a batch or a page.
    InBatch,
}

impl Room {
    fn findings(self) -> usize {
        match self {
            Self::Alone => 2000,
            Self::InBatch => 50,
        }
    }

    fn waived(self) -> usize {
        match self {
            Self::Alone => 1000,
            Self::InBatch => 25,
        }
    }
}

/// A decision for the wire.
pub(crate) fn decision_out(answer: &RecordedDecision, room: Room) -> v1::Decision {
    let v1::Decision { name, evaluated_at, labels, .. } = own_out(answer);
    v1::Decision { name, evaluated_at, labels, ..judgement_out(&answer.evaluated, room) }
}

/// What an answer alone has: its name, its time, and what its caller gave it to keep.
pub(crate) fn own_out(answer: &RecordedDecision) -> v1::Decision {
    v1::Decision {
        name: format!("decisions/{}", answer.id),
        evaluated_at: Some(timestamp(answer.evaluated_at)),
        labels: answer.labels.clone(),
        ..v1::Decision::default()
    }
}

/// What all answers that tell of a judgement have in common.
pub(crate) fn judgement_out(judgement: &EvaluatedDecision, room: Room) -> v1::Decision {
    let EvaluatedDecision { image, environment, decision, inputs, deploy } = judgement;
    let mut findings = room.findings();
    let scans: BTreeMap<&Digest, &ManifestInput> = inputs.iter().map(|input| (&input.manifest.digest, input)).collect();
    let is_allowed = decision.verdict == Verdict::Allow && decision.authoritative;
    let manifest = |manifest: &ManifestDecision| v1::ManifestDecision {
        digest: manifest.digest.to_string(),
        platform: manifest.platform.as_ref().map(platform_out),
        scan: scans.get(&manifest.digest).map(|input| scan_out(&input.scan, &manifest.assessment)),
        verdict: verdict_out(manifest.verdict).into(),
        reasons: manifest.reasons.clone(),
        // Of an image that is denied nothing is to be deployed, its good platforms neither.
        deploy_image: if is_allowed { image.pinned(&manifest.digest) } else { String::new() },
    };
    v1::Decision {
        name: String::new(),
        verdict: verdict_out(decision.verdict).into(),
        reasons: decision.reasons.clone(),
        image: Some(image_out(image)),
        deploy_image: deploy.as_ref().map(|digest| image.pinned(digest)).unwrap_or_default(),
        environment: environment.as_ref().map(ToString::to_string).unwrap_or_default(),
        manifests: decision.manifests.iter().map(manifest).collect(),
        violations: decision.violations.iter().map(|violation| violation_out(violation, &mut findings)).collect(),
        warnings: decision.warnings.iter().map(|violation| violation_out(violation, &mut findings)).collect(),
        waived: decision.waived.iter().take(room.waived()).map(waived_out).collect(),
        waived_total: decision.waived_total,
        remediation: decision.remediation.as_ref().map(remediation_out),
        authoritative: decision.authoritative,
        policies: decision.policies.iter().map(applied_out).collect(),
        revision: decision.revision,
        evaluated_at: None,
        valid_until: decision.next_change.as_ref().map(|change| timestamp(change.time)),
        next_change: decision.next_change.as_ref().map(next_change_out),
        retry_after: decision.retry_after.map(duration),
        labels: BTreeMap::new(),
    }
}

/// A verdict for the wire.
pub(crate) fn verdict_out(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Allow => v1::Verdict::Allow,
        Verdict::Indeterminate => v1::Verdict::Indeterminate,
        Verdict::Deny => v1::Verdict::Deny,
    }
}

/// A verdict to look for.
pub(crate) fn verdict(fields: &mut Fields, path: &str, given: i32) -> Option<Verdict> {
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

fn violation_out(violation: &Violation, room: &mut usize) -> v1::Violation {
    let mut out = v1::Violation {
        policy: violation.policy.resource_name(),
        description: violation.description.clone(),
        manifest_digest: violation.manifest.to_string(),
        platform: violation.platform.as_ref().map(platform_out),
        denies_from: violation.denies_from.map(timestamp),
        ..v1::Violation::default()
    };
    match &violation.breach {
        Breach::Scan(evidence) => out.evidence = evidence_out(*evidence).into(),
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
    v1::Finding { description: String::new(), ..finding_out(finding, manifest, platform) }
}

fn waived_out(waived: &Waived) -> v1::WaivedFinding {
    v1::WaivedFinding {
        finding: Some(brief(&waived.finding, &waived.manifest, waived.platform.as_ref())),
        waiver: waived.waiver.resource_name(),
        reason: waived.reason.clone(),
        approver: waived.approver.clone(),
        until: Some(timestamp(waived.until)),
        author: waived.author.clone(),
    }
}

fn remediation_out(remediation: &Remediation) -> v1::Remediation {
    let upgrade = |upgrade: &Upgrade| v1::PackageUpgrade {
        package: Some(package_out(&upgrade.package)),
        to_version: upgrade.to_version.clone(),
        fixes: upgrade.fixes.clone(),
    };
    v1::Remediation {
        upgrades: remediation.upgrades.iter().map(upgrade).collect(),
        unfixable: remediation.unfixable.clone(),
    }
}

fn next_change_out(change: &NextChange) -> v1::NextChange {
    v1::NextChange {
        time: Some(timestamp(change.time)),
        verdict: verdict_out(change.verdict).into(),
        reason: change.reason.clone(),
    }
}

/// A page of findings for the wire.
pub(crate) fn page_out(page: &Page, binding: &str) -> v1::GetFindingsResponse {
    v1::GetFindingsResponse {
        image: Some(image_out(&page.image)),
        manifests: page.inputs.iter().map(manifest_scan_out).collect(),
        findings: page
            .findings
            .iter()
            .map(|(manifest, finding)| finding_out(finding, &manifest.digest, manifest.platform.as_ref()))
            .collect(),
        total_size: u32::try_from(page.total).unwrap_or(u32::MAX),
        next_page_token: page
            .next_offset
            .map(|offset| findings_token(binding, offset, &page.fingerprint))
            .unwrap_or_default(),
    }
}
