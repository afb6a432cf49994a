//! The details of decisions and simulations within a byte budget: violations, warnings, waived findings and remediation.
//!
//! A verdict, its reasons, the reference to deploy and the manifests are never left out. Details that do not fit are counted.

use scangate_core::{
    Decision,
    decision::{Breach, Remediation, UnknownFix, Upgrade, Violation, Waived},
};
use scangate_proto::v1;

use super::{
    count::render_count,
    decision::render_rule_reference,
    finding::{render_finding, render_package},
    image::render_platform,
    revision::render_revision,
    scan::render_evidence,
    time::render_timestamp,
};
use crate::grpc::byte_budget::ByteBudget;

/// The call that returns what a response leaves out.
const NEXT_STEP: &str = "use GetFindings on the image by digest for every finding; GetDecision alone states more details \
                         than a batch";

/// The details that fit.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) violations: Vec<v1::Violation>,
    pub(super) warnings: Vec<v1::Violation>,
    pub(super) waived: Vec<v1::WaivedFinding>,
    pub(super) remediation: Option<v1::Remediation>,
    /// The counts of what is left out; `None` if nothing is.
    pub(super) omitted: Option<v1::Omitted>,
}

impl Details {
    /// Renders the details of a decision. What matters most takes what the others leave: the findings of violations come last.
    pub(super) fn render(decision: &Decision, omitted_scans: usize, mut budget: ByteBudget) -> Self {
        let mut violations =
            budget.with_part(2, |part| part.take_while_fits(decision.violations.iter().map(render_without_findings)));
        let mut warnings =
            budget.with_part(4, |part| part.take_while_fits(decision.warnings.iter().map(render_without_findings)));
        let remediation = decision
            .remediation
            .as_ref()
            .map(|remediation| budget.with_part(4, |part| render_remediation(remediation, part)));
        let waived = budget.with_part(4, |part| part.take_while_fits(decision.waived.iter().map(render_waived)));
        budget.with_part(4, |part| add_findings(&mut warnings, &decision.warnings, part));
        add_findings(&mut violations, &decision.violations, &mut budget);
        let omitted = v1::Omitted {
            violations: render_count(decision.violations.len() - violations.len()),
            warnings: render_count(decision.warnings.len() - warnings.len()),
            findings: omitted_findings(&decision.violations, &violations)
                .saturating_add(omitted_findings(&decision.warnings, &warnings)),
            waived_findings: render_count(decision.waived_total).saturating_sub(render_count(waived.len())),
            remediation_steps: remediation.as_ref().zip(decision.remediation.as_ref()).map_or(0, |(shown, all)| {
                render_count(all.upgrades.len() + all.unfixable.len() + all.unknown_fixes.len())
                    - render_count(shown.upgrades.len() + shown.unfixable.len() + shown.unknown_fixes.len())
            }),
            manifest_scans: render_count(omitted_scans),
            next_step: String::new(),
        };
        let omitted =
            (omitted != v1::Omitted::default()).then(|| v1::Omitted { next_step: NEXT_STEP.to_owned(), ..omitted });
        Self { violations, warnings, waived, remediation, omitted }
    }
}

/// The number of findings that violations count and do not list.
fn omitted_findings(all: &[Violation], shown: &[v1::Violation]) -> i32 {
    let listed = shown.iter().map(|violation| violation.findings.len()).chain(std::iter::repeat(0));
    let omitted = all.iter().zip(listed).map(|(violation, listed)| match &violation.breach {
        Breach::Rule { matched, .. } => usize::try_from(*matched).unwrap_or(usize::MAX).saturating_sub(listed),
        Breach::Scan(_) | Breach::NotUnderstood => 0,
    });
    render_count(omitted.fold(0, usize::saturating_add))
}

/// Adds the findings that fit, worst first. Each violation has an equal part of what is left.
fn add_findings(shown: &mut [v1::Violation], all: &[Violation], budget: &mut ByteBudget) {
    let violations = shown.len();
    for (index, (message, violation)) in shown.iter_mut().zip(all).enumerate() {
        let Breach::Rule { findings, .. } = &violation.breach else { continue };
        let render = |finding| render_finding(finding, &violation.manifest, violation.platform.as_ref());
        message.findings =
            budget.with_part(violations - index, |part| part.take_while_fits(findings.iter().map(render)));
    }
}

fn render_without_findings(violation: &Violation) -> v1::Violation {
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
        Breach::Rule { rule, matched, allowed, findings: _ } => {
            out.rule = rule.to_string();
            out.matched = render_count(*matched);
            out.allowed = render_count(*allowed);
        }
    }
    out
}

fn render_waived(waived: &Waived) -> v1::WaivedFinding {
    v1::WaivedFinding {
        finding: Some(render_finding(&waived.finding, &waived.manifest, waived.platform.as_ref())),
        waiver: waived.waiver.resource_name(),
        reason: waived.reason.clone(),
        approver: waived.approver.clone(),
        expire_time: Some(render_timestamp(waived.expire_time)),
        author: waived.author.clone(),
        waiver_revision: render_revision(waived.waiver_revision),
    }
}

/// Renders the steps that fit. A step that does not fit does not hide smaller ones.
fn render_remediation(remediation: &Remediation, budget: &mut ByteBudget) -> v1::Remediation {
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
        upgrades: remediation.upgrades.iter().map(upgrade).filter(|upgrade| budget.admits(upgrade)).collect(),
        unfixable: remediation.unfixable.iter().map(render_rule_reference).filter(|rule| budget.admits(rule)).collect(),
        unknown_fixes: remediation.unknown_fixes.iter().map(unknown_fix).filter(|fix| budget.admits(fix)).collect(),
    }
}
