//! The comparison of two versions of a waiver: the fields by which the later one covers more.

use super::{
    definition::{Approval, Conditions, Waiver},
    scope::Scope,
};
use crate::{glob::Glob, image::Platform, package_name};

impl Waiver {
    /// Returns the fields by which a later version covers more than this one, as paths of the contract. Empty: it covers
    /// nothing that this one does not cover.
    ///
    /// Each field is compared alone, so a scope that is wider in one field and narrower in another is reported. Approval and
    /// revocation are left out.
    pub fn widened_by(&self, later: &Self) -> Vec<&'static str> {
        let term =
            [(later.start_time < self.start_time, "start_time"), (later.expire_time > self.expire_time, "expire_time")];
        let comparisons = scope_comparisons(&self.scope, &later.scope)
            .into_iter()
            .chain(condition_comparisons(&self.conditions, &later.conditions))
            .chain(term);
        comparisons.filter_map(|(is_wider, field)| is_wider.then_some(field)).collect()
    }

    /// Returns the approval of a later version of this waiver; `is_demanded` is true if new waivers need one.
    ///
    /// A change that only narrows an approved waiver keeps its approval. Any other one awaits approval again, also another
    /// reason or ticket, since the approver judged by them. The same holds for a waiver that was written without an approval, if
    /// one is demanded now: it stays in force until it is changed.
    pub fn approval_of_change(&self, later: &Self, is_demanded: bool) -> Option<Approval> {
        let keeps_grounds = self.reason == later.reason && self.ticket == later.ticket;
        let only_narrows = keeps_grounds && self.widened_by(later).is_empty();
        match &self.approval {
            Some(Approval::Given { .. }) if !only_narrows => Some(Approval::Awaited),
            None if is_demanded && !only_narrows => Some(Approval::Awaited),
            approval => approval.clone(),
        }
    }
}

