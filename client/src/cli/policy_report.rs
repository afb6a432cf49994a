//! Renders policies and the results of policy writes.

use std::time::Duration;

use scangate_client::v1::{ListPoliciesResponse, Policy, PolicyMatch, Rule};

use crate::{
    format,
    report::{Report, Table},
};

pub(crate) fn policy_list(response: &ListPoliciesResponse) -> Report {
    let mut table = Table::new(&["NAME", "MODE", "RULES", "REPOSITORIES", "ENVIRONMENTS", "UPDATED", "DESCRIPTION"]);
    for policy in &response.policies {
        let scope = policy.r#match.clone().unwrap_or_default();
        table.row([
            policy.name.clone(),
            format::policy_mode(policy.mode),
            policy.rules.len().to_string(),
            globs(&scope.repositories),
            globs(&scope.environments),
            format::time(policy.update_time),
            policy.description.clone(),
        ]);
    }
    let mut report = Report::default();
    report.table(&table);
    report
}

pub(crate) fn policy_details(policy: &Policy) -> Report {
    let mut report = Report::default();
    write_policy(&mut report, policy);
    report
}

/// The result of a write: the policy as stored, the notes, and the revision for later calls.
pub(crate) fn write_result(policy: Option<&Policy>, revision: &str, notes: &[String]) -> Report {
    let mut report = Report::default();
    if let Some(policy) = policy {
        write_policy(&mut report, policy);
    }
    report.section("notes", notes);
    report.blank();
    report.line(&format!("revision {revision}  (to require this write: check --at-least-as-fresh REVISION)"));
    report
}

fn write_policy(report: &mut Report, policy: &Policy) {
    report.line(&format!("{}  {}", policy.name, format::policy_mode(policy.mode)));
    if !policy.description.is_empty() {
        report.line(&format!("  {}", policy.description));
    }
    report.line(&format!("  etag {}  revision {}", policy.etag, policy.revision));
    report.section("applies to", &scope(&policy.r#match.clone().unwrap_or_default()));
    if policy.replaces_default() {
        report.section("replaces", &["policies/default, for what it applies to, while it is enforced".to_owned()]);
    }
    report.section("not understood by this server (upgrade it)", &policy.not_understood);
    report.section("scan requirements", &scan_requirements(policy));
    report.section("rules", &rule_lines(&policy.rules));
}

fn scope(scope: &PolicyMatch) -> [String; 3] {
    [
        format!("registries    {}", globs(&scope.registries)),
        format!("repositories  {}", globs(&scope.repositories)),
        format!("environments  {}", globs(&scope.environments)),
    ]
}

fn globs(globs: &[String]) -> String {
    if globs.is_empty() { "all".to_owned() } else { globs.join(", ") }
}

fn scan_requirements(policy: &Policy) -> Vec<String> {
    let Some(scan) = &policy.scan else { return Vec::new() };
    let limits = [
        ("maximum age", scan.max_scan_age),
        ("maximum age of a basic scan", scan.max_basic_scan_age),
        ("maximum age of the vulnerability data", scan.max_source_age),
    ];
    let line = |(limit, age): (&str, Option<_>)| {
        let age = Duration::try_from(age?).ok()?;
        Some(format!("{limit} {}", format::duration(age)))
    };
    limits.into_iter().filter_map(line).collect()
}

/// One line for each rule, e.g. `no-critical  DENY above 0  no critical vulnerability may be deployed`.
fn rule_lines(rules: &[Rule]) -> Vec<String> {
    let mut table = Table::new(&["RULE", "EFFECT", "DESCRIPTION"]);
    for rule in rules {
        let effect = format!("{} above {}", format::rule_effect(rule.effect), rule.allowed_count);
        table.row([rule.id.clone(), effect, rule.description.clone()]);
    }
    table.lines().into_iter().skip(1).collect()
}
