//! The `then` part of a case, compared with the decision.

use scangate_core::{
    Decision, Verdict,
    decision::{Breach, ManifestDecision, RuleReference, UnknownFix, Upgrade, Violation, Waived},
    evidence::Evidence,
    name::PolicyId,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Then {
    verdict: Verdict,
    evidence: Option<Evidence>,
    manifests: Option<Value>,
    #[serde(default)]
    reasons_contain: Vec<String>,
    #[serde(default)]
    reasons_lack: Vec<String>,
    #[serde(default)]
    violations: Vec<Value>,
    #[serde(default)]
    warnings: Vec<Value>,
    #[serde(default)]
    waived: Vec<Value>,
    next_change: Option<Value>,
    remediation: Option<Value>,
    policies: Option<Vec<PolicyId>>,
    retry_after_seconds: Option<i64>,
    #[serde(default)]
    wants_scan: bool,
}

impl Then {
    /// Lists the differences between the decision and the expectation, one line each.
    pub(crate) fn differences(&self, decision: &Decision) -> Vec<String> {
        let mut differences = Differences::default();
        self.compare_always(decision, &mut differences);
        self.compare_if_expected(decision, &mut differences);
        self.compare_reasons(decision, &mut differences);
        differences.0
    }

    /// Compares the parts that must be absent unless the case lists them.
    fn compare_always(&self, decision: &Decision, differences: &mut Differences) {
        let wants_scan = decision.manifests.iter().any(|manifest| manifest.wants_scan);
        let retry_after = decision.retry_after.map(|after| after.as_secs());
        differences.compare("verdict", &json!(self.verdict), &json!(decision.verdict));
        differences.compare("violations", &json!(self.violations), &violations(&decision.violations));
        differences.compare("warnings", &json!(self.warnings), &violations(&decision.warnings));
        differences.compare("wants_scan", &json!(self.wants_scan), &json!(wants_scan));
        differences.compare("waived", &json!(self.waived), &waived(decision));
        differences.compare("retry_after_seconds", &json!(self.retry_after_seconds), &json!(retry_after));
    }

    fn compare_if_expected(&self, decision: &Decision, differences: &mut Differences) {
        if let Some(expected) = &self.next_change {
            differences.compare("next_change", expected, &next_change(decision));
        }
        if let Some(expected) = &self.remediation {
            differences.compare("remediation", expected, &remediation(decision));
        }
        if let Some(expected) = self.evidence {
            let evidence = decision.manifests.iter().map(|manifest| json!(manifest.assessment.evidence)).collect();
            differences.compare("evidence", &json!([expected]), &evidence);
        }
        if let Some(expected) = &self.manifests {
            differences.compare("manifests", expected, &manifests(decision));
        }
        if let Some(expected) = &self.policies {
            let policies = decision.policies.iter().map(|applied| json!(applied.id)).collect();
            differences.compare("policies", &json!(expected), &policies);
        }
    }

    fn compare_reasons(&self, decision: &Decision, differences: &mut Differences) {
        let has = |text: &String| decision.reasons.iter().any(|reason| reason.contains(text.as_str()));
        for missing in self.reasons_contain.iter().filter(|text| !has(text)) {
            differences.0.push(format!("reasons lack {missing:?}: {:#?}", decision.reasons));
        }
        for surplus in self.reasons_lack.iter().filter(|text| has(text)) {
            differences.0.push(format!("reasons contain {surplus:?}: {:#?}", decision.reasons));
        }
    }
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, name: &str, expected: &Value, actual: &Value) {
        if expected != actual {
            self.0.push(format!("{name}: expected {expected}, got {actual}"));
        }
    }
}

fn violations(violations: &[Violation]) -> Value {
    let render = |violation: &Violation| {
        let mut rendered = match &violation.breach {
            Breach::Rule { rule, matched, allowed, findings: _ } => {
                json!({ "policy": violation.policy, "rule": rule, "matched": matched, "allowed": allowed })
            }
            Breach::Scan(evidence) => json!({ "policy": violation.policy, "evidence": evidence }),
            Breach::NotUnderstood => json!({ "policy": violation.policy, "understood": false }),
        };
        if let (Some(platform), Value::Object(rendered)) = (&violation.platform, &mut rendered) {
            rendered.insert("platform".to_owned(), json!(platform));
        }
        if let (Some(from), Value::Object(rendered)) = (&violation.deny_time, &mut rendered) {
            rendered.insert("deny_time".to_owned(), json!(from));
        }
        rendered
    };
    violations.iter().map(render).collect()
}

fn waived(decision: &Decision) -> Value {
    let render = |waived: &Waived| {
        let waivers: Vec<_> = waived.waivers.iter().map(|waiver| &waiver.id).collect();
        json!({ "id": waived.finding.id, "waivers": waivers, "expire_time": waived.expire_time })
    };
    decision.waived.iter().map(render).collect()
}

fn next_change(decision: &Decision) -> Value {
    decision.next_change.as_ref().map_or(
        json!("NEVER"),
        |change| json!({ "change_time": change.change_time, "verdict": change.verdict, "reason": change.reason }),
    )
}

fn remediation(decision: &Decision) -> Value {
    let Some(remediation) = &decision.remediation else { return json!("NONE") };
    let render = |upgrade: &Upgrade| {
        let package = &upgrade.package;
        let ids = &upgrade.vulnerability_ids;
        let mut rendered = json!({ "package": package.name, "from": package.version, "to": upgrade.fixed_version, "vulnerability_ids": ids });
        if let Some(manager) = &package.manager {
            rendered["manager"] = json!(manager);
        }
        rendered
    };
    let upgrades: Vec<Value> = remediation.upgrades.iter().map(render).collect();
    let mut rendered =
        json!({ "upgrades": upgrades, "unfixable": remediation.unfixable.iter().map(reference).collect::<Vec<_>>() });
    if !remediation.unknown_fixes.is_empty() {
        let unknown = |unknown: &UnknownFix| json!({ "package": unknown.package.name, "vulnerability_ids": unknown.vulnerability_ids });
        rendered["unknown_fixes"] = remediation.unknown_fixes.iter().map(unknown).collect();
    }
    rendered
}

/// The policy, and `/` and the rule if one is named.
fn reference(reference: &RuleReference) -> String {
    let rule = reference.rule.as_ref().map(|rule| format!("/{rule}")).unwrap_or_default();
    format!("{}{rule}", reference.policy)
}

fn manifests(decision: &Decision) -> Value {
    let render = |manifest: &ManifestDecision| {
        let evidence = manifest.assessment.evidence;
        json!({ "platform": manifest.platform, "verdict": manifest.verdict, "evidence": evidence })
    };
    decision.manifests.iter().map(render).collect()
}
