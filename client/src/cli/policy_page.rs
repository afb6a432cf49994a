//! Policies for people.

use std::time::Duration;

use scangate_client::v1::{ListPoliciesResponse, Policy, PolicyMatch, Rule};

use crate::{
    page::{Page, Table},
    words,
};

pub(crate) fn list(answer: &ListPoliciesResponse) -> Page {
    let mut table = Table::new(&["NAME", "MODE", "RULES", "REPOSITORIES", "ENVIRONMENTS", "UPDATED", "DESCRIPTION"]);
    for policy in &answer.policies {
        let governs = policy.r#match.clone().unwrap_or_default();
        table.row([
            policy.name.clone(),
            words::policy_mode(policy.mode),
            policy.rules.len().to_string(),
            globs(&governs.repositories),
            globs(&governs.environments),
            words::time(policy.update_time),
            policy.description.clone(),
        ]);
    }
    let mut page = Page::default();
    page.table(&table);
    page
}

pub(crate) fn one(policy: &Policy) -> Page {
    let mut page = Page::default();
    write(&mut page, policy);
    page
}

/// The answer to a write: the policy as stored, what to know about it, and the token that makes later calls see it.
pub(crate) fn written(policy: Option<&Policy>, revision: u64, token: &str, notes: &[String]) -> Page {
    let mut page = Page::default();
    if let Some(policy) = policy {
        write(&mut page, policy);
    }
    page.section("notes", notes);
    page.blank();
    page.line(&format!("revision {revision}"));
    if !token.is_empty() {
        page.line(&format!("token    {token}  (see this write: check --at-least-as-fresh)"));
    }
    page
}

fn write(page: &mut Page, policy: &Policy) {
    page.line(&format!("{}  {}", policy.name, words::policy_mode(policy.mode)));
    if !policy.description.is_empty() {
        page.line(&format!("  {}", policy.description));
    }
    page.line(&format!("  etag {}  revision {}", policy.etag, policy.revision));
    page.section("governs", &governs(&policy.r#match.clone().unwrap_or_default()));
    page.section("asks of a scan", &scan(policy));
    page.section("rules", &rules(&policy.rules));
}

fn governs(governs: &PolicyMatch) -> [String; 3] {
    [
        format!("registries    {}", globs(&governs.registries)),
        format!("repositories  {}", globs(&governs.repositories)),
        format!("environments  {}", globs(&governs.environments)),
    ]
}

fn globs(globs: &[String]) -> String {
    if globs.is_empty() { "all".to_owned() } else { globs.join(", ") }
}

fn scan(policy: &Policy) -> Vec<String> {
    let oldest = policy.scan.as_ref().and_then(|scan| scan.max_scan_age).and_then(|age| Duration::try_from(age).ok());
    oldest.map(|age| format!("at most {} old", words::duration(age))).into_iter().collect()
}

/// E.g. `no-critical  DENY above 0  no critical vulnerability may be deployed`.
fn rules(rules: &[Rule]) -> Vec<String> {
    let mut table = Table::new(&["RULE", "EFFECT", "DESCRIPTION"]);
    for rule in rules {
        let effect = format!("{} above {}", words::rule_effect(rule.effect), rule.allow);
        table.row([rule.id.clone(), effect, rule.description.clone()]);
    }
    table.lines().into_iter().skip(1).collect()
}
