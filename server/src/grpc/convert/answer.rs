//! Answers: decisions and pages of findings.

use std::collections::BTreeMap;

use scangate_core::{
    Verdict,
    decision::{Breach, Examined, ManifestDecision, Violation},
    image::Digest,
    name::Environment,
};
use scangate_proto::v1;

use super::{
    finding::finding_out,
    image::{image_out, platform_out},
    policy_out::applied_out,
    question::findings_token,
    scan::{evidence_out, manifest_scan_out, scan_out},
    time::{duration, timestamp},
};
use crate::{findings::Page, gate::Answer};

/// How many findings one answer shows in its violations, so that it stays within what clients take (4 MiB by default).
/// Counts are whole, and GetFindings has them all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// For a decision alone.
    Alone,
    /// For one decision among the hundred of a batch.
    InBatch,
}

impl Room {
    fn findings(self) -> usize {
        match self {
            Self::Alone => 2000,
            Self::InBatch => 50,
        }
    }
}

/// A decision for the wire.
pub(crate) fn decision_out(
    answer: &Answer,
    environment: Option<&Environment>,
    labels: &BTreeMap<String, String>,
    room: Room,
) -> v1::Decision {
    let mut room = room.findings();
    let decision = &answer.decision;
    let scans: BTreeMap<&Digest, &Examined> =
        answer.examined.iter().map(|examined| (&examined.manifest.digest, examined)).collect();
    let manifest = |manifest: &ManifestDecision| v1::ManifestDecision {
        digest: manifest.digest.to_string(),
        platform: manifest.platform.as_ref().map(platform_out),
        scan: scans.get(&manifest.digest).map(|examined| scan_out(&examined.scan, &manifest.assessment)),
        verdict: verdict_out(manifest.verdict).into(),
        reasons: manifest.reasons.clone(),
        deploy_image: match manifest.verdict {
            Verdict::Allow => answer.image.pinned(&manifest.digest),
            Verdict::Indeterminate | Verdict::Deny => String::new(),
        },
    };
    v1::Decision {
        name: String::new(),
        verdict: verdict_out(decision.verdict).into(),
        reasons: decision.reasons.clone(),
        image: Some(image_out(&answer.image)),
        deploy_image: answer.deploy.as_ref().map(|digest| answer.image.pinned(digest)).unwrap_or_default(),
        environment: environment.map(ToString::to_string).unwrap_or_default(),
        manifests: decision.manifests.iter().map(manifest).collect(),
        violations: decision.violations.iter().map(|violation| violation_out(violation, &mut room)).collect(),
        warnings: decision.warnings.iter().map(|violation| violation_out(violation, &mut room)).collect(),
        waived: Vec::new(),
        remediation: None,
        authoritative: decision.authoritative,
        policies: decision.policies.iter().map(applied_out).collect(),
        revision: decision.revision,
        evaluated_at: Some(timestamp(decision.evaluated_at)),
        valid_until: None,
        next_change: None,
        retry_after: decision.retry_after.map(duration),
        labels: labels.clone().into_iter().collect(),
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

fn violation_out(violation: &Violation, room: &mut usize) -> v1::Violation {
    let mut out = v1::Violation {
        policy: violation.policy.resource_name(),
        description: violation.description.clone(),
        manifest_digest: violation.manifest.to_string(),
        platform: violation.platform.as_ref().map(platform_out),
        ..v1::Violation::default()
    };
    match &violation.breach {
        Breach::Scan(evidence) => out.evidence = evidence_out(*evidence).into(),
        Breach::Rule { rule, matched, allowed, findings } => {
            out.rule = rule.to_string();
            out.matched = *matched;
            out.allowed = *allowed;
            out.findings = findings
                .iter()
                .take(*room)
                .map(|finding| finding_out(finding, &violation.manifest, violation.platform.as_ref()))
                // Long texts are GetFindings' business.
                .map(|finding| v1::Finding { description: String::new(), ..finding })
                .collect();
            *room = room.saturating_sub(out.findings.len());
        }
    }
    out
}

/// A page of findings for the wire.
pub(crate) fn page_out(page: &Page, binding: &str) -> v1::GetFindingsResponse {
    v1::GetFindingsResponse {
        image: Some(image_out(&page.image)),
        manifests: page.examined.iter().map(manifest_scan_out).collect(),
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
