//! Conversions of decisions, simulations and pages of findings.

use std::collections::BTreeMap;

use jiff::Timestamp;
use prost::Message as _;
use scangate_core::{
    Verdict,
    decision::{ManifestDecision, NextChange, RuleReference},
    name::PolicyId,
    scan::Usage,
};
use scangate_proto::v1;

use super::{
    count::render_count,
    decision_details::Details,
    finding::render_finding,
    image::{render_image, render_platform},
    policy::render_applied_policy,
    revision::render_revision,
    scan::{render_manifest_scan, render_scan},
    time::{render_duration, render_timestamp},
};
use crate::{
    decision_log::{DecisionId, Listed, Outline, Unreadable},
    decisions::{EvaluatedDecision, Evaluation, RecordedDecision},
    findings::Page,
    grpc::{byte_budget::ByteBudget, field_violations::Fields, page_token},
};

/// Renders a decision; the budget is for the fields that its records share.
pub(crate) fn render_decision(recorded: &RecordedDecision, budget: ByteBudget) -> v1::Decision {
    let v1::Decision { name, evaluate_time, caller, labels, .. } = render_recorded_fields(recorded);
    v1::Decision { name, evaluate_time, caller, labels, ..render_evaluated_fields(&recorded.evaluated, budget) }
}

/// Renders the fields that differ between records of one evaluated decision: name, time, caller and labels.
pub(crate) fn render_recorded_fields(recorded: &RecordedDecision) -> v1::Decision {
    v1::Decision {
        name: format!("decisions/{}", recorded.id),
        evaluate_time: Some(render_timestamp(recorded.evaluate_time)),
        caller: recorded.caller.clone(),
        labels: recorded.labels.clone(),
        ..v1::Decision::default()
    }
}

/// Renders a listed decision in the view BASIC.
pub(crate) fn render_basic(listed: &Listed) -> v1::Decision {
    match listed {
        Listed::Entry(entry) => {
            let outline = Outline::of(&entry.record);
            let decision = render_outline(&entry.id, Some(entry.evaluate_time), &entry.labels, &outline);
            v1::Decision { caller: entry.caller.clone(), ..decision }
        }
        Listed::Unreadable(unreadable) => render_unreadable(unreadable),
    }
}

/// Renders the readable parts of a decision. It never says ALLOW: an unreadable part may restrict the verdict.
pub(crate) fn render_unreadable(unreadable: &Unreadable) -> v1::Decision {
    let Unreadable { id, evaluate_time, caller, labels, outline, cause } = unreadable;
    let mut decision = render_outline(id, *evaluate_time, labels, outline);
    if decision.verdict() == v1::Verdict::Allow {
        decision.set_verdict(v1::Verdict::Unspecified);
    }
    let unreadable_detail = format!(
        "{cause}; the decision is damaged or was written by a newer server: read it from an upgraded server, or run \
         verify-decisions"
    );
    v1::Decision { unreadable_detail, caller: caller.clone().unwrap_or_default(), ..decision }
}

fn render_outline(
    id: &DecisionId,
    evaluate_time: Option<Timestamp>,
    labels: &BTreeMap<String, String>,
    outline: &Outline,
) -> v1::Decision {
    let Outline { keys, tag, summary } = outline;
    let registry = keys.registry.as_ref();
    let image = v1::Image {
        registry_id: registry.map(|registry| registry.account().to_owned()).unwrap_or_default(),
        region: registry.map(|registry| registry.region().to_owned()).unwrap_or_default(),
        repository: keys.repository.as_ref().map(ToString::to_string).unwrap_or_default(),
        tag: tag.as_ref().map(ToString::to_string).unwrap_or_default(),
        digest: keys.digests.iter().flatten().next().map(ToString::to_string).unwrap_or_default(),
        push_time: None,
    };
    let reference = |policy: &PolicyId| v1::PolicyReference { policy: policy.resource_name(), ..Default::default() };
    v1::Decision {
        name: format!("decisions/{id}"),
        verdict: keys.verdict.map(render_verdict).unwrap_or_default().into(),
        reasons: summary.iter().filter(|summary| !summary.is_empty()).cloned().collect(),
        image: Some(image),
        environment: keys.environment.iter().flatten().next().map(ToString::to_string).unwrap_or_default(),
        policies: keys.policies.iter().flatten().map(reference).collect(),
        evaluate_time: evaluate_time.map(render_timestamp),
        labels: labels.clone(),
        view: v1::DecisionView::Basic.into(),
        ..v1::Decision::default()
    }
}

