//! Conversions of simulations: evaluations that permit no deployment.

use scangate_core::{decision::ManifestDecision, scan::Usage};
use scangate_proto::v1;

use super::{
    decision::{FindingLimit, render_next_change, render_remediation, render_verdict, render_violation, render_waived},
    image::{render_image, render_platform},
    policy::render_applied_policy,
    scan::render_scan,
    time::{render_duration, render_timestamp},
};
use crate::decisions::Evaluation;

/// Renders an evaluation that was not recorded.
pub(crate) fn render_simulation(evaluation: &Evaluation) -> v1::Simulation {
    let Evaluation { image, environment, decision, inputs: _ } = evaluation;
    let limit = FindingLimit::Single;
    let mut remaining = limit.findings();
    v1::Simulation {
        verdict: render_verdict(decision.verdict).into(),
        reasons: decision.reasons.clone(),
        image: Some(render_image(image)),
        environment: environment.as_ref().map(ToString::to_string).unwrap_or_default(),
        manifests: decision.manifests.iter().map(|manifest| render_manifest(evaluation, manifest)).collect(),
        violations: decision.violations.iter().map(|violation| render_violation(violation, &mut remaining)).collect(),
        warnings: decision.warnings.iter().map(|violation| render_violation(violation, &mut remaining)).collect(),
        waived: decision.waived.iter().take(limit.waived()).map(render_waived).collect(),
        waived_total: decision.waived_total,
        remediation: decision.remediation.as_ref().map(render_remediation),
        policies: decision.policies.iter().map(render_applied_policy).collect(),
        revision: decision.revision,
        evaluated_at: Some(render_timestamp(decision.evaluated_at)),
        valid_until: decision.next_change.as_ref().map(|change| render_timestamp(change.time)),
        next_change: decision.next_change.as_ref().map(render_next_change),
        retry_after: decision.retry_after.map(render_duration),
    }
}

/// Renders the outcome for one manifest, which decisions and simulations share.
pub(super) fn render_manifest(evaluation: &Evaluation, manifest: &ManifestDecision) -> v1::ManifestSimulation {
    let input = evaluation.inputs.iter().find(|input| input.manifest.digest == manifest.digest);
    let usage = input.map_or_else(Usage::default, |input| input.scan.usage);
    v1::ManifestSimulation {
        digest: manifest.digest.to_string(),
        platform: manifest.platform.as_ref().map(render_platform),
        scan: input.map(|input| render_scan(&input.scan, &manifest.assessment)),
        verdict: render_verdict(manifest.verdict).into(),
        reasons: manifest.reasons.clone(),
        in_use_count: usage.in_use_count,
        last_in_use_at: usage.last_in_use_at.map(render_timestamp),
    }
}