fn scope_comparisons(old: &Scope, new: &Scope) -> [(bool, &'static str); 6] {
    fn limit(glob: Option<&Glob>) -> Option<&Glob> {
        glob.filter(|glob| !glob.matches_everything())
    }
    let is_wider_glob = |old: &Option<Glob>, new: &Option<Glob>, covers: fn(&Glob, &Glob) -> bool| {
        is_wider(limit(old.as_ref()), limit(new.as_ref()), covers)
    };
    [
        (!old.vulnerability.covers(&new.vulnerability), "scope.vulnerability_id"),
        (is_wider_glob(&old.package, &new.package, package_name::covers), "scope.package"),
        (is_wider_glob(&old.repository, &new.repository, Glob::covers), "scope.repository"),
        (is_wider(old.digest.as_ref(), new.digest.as_ref(), PartialEq::eq), "scope.digest"),
        (is_wider_glob(&old.environment, &new.environment, Glob::covers), "scope.environment"),
        (is_wider(old.platform.as_ref(), new.platform.as_ref(), Platform::covers), "scope.platform"),
    ]
}

fn condition_comparisons(old: &Conditions, new: &Conditions) -> [(bool, &'static str); 4] {
    [
        (old.until_fixed && !new.until_fixed, "conditions.until_fixed"),
        (is_wider(old.max_severity, new.max_severity, |old, new| new <= old), "conditions.max_severity"),
        (is_wider(old.max_epss, new.max_epss, |old, new| new <= old), "conditions.max_epss"),
        (old.while_not_exploited && !new.while_not_exploited, "conditions.while_not_exploited"),
    ]
}

/// True if a new value may admit more than the old one; `None` admits everything.
fn is_wider<T>(old: Option<T>, new: Option<T>, includes: impl FnOnce(T, T) -> bool) -> bool {
    match (old, new) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => !includes(old, new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn waiver(scope: &Value, conditions: &Value, term: [&str; 2]) -> Waiver {
        let [start_time, expire_time] = term;
        let waiver = json!({
            "id": "w", "scope": scope, "conditions": conditions, "reason": "because",
            "start_time": start_time, "expire_time": expire_time,
        });
        serde_json::from_value(waiver).unwrap()
    }

    const TERM: [&str; 2] = ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"];

    #[test]
    fn each_wider_part_of_scope_is_reported() {
        let cases = [
            (json!({ "package": "openssl" }), json!({}), vec!["scope.package"]),
            (json!({}), json!({ "package": "openssl" }), vec![]),
            (json!({ "package": "*" }), json!({}), vec![]),
            (json!({ "package": "a-*-b" }), json!({ "package": "a---b" }), vec!["scope.package"]),
            (json!({ "repository": "team/*" }), json!({ "repository": "team/app" }), vec![]),
            (json!({ "repository": "team/app" }), json!({ "repository": "team/*" }), vec!["scope.repository"]),
            (
                json!({ "repository": "team/*" }),
                json!({ "repository": "*", "everywhere": true }),
                vec!["scope.repository"],
            ),
            (json!({ "environment": "dev" }), json!({ "environment": "prod" }), vec!["scope.environment"]),
            (json!({ "platform": "linux/arm" }), json!({ "platform": "linux/arm/v6" }), vec![]),
            (json!({ "platform": "linux/arm/v6" }), json!({ "platform": "linux/arm" }), vec!["scope.platform"]),
            (json!({ "platform": "linux/arm/v7" }), json!({ "platform": "linux/arm" }), vec!["scope.platform"]),
            (json!({ "platform": "linux/arm64/v8" }), json!({ "platform": "linux/arm64" }), vec!["scope.platform"]),
            (json!({ "platform": "linux/amd64/v1" }), json!({ "platform": "linux/amd64" }), vec!["scope.platform"]),
            (
                json!({ "vulnerability": "CVE-2026-1" }),
                json!({ "vulnerability": "CVE-*" }),
                vec!["scope.vulnerability_id"],
            ),
            (json!({ "vulnerability": "CVE-*" }), json!({ "vulnerability": "CVE-2026-*" }), vec![]),
        ];
        for (old, new, expected) in cases {
            let scoped = |scope: &Value| {
                let mut whole = json!({ "vulnerability": "CVE-2026-1" });
                whole.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
                waiver(&whole, &json!({}), TERM)
            };
            assert_eq!(scoped(&old).widened_by(&scoped(&new)), expected, "{old} to {new}");
        }
    }

    #[test]
    fn weaker_condition_and_longer_term_are_reported() {
        let later = ["2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"];
        let earlier = ["2025-12-31T00:00:00Z", "2026-02-01T00:00:00Z"];
        let inside = ["2026-01-02T00:00:00Z", "2026-01-31T00:00:00Z"];
        let cases = [
            (json!({ "until_fixed": true }), json!({}), TERM, vec!["conditions.until_fixed"]),
            (json!({}), json!({ "until_fixed": true }), TERM, vec![]),
            (
                json!({ "max_severity": "LOW" }),
                json!({ "max_severity": "HIGH" }),
                TERM,
                vec!["conditions.max_severity"],
            ),
            (json!({ "max_severity": "HIGH" }), json!({ "max_severity": "LOW" }), TERM, vec![]),
            (json!({ "max_epss": 1.0 }), json!({}), TERM, vec!["conditions.max_epss"]),
            (json!({ "while_not_exploited": true }), json!({}), TERM, vec!["conditions.while_not_exploited"]),
            (json!({}), json!({}), later, vec!["expire_time"]),
            (json!({}), json!({}), earlier, vec!["start_time"]),
            (json!({}), json!({}), inside, vec![]),
        ];
        for (old, new, term, expected) in cases {
            let scope = json!({ "vulnerability": "CVE-2026-1", "everywhere": true });
            let (before, after) = (waiver(&scope, &old, TERM), waiver(&scope, &new, term));
            assert_eq!(before.widened_by(&after), expected, "{old} to {new} in {term:?}");
        }
    }
}