/// Builds a decision or a simulation within a budget: their shared fields from an evaluation, and the given ones.
macro_rules! render_evaluation {
    ($message:ident, $evaluation:expr, $budget:expr, { $($field:ident: $value:expr),+ $(,)? }) => {{
        let Evaluation { image, environment, decision, inputs: _ } = $evaluation;
        let mut budget = $budget;
        let mut message = v1::$message {
            verdict: render_verdict(decision.verdict).into(),
            reasons: decision.reasons.clone(),
            image: Some(render_image(image)),
            environment: environment.as_ref().map(ToString::to_string).unwrap_or_default(),
            waived_finding_count: render_count(decision.waived_count),
            policies: decision.policies.iter().map(render_applied_policy).collect(),
            revision: render_revision(decision.revision),
            expire_time: decision.next_change.as_ref().map(|change| render_timestamp(change.change_time)),
            next_change: decision.next_change.as_ref().map(render_next_change),
            retry_after: decision.retry_after.map(render_duration),
            $($field: $value,)+
            ..v1::$message::default()
        };
        // Scans are the only details of manifests that can be left out.
        let mut omitted_scans = 0;
        if message.encoded_len() > budget.remaining() {
            omitted_scans = message.manifests.iter_mut().filter_map(|manifest| manifest.scan.take()).count();
        }
        budget.charge(&message);
        let details = Details::render(decision, omitted_scans, budget);
        v1::$message {
            violations: details.violations,
            warnings: details.warnings,
            waived_findings: details.waived_findings,
            remediation: details.remediation,
            omitted: details.omitted,
            ..message
        }
    }};
}

/// Renders the fields that all records of one evaluated decision share.
pub(crate) fn render_evaluated_fields(evaluated: &EvaluatedDecision, budget: ByteBudget) -> v1::Decision {
    let EvaluatedDecision { evaluation, deploy } = evaluated;
    render_evaluation!(Decision, evaluation, budget, {
        deploy_image: deploy.as_ref().map(|digest| evaluation.image.pinned(digest)).unwrap_or_default(),
        manifests: render_manifests(evaluated),
        view: v1::DecisionView::Full.into(),
    })
}

/// Renders an evaluation that was not recorded. It permits no deployment.
pub(crate) fn render_simulation(evaluation: &Evaluation, budget: ByteBudget) -> v1::Simulation {
    let manifests = &evaluation.decision.manifests;
    render_evaluation!(Simulation, evaluation, budget, {
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

/// Renders a page of findings. It ends early if the response would become too large.
pub(crate) fn render_findings_page(page: &Page, binding: &str) -> v1::GetFindingsResponse {
    let rest = v1::GetFindingsResponse {
        image: Some(render_image(&page.image)),
        manifests: page.inputs.iter().map(render_manifest_scan).collect(),
        total_size: render_count(page.total),
        ..v1::GetFindingsResponse::default()
    };
    let mut budget = ByteBudget::page();
    budget.charge(&rest);
    let findings = page
        .findings
        .iter()
        .map(|(manifest, finding)| render_finding(finding, &manifest.digest, manifest.platform.as_ref()));
    let findings = budget.take_page(findings);
    let next_page_token =
        page.cursor_after(findings.len()).map(|next| page_token::encode(binding, &next)).unwrap_or_default();
    v1::GetFindingsResponse { findings, next_page_token, ..rest }
}
