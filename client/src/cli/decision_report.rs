//! Renders a decision: the verdict, its evidence, and the next steps.

use std::{collections::BTreeSet, time::Duration};

use scangate_client::{
    NotAllowed, Refusal,
    v1::{Decision, Evidence, Finding, ManifestDecision, Package, Verdict, Violation, WaivedFinding},
};

use crate::{
    format,
    report::{Report, Table},
};

/// The largest number of findings shown for a violation; `scangate findings` lists all of them.
const MAX_SHOWN_FINDINGS: usize = 10;

const NO_FIX_STEP: &str = "for findings without a fix: remove the package, or use another base image";

/// Adds the decision on `image`; `refusal` is the cause for which it permits no deployment.
pub(crate) fn write_decision(report: &mut Report, image: &str, decision: &Decision, refusal: Option<&NotAllowed>) {
    report.line(&headline(image, decision, refusal));
    for reason in &decision.reasons {
        report.line(&format!("  {reason}"));
    }
    if refusal.is_none() {
        write_references(report, decision);
    }
    if !decision.manifests.is_empty() {
        report.blank();
        report.table(&manifest_table(&decision.manifests));
    }
    report.section("violations", &violation_lines(&decision.violations));
    report.section("warnings", &violation_lines(&decision.warnings));
    report.section("waived", &decision.waived.iter().map(waived_line).collect::<Vec<_>>());
    if refusal.is_some() {
        report.section("next steps", &next_steps(decision));
    }
    write_footer(report, decision);
}

/// The verdict as received, or NOT ALLOWED with the cause if the decision is inconsistent.
fn headline(image: &str, decision: &Decision, refusal: Option<&NotAllowed>) -> String {
    let verdict = format::verdict(decision.verdict);
    let environment =
        if decision.environment.is_empty() { String::new() } else { format!(" in {}", decision.environment) };
    match refusal.map(|refusal| &refusal.refusal) {
        None if !decision.authoritative => format!("{verdict} (advice only)  {image}{environment}"),
        None | Some(Refusal::Denied | Refusal::Indeterminate) => format!("{verdict}  {image}{environment}"),
        Some(cause) => format!("NOT ALLOWED  {image}{environment}: {cause}"),
    }
}

/// Adds the references to deploy; advice has none, because it permits no deployment.
fn write_references(report: &mut Report, decision: &Decision) {
    if !decision.authoritative {
        return;
    }
    if !decision.deploy_image.is_empty() {
        report.line(&format!("  deploy  {}", decision.deploy_image));
        return;
    }
    for manifest in &decision.manifests {
        let platform = format::platform(manifest.platform.as_ref());
        report.line(&format!("  deploy on {platform}  {}", manifest.deploy_image));
    }
}

fn manifest_table(manifests: &[ManifestDecision]) -> Table {
    let mut table = Table::new(&["PLATFORM", "DIGEST", "VERDICT", "EVIDENCE", "SCAN", "COMPLETED", "FINDINGS"]);
    for manifest in manifests {
        let scan = manifest.scan.clone().unwrap_or_default();
        table.row([
            format::platform(manifest.platform.as_ref()),
            format::short_digest(&manifest.digest),
            format::verdict(manifest.verdict),
            format::evidence(scan.evidence),
            format::scan_type(scan.scan_type),
            format::time(scan.completed_at),
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
            finding.vulnerability_id.clone(),
            format::package(finding.package.as_ref()),
            fixed_package(finding).map(|package| format!("fixed in {}", package.fixed_in)).unwrap_or_default(),
        ]);
    }
    // Without the headings, which would be repeated for every violation.
    lines.extend(findings.lines().into_iter().skip(1).map(|line| format!("  {line}")));
    let shown = violation.findings.len().min(MAX_SHOWN_FINDINGS);
    let hidden = usize::try_from(violation.matched).unwrap_or(usize::MAX).saturating_sub(shown);
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
    let Violation { policy, rule, description, matched, allowed, .. } = violation;
    let subject = if rule.is_empty() && violation.evidence() == Evidence::Unspecified {
        format!("{policy}{platform}: not understood")
    } else if rule.is_empty() {
        format!("{policy}{platform}: {}", format::evidence(violation.evidence))
    } else {
        let findings = if *matched == 1 { "finding" } else { "findings" };
        format!("{policy}/{rule}{platform}: {matched} {findings}, {allowed} allowed")
    };
    format::with_description(subject, description)
}

fn waived_line(waived: &WaivedFinding) -> String {
    let finding = waived.finding.clone().unwrap_or_default();
    let package = format::package(finding.package.as_ref());
    let until = format::time(waived.until);
    format!("{} in {package} by {} until {until}: {}", finding.vulnerability_id, waived.waiver, waived.reason)
}

/// The steps that may change the verdict, without duplicates.
fn next_steps(decision: &Decision) -> Vec<String> {
    let findings = || decision.violations.iter().flat_map(|violation| &violation.findings);
    let upgrades: BTreeSet<String> = findings().filter_map(upgrade_step).collect();
    let mut steps: Vec<String> = upgrades.into_iter().collect();
    if findings().any(|finding| fixed_package(finding).is_none()) {
        steps.push(NO_FIX_STEP.to_owned());
    }
    let gaps: BTreeSet<String> = decision.manifests.iter().filter_map(evidence_gap).collect();
    steps.extend(gaps);
    if decision.verdict() == Verdict::Indeterminate {
        let delay = decision.retry_after.and_then(|delay| Duration::try_from(delay).ok());
        let when = delay.map_or_else(|| "later".to_owned(), |delay| format!("in {}", format::duration(delay)));
        steps.push(format!("retry {when}, or let the server wait for the scan with --wait 5m"));
    }
    steps
}

fn upgrade_step(finding: &Finding) -> Option<String> {
    let package = fixed_package(finding)?;
    Some(format!("upgrade {} {} to {}", package.name, package.version, package.fixed_in))
}

/// The affected package, if a version that fixes the finding is known.
fn fixed_package(finding: &Finding) -> Option<&Package> {
    finding.package.as_ref().filter(|package| !package.fixed_in.is_empty())
}

/// The cause for which the scan of a manifest is not proven, for example `linux/amd64: scan in progress`.
fn evidence_gap(manifest: &ManifestDecision) -> Option<String> {
    let scan = manifest.scan.as_ref().filter(|scan| scan.evidence() != Evidence::Proven)?;
    let subject = match &manifest.platform {
        Some(platform) => format::platform(Some(platform)),
        None => format::short_digest(&manifest.digest),
    };
    Some(format!("{subject}: {}", scan.evidence_detail)).filter(|_| !scan.evidence_detail.is_empty())
}

fn write_footer(report: &mut Report, decision: &Decision) {
    let policies: Vec<&str> = decision.policies.iter().map(|policy| policy.name.as_str()).collect();
    if policies.is_empty() {
        return;
    }
    report.blank();
    let id = if decision.name.is_empty() { String::new() } else { format!(", {}", decision.name) };
    report.line(&format!("decided by {} at revision {}{id}", policies.join(", "), decision.revision));
}
