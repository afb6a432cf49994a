//! The comparison of two versions of a policy: the fields by which the later one is less strict.

use jiff::Timestamp;

use super::{
    definition::{Mode, Policy},
    requirements::{Action, ScanRequirements},
    scope::Match,
};
use crate::{evidence::Evidence, glob::Glob, rule::SeverityChoice};

impl Policy {
    /// Returns the fields by which a later version may be less strict than this one, as paths of the contract with the ids of
    /// rules. Empty: under it, no verdict is more permissive.
    ///
    /// The comparison is conservative: a rule is compared with rules, not with several of them at once, and a policy in mode
    /// WARN or before its time as if it denied.
    pub fn loosened_by(&self, later: &Self) -> Vec<String> {
        let mut fields: Vec<String> = self.strictness_lost_to(later).map(str::to_owned).collect();
        if later.mode == Mode::Enforce && later.replaces_default {
            // What it governs more, it takes from the default policy.
            fields.extend(uncovered(&self.matches, &later.matches).map(str::to_owned));
        }
        if self.mode != Mode::Off {
            fields.extend(uncovered(&later.matches, &self.matches).map(str::to_owned));
            fields.extend(self.scan.loosened_by(&later.scan).map(|field| format!("scan.{field}")));
            fields.extend(self.rules_loosened_by(later));
            if later.honor_suppression && !self.honor_suppression {
                fields.push("honor_suppression".to_owned());
            }
            if later.unrated_as < self.unrated_as
                || (later.unrated_as != self.unrated_as && self.has_exact_severities())
            {
                fields.push("unrated_as".to_owned());
            }
        }
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Compares mode, effective time and `replaces_default` at every instant at which one of them changes.
    fn strictness_lost_to(&self, later: &Self) -> impl Iterator<Item = &'static str> {
        let instants =
            [Some(Timestamp::MIN), self.effective_time, later.effective_time].into_iter().flatten().collect::<Vec<_>>();
        let weakens = instants.iter().any(|at| strictness(later.mode_at(*at)) < strictness(self.mode_at(*at)));
        let mode = if strictness(later.mode) < strictness(self.mode) { "mode" } else { "effective_time" };
        let replaces = |policy: &Self, at| policy.replaces_default && policy.mode_at(at) == Mode::Enforce;
        let displaces = instants.iter().any(|at| replaces(later, *at) && !replaces(self, *at));
        weakens.then_some(mode).into_iter().chain(displaces.then_some("replaces_default"))
    }

    /// Returns the rules that no rule of the later version replaces, with the fields that make it so.
    fn rules_loosened_by(&self, later: &Self) -> impl Iterator<Item = String> {
        self.rules.iter().flat_map(|rule| {
            if later.rules.iter().any(|other| rule.loosened_by(other).is_empty()) {
                return Vec::new();
            }
            let successor = later.rules.iter().find(|other| other.id == rule.id);
            successor.map_or_else(
                || vec![format!("rules.{}", rule.id)],
                |successor| {
                    let fields = rule.loosened_by(successor);
                    fields.into_iter().map(|field| format!("rules.{}.{field}", rule.id)).collect()
                },
            )
        })
    }

    /// True if a rule may match a severity but not a higher one.
    fn has_exact_severities(&self) -> bool {
        self.rules.iter().any(|rule| {
            let is_rated = |choice: &SeverityChoice| matches!(choice, SeverityChoice::Rated(_));
            rule.when.expression.is_some() || rule.when.severities.iter().any(is_rated)
        })
    }
}

impl ScanRequirements {
    fn loosened_by<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = &'static str> + 'a {
        let ages = [
            (self.max_scan_age, later.max_scan_age, "max_scan_age"),
            (self.max_basic_scan_age, later.max_basic_scan_age, "max_basic_scan_age"),
            (self.max_source_age, later.max_source_age, "max_source_age"),
        ];
        let ages = ages.into_iter().filter_map(|(old, new, field)| {
            let is_kept = old.is_none_or(|old| new.is_some_and(|new| new <= old));
            (!is_kept).then_some(field)
        });
        let actions = ACTIONS.iter().filter_map(|(evidence, field)| {
            let (old, new) = (self.on_shortfall(*evidence), later.on_shortfall(*evidence));
            is_less_strict(*evidence, old, new).then_some(*field)
        });
        ages.chain(actions)
    }
}

/// Each action with evidence that it applies to.
const ACTIONS: [(Evidence, &str); 9] = [
    (Evidence::NotScanned, "never_scanned"),
    (Evidence::ScanPending, "scanning"),
    (Evidence::ScanFailed, "failed"),
    (Evidence::Unsupported, "unsupported"),
    (Evidence::EligibilityExpired, "eligibility_expired"),
    (Evidence::FindingsUnavailable, "findings_unavailable"),
    (Evidence::Archived, "archived"),
    (Evidence::Stale, "too_old"),
    (Evidence::UnknownStatus, "unknown"),
];

