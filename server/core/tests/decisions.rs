//! Decisions as data: every file in `decisions/` has a `given` part and the `then` that must follow, for policy authors
//! to read.
//!
//! Fields that a file omits have harmless defaults: one image pushed a day ago, with a basic scan that found nothing 20
//! hours ago, and the built-in default policy. Times are instants, or distances from `now` such as `1h ago` and `3m
//! ahead`. Violations and warnings that `then` omits must be absent.

#![expect(clippy::unwrap_used, reason = "a case that cannot be read must fail")]

#[path = "decision_cases/expectations.rs"]
mod expectations;
#[path = "decision_cases/fixtures.rs"]
mod fixtures;
#[path = "decision_cases/instant.rs"]
mod instant;
#[path = "decision_cases/scans.rs"]
mod scans;

use std::{collections::BTreeMap, fs, path::Path};

use scangate_core::{Decision, decide, decide::Selection, name::PolicyId};
use serde::Deserialize;

use self::{expectations::Then, fixtures::Given};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "//")]
    _comment: Option<String>,
    given: Given,
    #[serde(default)]
    when: When,
    then: Then,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    policy: Option<PolicyId>,
}

impl Case {
    fn decide(&self) -> Decision {
        let set = self.given.policies();
        let selection = match &self.when.policy {
            Some(id) => {
                Selection::Only { policy: set.policies.get(id).unwrap(), waivers: &set.waivers, revision: set.revision }
            }
            None => Selection::Governing(&set),
        };
        let (image, environment) = (self.given.image(), self.given.environment.as_ref());
        decide(&image, environment, selection, &self.given.manifests(), self.given.now)
    }
}

/// Loads every case by its name.
fn load_cases() -> BTreeMap<String, Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions");
    let load = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let case = serde_json::from_str(&fs::read_to_string(entry.path()).unwrap());
        let case = case.unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, case)
    };
    fs::read_dir(folder).unwrap().map(|entry| load(entry.unwrap())).collect()
}

#[test]
fn every_case_is_decided_as_its_file_states() {
    let cases = load_cases();
    assert!(cases.len() > 35, "cases are missing: {} found", cases.len());

    let differences: Vec<String> = cases
        .iter()
        .flat_map(|(name, case)| {
            let differences = case.then.differences(&case.decide());
            differences.into_iter().map(move |difference| format!("{name}: {difference}"))
        })
        .collect();

    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn case_with_unknown_expectation_is_refused() {
    let case = r#"{ "given": {}, "then": { "verdict": "ALLOW", "violation": [] } }"#;

    let parsed = serde_json::from_str::<Case>(case);

    assert!(parsed.is_err());
}
