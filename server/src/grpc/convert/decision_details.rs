//! The details of decisions and simulations within a byte budget: violations, warnings, waived findings and remediation.
//!
//! A verdict, its reasons, the reference to deploy and the manifests are never left out. Details that do not fit are counted.

use scangate_core::{
    Decision,
    decision::{AppliedWaiver, Breach, Remediation, UnknownFix, Upgrade, Violation, Waived},
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
    pub(super) waived_findings: Vec<v1::WaivedFinding>,
    pub(super) remediation: Option<v1::Remediation>,
    /// The counts of what is left out; `None` if nothing is.
    pub(super) omitted: Option<v1::Omitted>,
}

impl Details {
    /// Renders the details of a decision. What matters most takes what the others leave: the findings of violations come last.
    pub(super) fn render(decision: &Decision, omitted_scans: usize, mut budget: ByteBudget) -> Self {
        budget.charge(&largest_omitted());
        let mut violations =
            budget.with_part(2, |part| part.take_while_fits(decision.violations.iter().map(render_without_findings)));
        let mut warnings =
            budget.with_part(4, |part| part.take_while_fits(decision.warnings.iter().map(render_without_findings)));
        let remediation = decision
            .remediation
            .as_ref()
            .map(|remediation| budget.with_part(4, |part| render_remediation(remediation, part)));
        let waived_findings =
            budget.with_part(4, |part| part.take_while_fits(decision.waived.iter().map(render_waived)));
        budget.with_part(4, |part| add_findings(&mut warnings, &decision.warnings, part));
        add_findings(&mut violations, &decision.violations, &mut budget);
        let omitted = v1::Omitted {
            violation_count: render_count(decision.violations.len() - violations.len()),
            warning_count: render_count(decision.warnings.len() - warnings.len()),
            finding_count: omitted_findings(&decision.violations, &violations)
                .saturating_add(omitted_findings(&decision.warnings, &warnings)),
            waived_finding_count: render_count(decision.waived_count)
                .saturating_sub(render_count(waived_findings.len())),
            remediation_step_count: remediation.as_ref().zip(decision.remediation.as_ref()).map_or(
                0,
                |(shown, all)| {
                    render_count(all.upgrades.len() + all.unfixable.len() + all.unknown_fixes.len())
                        - render_count(shown.upgrades.len() + shown.unfixable.len() + shown.unknown_fixes.len())
                },
            ),
            manifest_scan_count: render_count(omitted_scans),
            next_step: String::new(),
        };
        let omitted =
            (omitted != v1::Omitted::default()).then(|| v1::Omitted { next_step: NEXT_STEP.to_owned(), ..omitted });
        Self { violations, warnings, waived_findings, remediation, omitted }
    }
}

/// The counts of the largest size.
fn largest_omitted() -> v1::Omitted {
    v1::Omitted {
        violation_count: i32::MAX,
        warning_count: i32::MAX,
        finding_count: i32::MAX,
        waived_finding_count: i32::MAX,
        remediation_step_count: i32::MAX,
        manifest_scan_count: i32::MAX,
        next_step: NEXT_STEP.to_owned(),
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
        Breach::Scan(evidence) => {
            out.set_kind(v1::ViolationKind::Scan);
            out.set_evidence(render_evidence(*evidence));
        }
        Breach::NotUnderstood => out.set_kind(v1::ViolationKind::PolicyNotUnderstood),
        Breach::Rule { rule, matched, allowed, findings: _ } => {
            out.set_kind(v1::ViolationKind::Rule);
            out.rule = rule.to_string();
            out.matched_count = Some(render_count(*matched));
            out.allowed_count = Some(render_count(*allowed));
        }
    }
    out
}

fn render_waived(waived: &Waived) -> v1::WaivedFinding {
    v1::WaivedFinding {
        finding: Some(render_finding(&waived.finding, &waived.manifest, waived.platform.as_ref())),
        waivers: waived.waivers.iter().map(render_applied_waiver).collect(),
        expire_time: Some(render_timestamp(waived.expire_time)),
    }
}

fn render_applied_waiver(applied: &AppliedWaiver) -> v1::AppliedWaiver {
    v1::AppliedWaiver {
        waiver: applied.id.resource_name(),
        revision: render_revision(applied.revision),
        reason: applied.reason.clone(),
        requested_by: applied.requested_by.clone(),
        approved_by: applied.approved_by.clone(),
        expire_time: Some(render_timestamp(applied.expire_time)),
    }
}