/// True if another action may be less strict. To wait for a running scan also excuses the result that the scan replaces, so it
/// and a warning have no order.
fn is_less_strict(evidence: Evidence, old: Option<Action>, new: Option<Action>) -> bool {
    let rank = |action: Option<Action>| match action {
        Some(Action::Deny) => 3,
        Some(Action::StartScan) => 2,
        Some(Action::Warn) => 1,
        None => 0,
    };
    if evidence == Evidence::ScanPending { new != old && new != Some(Action::Deny) } else { rank(new) < rank(old) }
}

fn strictness(mode: Mode) -> u8 {
    match mode {
        Mode::Enforce => 2,
        Mode::Warn => 1,
        Mode::Off => 0,
    }
}

/// Returns the fields by which `narrow` selects calls that `wide` does not.
fn uncovered(wide: &Match, narrow: &Match) -> impl Iterator<Item = &'static str> {
    let fields = [
        (&wide.registries, &narrow.registries, "match.registries"),
        (&wide.repositories, &narrow.repositories, "match.repositories"),
        (&wide.environments, &narrow.environments, "match.environments"),
    ];
    let is_covered = |wide: &[Glob], narrow: &[Glob]| {
        let everything = |globs: &[Glob]| globs.is_empty() || globs.iter().any(Glob::matches_everything);
        everything(wide) || (!everything(narrow) && narrow.iter().all(|glob| wide.iter().any(|wide| wide.covers(glob))))
    };
    fields.map(|(wide, narrow, field)| (!is_covered(wide, narrow)).then_some(field)).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(fields: &Value) -> Policy {
        let mut whole = json!({ "id": "p" });
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn each_looser_field_is_reported() {
        let cases = [
            (json!({}), json!({ "mode": "WARN" }), vec!["mode"]),
            (json!({ "mode": "WARN" }), json!({}), vec![]),
            (json!({}), json!({ "effective_time": "2030-01-01T00:00:00Z" }), vec!["effective_time"]),
            (json!({ "mode": "WARN" }), json!({ "effective_time": "2030-01-01T00:00:00Z" }), vec![]),
            (json!({}), json!({ "replaces_default": true }), vec!["replaces_default"]),
            (
                json!({ "replaces_default": true, "mode": "WARN" }),
                json!({ "replaces_default": true }),
                vec!["replaces_default"],
            ),
            (json!({}), json!({ "match": { "repositories": ["a"] } }), vec!["match.repositories"]),
            (json!({ "match": { "repositories": ["a"] } }), json!({ "match": { "repositories": ["*"] } }), vec![]),
            (
                json!({ "scan": { "max_scan_age": "PT1H" } }),
                json!({ "scan": { "max_scan_age": "PT2H" } }),
                vec!["scan.max_scan_age"],
            ),
            (json!({ "scan": { "max_scan_age": "PT1H" } }), json!({}), vec!["scan.max_scan_age"]),
            (json!({}), json!({ "scan": { "failed": "WARN" } }), vec!["scan.failed"]),
            (json!({ "scan": { "scanning": "DENY" } }), json!({}), vec!["scan.scanning"]),
            (json!({}), json!({ "honor_suppression": true }), vec!["honor_suppression"]),
            (json!({}), json!({ "unrated_as": "LOW" }), vec!["unrated_as"]),
            (json!({}), json!({ "unrated_as": "CRITICAL" }), vec![]),
            (json!({ "mode": "OFF", "unrated_as": "CRITICAL" }), json!({}), vec![]),
        ];
        for (old, new, expected) in cases {
            assert_eq!(policy(&old).loosened_by(&policy(&new)), expected, "{old} to {new}");
        }
    }

    #[test]
    fn each_looser_rule_is_reported() {
        let high = json!({ "min_severity": "HIGH" });
        let cases = [
            (json!({ "when": high }), json!({ "when": high, "allowed_count": 1 }), vec!["rules.r.allowed_count"]),
            (json!({ "when": high }), json!({ "when": high, "effect": "WARN" }), vec!["rules.r.effect"]),
            (json!({ "when": high, "waivable": false }), json!({ "when": high }), vec!["rules.r.waivable"]),
            (
                json!({ "when": high }),
                json!({ "when": { "min_severity": "CRITICAL" } }),
                vec!["rules.r.when.min_severity"],
            ),
            (json!({ "when": high }), json!({ "when": { "min_severity": "LOW" } }), vec![]),
            (
                json!({ "when": high }),
                json!({ "when": { "min_severity": "HIGH", "fix": "AVAILABLE" } }),
                vec!["rules.r.when.fix"],
            ),
            (json!({ "when": { "packages": ["log*"] } }), json!({ "when": { "packages": ["log4j", "LOG*"] } }), vec![]),
            (
                json!({ "when": { "packages": ["log*"] } }),
                json!({ "when": { "packages": ["log4j"] } }),
                vec!["rules.r.when.packages"],
            ),
            (json!({ "when": high }), json!({ "when": high, "id": "renamed" }), vec![]),
            (json!({ "when": high }), json!({ "when": { "exploit_known": true }, "id": "other" }), vec!["rules.r"]),
        ];
        for (old, new, expected) in cases {
            let with_rule = |rule: &Value| {
                let mut whole = json!({ "id": "r" });
                whole.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
                policy(&json!({ "rules": [whole] }))
            };
            assert_eq!(with_rule(&old).loosened_by(&with_rule(&new)), expected, "{old} to {new}");
        }
    }
}
