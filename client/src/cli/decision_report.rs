//! Renders decisions and simulations: the verdict, its evidence, and the next steps.

use std::{collections::BTreeSet, time::Duration};

use scangate_client::{
    NotAllowed, Refusal,
    prost_types::Duration as RetryAfter,
    v1::{
        AffectedPackage, Decision, Evidence, Finding, Omitted, Platform, PolicyReference, ScanState, Simulation,
        Verdict, Violation, ViolationKind, WaivedFinding,
    },
};

use crate::{
    format,
    report::{Report, Table},
};

/// The largest number of findings shown for a violation; `scangate findings` lists all of them.
const MAX_SHOWN_FINDINGS: usize = 10;

const NO_FIX_STEP: &str =
    "for findings without a known fix: look for one at their addresses, remove the package, or use another base image";

/// The parts that decisions and simulations share.
struct Evaluation<'a> {
    verdict: Verdict,
    retry_after: Option<RetryAfter>,
    manifests: Vec<ManifestRow<'a>>,
    violations: &'a [Violation],
    warnings: &'a [Violation],
    waived: &'a [WaivedFinding],
    omitted: Option<&'a Omitted>,
}

/// The [`Evaluation`] of a decision or a simulation: both messages have these fields.
macro_rules! evaluation {
    ($message:expr) => {
        Evaluation {
            verdict: $message.verdict(),
            retry_after: $message.retry_after,
            manifests: Vec::from_iter($message.manifests.iter().map(|manifest| ManifestRow {
                digest: &manifest.digest,
                platform: manifest.platform.as_ref(),
                verdict: manifest.verdict,
                scan: manifest.scan.as_ref(),
            })),
            violations: &$message.violations,
            warnings: &$message.warnings,
            waived: &$message.waived_findings,
            omitted: $message.omitted.as_ref(),
        }
    };
}

/// The outcome for one manifest.
struct ManifestRow<'a> {
    digest: &'a str,
    platform: Option<&'a Platform>,
    verdict: i32,
    scan: Option<&'a ScanState>,
}

/// Adds the decision on `image`; `refusal` is the cause for which it permits no deployment.
pub(crate) fn write_decision(report: &mut Report, image: &str, decision: &Decision, refusal: Option<&NotAllowed>) {
    report.line(&headline(image, decision, refusal));
    write_reasons(report, &decision.reasons);
    if refusal.is_none() {
        write_references(report, decision);
    }
    write_evaluation(report, &evaluation!(decision), refusal.is_some());
    let id = if decision.name.is_empty() { String::new() } else { format!(", {}", decision.name) };
    write_footer(report, "decided", &decision.policies, &format!("{}{id}", decision.revision));
}

/// Adds the simulation on `image`. It has no reference to deploy.
pub(crate) fn write_simulation(report: &mut Report, image: &str, simulation: &Simulation) {
    let verdict = format::verdict(simulation.verdict);
    report.line(&format!("SIMULATED {verdict}  {image}{}", in_environment(&simulation.environment)));
    write_reasons(report, &simulation.reasons);
    report.line("  a simulation permits no deployment; use `scangate check`");
    write_evaluation(report, &evaluation!(simulation), simulation.verdict() != Verdict::Allow);
    write_footer(report, "simulated", &simulation.policies, &simulation.revision);
}

fn write_reasons(report: &mut Report, reasons: &[String]) {
    for reason in reasons {
        report.line(&format!("  {reason}"));
    }
}

fn write_evaluation(report: &mut Report, evaluation: &Evaluation<'_>, with_next_steps: bool) {
    if !evaluation.manifests.is_empty() {
        report.blank();
        report.table(&manifest_table(&evaluation.manifests));
    }
    report.section("violations", &violation_lines(evaluation.violations));
    report.section("warnings", &violation_lines(evaluation.warnings));
    report.section("waived", &evaluation.waived.iter().map(waived_line).collect::<Vec<_>>());
    report.section("omitted", &evaluation.omitted.map(omitted_lines).unwrap_or_default());
    if with_next_steps {
        report.section("next steps", &next_steps(evaluation));
    }
}

