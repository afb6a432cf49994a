//! A decision for people: the verdict, what it rests on, and what to do about it.

use std::{collections::BTreeSet, time::Duration};

use scangate_client::{
    NotAllowed, Refusal,
    v1::{Decision, Evidence, Finding, ManifestDecision, Package, Verdict, Violation, WaivedFinding},
};

use crate::{
    page::{Page, Table},
    words,
};

/// How many findings of a violation are shown; `scangate findings` has all of them.
const SHOWN_FINDINGS: usize = 10;

const NO_UPGRADE: &str = "for findings without a fix: remove the package, or build on another base image";

pub(crate) fn write(page: &mut Page, asked: &str, decision: &Decision, refusal: Option<&NotAllowed>) {
    page.line(&headline(asked, decision, refusal));
    for reason in &decision.reasons {
        page.line(&format!("  {reason}"));
    }
    if refusal.is_none() {
        write_references(page, decision);
    }
    if !decision.manifests.is_empty() {
        page.blank();
        page.table(&manifests(&decision.manifests));
    }
    page.section("violations", &violations(&decision.violations));
    page.section("warnings", &violations(&decision.warnings));
    page.section("waived", &decision.waived.iter().map(waived).collect::<Vec<_>>());
    if refusal.is_some() {
        page.section("what to do", &advice(decision));
    }
    write_footer(page, decision);
}

/// The verdict as the gate gave it, or that it is not to be trusted.
fn headline(asked: &str, decision: &Decision, refusal: Option<&NotAllowed>) -> String {
    let verdict = words::verdict(decision.verdict);
    let environment =
        if decision.environment.is_empty() { String::new() } else { format!(" in {}", decision.environment) };
    match refusal.map(|refusal| &refusal.refusal) {
        None if !decision.authoritative => format!("{verdict} (advice only)  {asked}{environment}"),
        None | Some(Refusal::Denied | Refusal::Indeterminate) => format!("{verdict}  {asked}{environment}"),
        Some(reason) => format!("NOT ALLOWED  {asked}{environment}: {reason}"),
    }
}

/// What to deploy. Advice is nothing to deploy by.
fn write_references(page: &mut Page, decision: &Decision) {
    if !decision.authoritative {
        return;
    }
    if !decision.deploy_image.is_empty() {
        page.line(&format!("  deploy  {}", decision.deploy_image));
        return;
    }
    for manifest in &decision.manifests {
        let platform = words::platform(manifest.platform.as_ref());
        page.line(&format!("  deploy on {platform}  {}", manifest.deploy_image));
    }
}

fn manifests(manifests: &[ManifestDecision]) -> Table {
    let mut table = Table::new(&["PLATFORM", "DIGEST", "VERDICT", "EVIDENCE", "SCAN", "COMPLETED", "FINDINGS"]);
    for manifest in manifests {
        let scan = manifest.scan.clone().unwrap_or_default();
        table.row([
            words::platform(manifest.platform.as_ref()),
            words::short_digest(&manifest.digest),
            words::verdict(manifest.verdict),
            words::evidence(scan.evidence),
            words::scan_type(scan.scan_type),
            words::time(scan.completed_at),
            words::severity_counts(&scan.severity_counts),
        ]);
    }
    table
}

fn violations(violations: &[Violation]) -> Vec<String> {
    violations.iter().flat_map(violation).collect()
}

fn violation(violation: &Violation) -> Vec<String> {
    let mut lines = vec![violation_headline(violation)];
    let mut findings = Table::new(&["SEVERITY", "VULNERABILITY", "PACKAGE", "FIX"]);
    for finding in violation.findings.iter().take(SHOWN_FINDINGS) {
        findings.row([
            words::severity(finding.severity),
            finding.vulnerability_id.clone(),
            words::package(finding.package.as_ref()),
            upgrade_of(finding).map(|package| format!("fixed in {}", package.fixed_in)).unwrap_or_default(),
        ]);
    }
    // The headings would be repeated for every violation; the values speak for themselves.
    lines.extend(findings.lines().into_iter().skip(1).map(|line| format!("  {line}")));
    let shown = violation.findings.len().min(SHOWN_FINDINGS);
    let hidden = usize::try_from(violation.matched).unwrap_or(usize::MAX).saturating_sub(shown);
    if shown > 0 && hidden > 0 {
        lines.push(format!("  and {hidden} more: `scangate findings` has all of them"));
    }
    lines
}

/// E.g. `policies/default/no-critical on linux/amd64: 2 findings, 0 allowed: upgrade them`.
fn violation_headline(violation: &Violation) -> String {
    let on = match &violation.platform {
        Some(platform) => format!(" on {}", words::platform(Some(platform))),
        None => String::new(),
    };
    let Violation { policy, rule, description, matched, allowed, .. } = violation;
    let headline = if rule.is_empty() {
        format!("{policy}{on}: {}", words::evidence(violation.evidence))
    } else {
        let findings = if *matched == 1 { "finding" } else { "findings" };
        format!("{policy}/{rule}{on}: {matched} {findings}, {allowed} allowed")
    };
    words::described(headline, description)
}

fn waived(waived: &WaivedFinding) -> String {
    let finding = waived.finding.clone().unwrap_or_default();
    let package = words::package(finding.package.as_ref());
    let until = words::time(waived.until);
    format!("{} in {package} by {} until {until}: {}", finding.vulnerability_id, waived.waiver, waived.reason)
}

/// The steps that may turn the verdict, each once.
fn advice(decision: &Decision) -> Vec<String> {
    let findings = || decision.violations.iter().flat_map(|violation| &violation.findings);
    let upgrades: BTreeSet<String> = findings().filter_map(upgrade).collect();
    let mut steps: Vec<String> = upgrades.into_iter().collect();
    if findings().any(|finding| upgrade_of(finding).is_none()) {
        steps.push(NO_UPGRADE.to_owned());
    }
    let shortfalls: BTreeSet<String> = decision.manifests.iter().filter_map(shortfall).collect();
    steps.extend(shortfalls);
    if decision.verdict() == Verdict::Indeterminate {
        let delay = decision.retry_after.and_then(|delay| Duration::try_from(delay).ok());
        let when = delay.map_or_else(|| "later".to_owned(), |delay| format!("in {}", words::duration(delay)));
        steps.push(format!("ask again {when}, or let the gate wait: --wait 5m"));
    }
    steps
}

fn upgrade(finding: &Finding) -> Option<String> {
    let package = upgrade_of(finding)?;
    Some(format!("upgrade {} {} to {}", package.name, package.version, package.fixed_in))
}

/// The package, where a version of it is known that fixes the finding.
fn upgrade_of(finding: &Finding) -> Option<&Package> {
    finding.package.as_ref().filter(|package| !package.fixed_in.is_empty())
}

fn shortfall(manifest: &ManifestDecision) -> Option<String> {
    let scan = manifest.scan.as_ref().filter(|scan| scan.evidence() != Evidence::Proven)?;
    let subject = match &manifest.platform {
        Some(platform) => words::platform(Some(platform)),
        None => words::short_digest(&manifest.digest),
    };
    Some(format!("{subject}: {}", scan.evidence_detail)).filter(|_| !scan.evidence_detail.is_empty())
}

fn write_footer(page: &mut Page, decision: &Decision) {
    let policies: Vec<&str> = decision.policies.iter().map(|policy| policy.name.as_str()).collect();
    if policies.is_empty() {
        return;
    }
    page.blank();
    let id = if decision.name.is_empty() { String::new() } else { format!(", {}", decision.name) };
    page.line(&format!("decided by {} at revision {}{id}", policies.join(", "), decision.revision));
}