/// Renders the steps that fit. A step that does not fit does not hide smaller ones.
fn render_remediation(remediation: &Remediation, budget: &mut ByteBudget) -> v1::Remediation {
    let upgrade = |upgrade: &Upgrade| v1::PackageUpgrade {
        package: Some(render_package(&upgrade.package)),
        fixed_version: upgrade.fixed_version.clone(),
        vulnerability_ids: upgrade.vulnerability_ids.clone(),
    };
    let unknown_fix = |unknown: &UnknownFix| v1::UnknownFix {
        package: Some(render_package(&unknown.package)),
        vulnerability_ids: unknown.vulnerability_ids.clone(),
    };
    budget.charge(&v1::Remediation::default());
    v1::Remediation {
        upgrades: remediation.upgrades.iter().map(upgrade).filter(|upgrade| budget.admits(upgrade)).collect(),
        unfixable: remediation.unfixable.iter().map(render_rule_reference).filter(|rule| budget.admits(rule)).collect(),
        unknown_fixes: remediation.unknown_fixes.iter().map(unknown_fix).filter(|fix| budget.admits(fix)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use prost::Message as _;
    use scangate_core::{
        Verdict,
        decision::RuleReference,
        finding::Finding,
        name::{PolicyId, RuleId, WaiverId},
    };
    use scangate_test_fixtures::{digest, finding};

    use super::*;
    use crate::grpc::byte_budget::MAX_RESPONSE_BYTES;

    fn findings(count: usize, title: usize) -> Vec<Finding> {
        let title = || Some("t".repeat(title).into());
        (0..count).map(|number| Finding { title: title(), ..finding(&format!("CVE-2026-{number}")) }).collect()
    }

    /// A violation that counts twice as many findings as it lists.
    fn violation(count: usize, title: usize) -> Violation {
        let breach = Breach::Rule {
            rule: RuleId::parse("rule").unwrap(),
            matched: u32::try_from(count * 2).unwrap(),
            allowed: 0,
            findings: findings(count, title),
        };
        Violation {
            policy: PolicyId::parse("team").unwrap(),
            breach,
            description: "d".repeat(title),
            manifest: digest(1),
            platform: None,
            deny_time: None,
        }
    }

    fn waived(finding: Finding) -> Waived {
        Waived {
            finding,
            manifest: digest(1),
            platform: None,
            waivers: vec![AppliedWaiver {
                id: WaiverId::parse("w").unwrap(),
                revision: 1,
                reason: "not reachable".to_owned(),
                requested_by: String::new(),
                approved_by: String::new(),
                expire_time: Timestamp::MAX,
            }],
            expire_time: Timestamp::MAX,
        }
    }

    fn decision(violations: Vec<Violation>, warnings: Vec<Violation>, waived: Vec<Waived>, fixes: usize) -> Decision {
        let unfixable =
            (0..fixes).map(|_| RuleReference { policy: PolicyId::parse("team").unwrap(), rule: None }).collect();
        Decision {
            verdict: Verdict::Deny,
            reasons: Vec::new(),
            manifests: Vec::new(),
            violations,
            warnings,
            waived_count: u32::try_from(waived.len()).unwrap(),
            waived,
            remediation: Some(Remediation { unfixable, ..Remediation::default() }),
            policies: Vec::new(),
            revision: 1,
            evaluate_time: Timestamp::UNIX_EPOCH,
            retry_after: None,
            next_change: None,
            unchanged_until: None,
        }
    }

    fn listed(violations: &[v1::Violation]) -> usize {
        violations.iter().map(|violation| violation.findings.len()).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn details_fit_and_every_omission_counts(
            violations in prop::collection::vec((0..60_usize, 0..600_usize), 0..30),
            warnings in prop::collection::vec((0..60_usize, 0..600_usize), 0..10),
            waivers in 0..80_usize,
            fixes in 0..80_usize,
            parts in 1..200_usize,
        ) {
            let all = |sizes: &[(usize, usize)]| sizes.iter().map(|(count, title)| violation(*count, *title)).collect();
            let waived = findings(waivers, 100).into_iter().map(waived).collect();
            let decision = decision(all(&violations), all(&warnings), waived, fixes);

            let details = Details::render(&decision, 0, ByteBudget::shared_by(parts));

            let omitted = details.omitted.clone().unwrap_or_default();
            let left_out = |number: i32| usize::try_from(number).unwrap();
            let matched: usize = violations.iter().chain(&warnings).map(|(count, _)| count * 2).sum();
            let found = listed(&details.violations) + listed(&details.warnings);
            prop_assert_eq!(found + left_out(omitted.finding_count), matched);
            prop_assert_eq!(details.violations.len() + left_out(omitted.violation_count), violations.len());
            prop_assert_eq!(details.warnings.len() + left_out(omitted.warning_count), warnings.len());
            prop_assert_eq!(details.waived_findings.len() + left_out(omitted.waived_finding_count), waivers);
            let steps = details.remediation.as_ref().unwrap().unfixable.len();
            prop_assert_eq!(steps + left_out(omitted.remediation_step_count), fixes);
            let message = v1::Decision {
                violations: details.violations,
                warnings: details.warnings,
                waived_findings: details.waived_findings,
                remediation: details.remediation,
                omitted: details.omitted,
                ..v1::Decision::default()
            };
            prop_assert!(message.encoded_len() <= MAX_RESPONSE_BYTES / parts, "{}", message.encoded_len());
        }
    }
}