/// The verdict as received, or NOT ALLOWED with the cause if the decision is inconsistent.
fn headline(image: &str, decision: &Decision, refusal: Option<&NotAllowed>) -> String {
    let verdict = format::verdict(decision.verdict);
    let environment = in_environment(&decision.environment);
    match refusal.map(|refusal| &refusal.refusal) {
        None | Some(Refusal::Denied | Refusal::Indeterminate) => format!("{verdict}  {image}{environment}"),
        Some(cause) => format!("NOT ALLOWED  {image}{environment}: {cause}"),
    }
}

fn in_environment(environment: &str) -> String {
    if environment.is_empty() { String::new() } else { format!(" in {environment}") }
}

/// Adds the references to deploy.
fn write_references(report: &mut Report, decision: &Decision) {
    if !decision.deploy_image.is_empty() {
        report.line(&format!("  deploy  {}", decision.deploy_image));
        return;
    }
    for manifest in &decision.manifests {
        let platform = format::platform(manifest.platform.as_ref());
        report.line(&format!("  deploy on {platform}  {}", manifest.deploy_image));
    }
}

fn manifest_table(manifests: &[ManifestRow<'_>]) -> Table {
    let mut table = Table::new(&["PLATFORM", "DIGEST", "VERDICT", "EVIDENCE", "SCAN", "COMPLETED", "FINDINGS"]);
    for manifest in manifests {
        let scan = manifest.scan.cloned().unwrap_or_default();
        table.row([
            format::platform(manifest.platform),
            format::short_digest(manifest.digest),
            format::verdict(manifest.verdict),
            format::evidence(scan.evidence),
            format::scan_type(scan.scan_type),
            format::time(scan.complete_time),
            format::severity_counts(&scan.severity_counts),
        ]);
    }
    table
}

fn violation_lines(violations: &[Violation]) -> Vec<String> {
    violations.iter().flat_map(lines_of_violation).collect()
}

fn lines_of_violation(violation: &Violation) -> Vec<String> {
    let mut lines = vec![violation_headline(violation)];
    let mut findings = Table::new(&["SEVERITY", "VULNERABILITY", "PACKAGE", "FIX"]);
    for finding in violation.findings.iter().take(MAX_SHOWN_FINDINGS) {
        findings.row([
            format::severity(finding.severity),
            format::vulnerability(finding),
            format::package(finding.package.as_ref()),
            fixed_package(finding).map(|package| format!("fixed in {}", package.fixed_version)).unwrap_or_default(),
        ]);
    }
    // Without the headings, which would be repeated for every violation.
    lines.extend(findings.lines().into_iter().skip(1).map(|line| format!("  {line}")));
    let shown = violation.findings.len().min(MAX_SHOWN_FINDINGS);
    let hidden = usize::try_from(violation.matched_count()).unwrap_or(usize::MAX).saturating_sub(shown);
    if shown > 0 && hidden > 0 {
        lines.push(format!("  and {hidden} more; `scangate findings` lists all of them"));
    }
    lines
}

/// Returns a line such as `policies/default/no-critical on linux/amd64: 2 findings, 0 allowed: upgrade them`.
fn violation_headline(violation: &Violation) -> String {
    let platform = match &violation.platform {
        Some(platform) => format!(" on {}", format::platform(Some(platform))),
        None => String::new(),
    };
    let Violation { policy, rule, description, .. } = violation;
    let subject = match violation.kind() {
        ViolationKind::Rule => {
            let (matched, allowed) = (violation.matched_count(), violation.allowed_count());
            let findings = if matched == 1 { "finding" } else { "findings" };
            format!("{policy}/{rule}{platform}: {matched} {findings}, {allowed} allowed")
        }
        ViolationKind::Scan => format!("{policy}{platform}: {}", format::evidence(violation.evidence)),
        ViolationKind::PolicyNotUnderstood => format!("{policy}{platform}: not understood"),
        ViolationKind::Unspecified => format!("{policy}{platform}"),
    };
    format::with_description(subject, description)
}

fn waived_line(waived: &WaivedFinding) -> String {
    let finding = waived.finding.clone().unwrap_or_default();
    let package = format::package(finding.package.as_ref());
    let until = format::time(waived.expire_time);
    let waivers: Vec<_> =
        waived.waivers.iter().map(|waiver| format!("{} ({})", waiver.waiver, waiver.reason)).collect();
    format!("{} in {package} until {until} by {}", format::vulnerability(&finding), waivers.join(", "))
}

/// The details that the response leaves out, and the call that returns them.
fn omitted_lines(omitted: &Omitted) -> Vec<String> {
    let counts = [
        (omitted.violation_count, "violations"),
        (omitted.warning_count, "warnings"),
        (omitted.finding_count, "findings"),
        (omitted.waived_finding_count, "waived findings"),
        (omitted.remediation_step_count, "steps of the remediation"),
        (omitted.manifest_scan_count, "scans of manifests"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let mut lines: Vec<String> = counts.map(|(count, details)| format!("{count} more {details} omitted")).collect();
    lines.extend((!omitted.next_step.is_empty()).then(|| omitted.next_step.clone()));
    lines
}

/// The steps that may change the verdict, without duplicates.
fn next_steps(evaluation: &Evaluation<'_>) -> Vec<String> {
    let findings = || evaluation.violations.iter().flat_map(|violation| &violation.findings);
    let upgrades: BTreeSet<String> = findings().filter_map(upgrade_step).collect();
    let mut steps: Vec<String> = upgrades.into_iter().collect();
    if findings().any(|finding| fixed_package(finding).is_none()) {
        steps.push(NO_FIX_STEP.to_owned());
    }
    let gaps: BTreeSet<String> = evaluation.manifests.iter().filter_map(evidence_gap).collect();
    steps.extend(gaps);
    if evaluation.verdict == Verdict::Indeterminate {
        let delay = evaluation.retry_after.and_then(|delay| Duration::try_from(delay).ok());
        let when = delay.map_or_else(|| "later".to_owned(), |delay| format!("in {}", format::duration(delay)));
        steps.push(format!("retry {when}, or let the server wait for the scan with --wait 5m"));
    }
    steps
}

fn upgrade_step(finding: &Finding) -> Option<String> {
    let package = fixed_package(finding)?;
    Some(format!("upgrade {} {} to {}", package.name, package.version, package.fixed_version))
}

/// The affected package, if a version that fixes the finding is known.
fn fixed_package(finding: &Finding) -> Option<&AffectedPackage> {
    finding.package.as_ref().filter(|package| !package.fixed_version.is_empty())
}

/// The cause for which the scan of a manifest is not proven, for example `linux/amd64: scan in progress`.
fn evidence_gap(manifest: &ManifestRow<'_>) -> Option<String> {
    let scan = manifest.scan.filter(|scan| scan.evidence() != Evidence::Proven)?;
    let subject = match manifest.platform {
        Some(platform) => format::platform(Some(platform)),
        None => format::short_digest(manifest.digest),
    };
    Some(format!("{subject}: {}", scan.evidence_detail)).filter(|_| !scan.evidence_detail.is_empty())
}

fn write_footer(report: &mut Report, verb: &str, policies: &[PolicyReference], revision: &str) {
    let policies: Vec<&str> = policies.iter().map(|reference| reference.policy.as_str()).collect();
    if policies.is_empty() {
        return;
    }
    report.blank();
    report.line(&format!("{verb} by {} at revision {revision}", policies.join(", ")));
}
