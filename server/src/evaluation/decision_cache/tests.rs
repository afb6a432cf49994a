//! Validity of a cached decision, apart from the freshness of its scan reads: the registry and end-to-end tests cover that.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use scangate_core::{
    Decision, decide,
    decide::Selection,
    decision::{Breach, ManifestInput},
    finding::Finding,
    image::ImageReference,
    policy::{Policy, PolicySet, Revision},
    scan::{Content, Report, Scan},
    waiver::{self, Waiver},
};
use serde_json::{Value, from_value, json};

use super::*;
use crate::{evaluation::EvaluateRequest, registry::Resolved};

const REVISION: u64 = 7;

fn at(time: &str) -> Timestamp {
    format!("2026-03-01T{time}Z").parse().unwrap()
}

fn manifest() -> Manifest {
    Manifest {
        digest: from_value(json!(format!("sha256:{:064x}", 1))).unwrap(),
        platform: None,
        push_time: Some(at("09:00:00")),
        content: Content::Image,
        archived: false,
        unreadable: None,
    }
}

/// A scan completed at 10:00 with one finding that no upgrade removes.
fn scan() -> Scan {
    let finding: Finding = from_value(json!({
        "id": "CVE-1", "package": {"name": "openssl"}, "severity": "HIGH", "fix": "NONE", "publish_time": at("10:00:00"),
    }))
    .unwrap();
    let counts = BTreeMap::from([("HIGH".into(), 1)]);
    let report = Report {
        complete_time: Some(at("10:00:00")),
        source_update_time: Some(at("10:00:00")),
        counts: Some(counts.clone()),
        enumerated: counts,
        findings: None,
    };
    Scan {
        read_time: at("11:59:00"),
        unchanged_since: at("11:00:00"),
        report: Some(report.with_findings(vec![finding])),
        ..scangate_test_fixtures::completed_scan()
    }
}

fn set(policy: Value, waiver: Option<Value>) -> PolicySet {
    let (create_time, update_time) = (at("08:00:00"), at("08:00:00"));
    let policies = [Policy::built_in_default().unwrap(), from_value(policy).unwrap()];
    let revised =
        |policy: Policy| Arc::new(Revision { create_time, update_time, ..Revision::unsaved(policy, REVISION) });
    let waivers = waiver.map(|waiver| {
        let waiver: Waiver = from_value(waiver).unwrap();
        let not_understood = Vec::new();
        Arc::new(waiver::Revision { waiver, revision: REVISION, create_time, update_time, not_understood })
    });
    PolicySet {
        revision: REVISION,
        policies: policies.map(|policy| (policy.id.clone(), revised(policy))).into(),
        waivers: waivers.into_iter().collect(),
    }
}

/// A decision made at noon, as cached.
fn cached(policy: Value, waiver: Option<Value>) -> CachedDecision {
    let reference = ImageReference::parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1").unwrap();
    let (host, registry) = reference.registry.clone().unwrap();
    let image = Image {
        registry,
        host,
        repository: reference.repository.clone(),
        tag: reference.tag.clone(),
        digest: manifest().digest,
        push_time: manifest().push_time,
    };
    let inputs =
        [ManifestInput { manifest: manifest(), scan: Arc::new(scan()), start: None, first_seen: Arc::default() }];
    let set = set(policy, waiver);
    let decision: Decision = decide(&image, None, Selection::Governing(&set), &inputs, at("12:00:00"));
    let request = EvaluateRequest {
        image: reference,
        environment: None,
        platforms: Vec::new(),
        wait: Duration::ZERO,
        max_findings_age: None,
        at_least_as_fresh: None,
        caller: String::new(),
        labels: BTreeMap::new(),
        request_key: None,
    };
    let resolved = Resolved { image, manifests: vec![manifest()], platforms: Vec::new(), is_complete: true };
    let prepared = PreparedDecision::new(&request, &resolved, &inputs, decision).unwrap();
    CachedDecision { manifests: resolved.manifests, read_times: vec![at("11:59:00")], prepared }
}

fn no_high() -> Value {
    json!([{"id": "no-high", "when": {"min_severity": "HIGH"}}])
}

#[test]
fn cached_decision_is_valid_until_time_changes_it() {
    let grace = json!({"clock": "FINDING_PUBLISHED", "period": "PT3H"});
    let in_grace = json!([{"id": "no-high", "when": {"min_severity": "HIGH"}, "grace": grace}]);
    let waiver = json!({
        "id": "w", "scope": {"vulnerability": "CVE-1"}, "reason": "because", "start_time": at("08:00:00"),
        "expire_time": at("13:00:00"),
    });
    let cases = [
        ("grace ended", json!({"id": "own", "rules": in_grace}), None),
        (
            "the policy became effective",
            json!({"id": "own", "rules": no_high(), "effective_time": at("13:00:00")}),
            None,
        ),
        ("the scan became too old", json!({"id": "own", "scan": {"max_scan_age": "PT3H"}}), None),
        ("the waiver ended", json!({"id": "own", "rules": no_high()}), Some(waiver)),
    ];
    for (change, policy, waiver) in cases {
        let cached = cached(policy, waiver);

        let is_valid = |now| cached.is_valid_at(REVISION, &[manifest()], now);

        assert!(is_valid(at("12:00:00")) && is_valid(at("12:59:59")), "before {change}");
        assert!(!is_valid(at("13:00:01")), "{change}");
    }
}

#[test]
fn cached_decision_is_invalid_after_any_change() {
    let cached = cached(json!({"id": "own", "rules": no_high()}), None);
    let noon = at("12:00:00");
    let archived = Manifest { archived: true, ..manifest() };
    let pushed_again = Manifest { push_time: Some(at("11:00:00")), ..manifest() };
    let earlier = noon - SignedDuration::from_nanos(1);
    let cases = [
        ("the clock went back", REVISION, vec![manifest()], earlier),
        ("a newer revision", REVISION + 1, vec![manifest()], noon),
        ("an older revision", REVISION - 1, vec![manifest()], noon),
        ("the image was archived", REVISION, vec![archived], noon),
        ("the image was pushed again", REVISION, vec![pushed_again], noon),
        ("a platform was added", REVISION, vec![manifest(), manifest()], noon),
        ("all manifests are gone", REVISION, Vec::new(), noon),
    ];

    assert!(cached.is_valid_at(REVISION, &[manifest()], noon));
    for (change, revision, manifests, now) in cases {
        assert!(!cached.is_valid_at(revision, &manifests, now), "{change}");
    }
}

#[test]
fn long_texts_of_findings_count_in_full() {
    let short = cached(json!({"id": "own", "rules": no_high()}), None).prepared;
    let mut evaluated = (*short.evaluated).clone();
    let Some(Breach::Rule { findings, .. }) =
        evaluated.evaluation.decision.violations.first_mut().map(|violation| &mut violation.breach)
    else {
        panic!("no rule is violated")
    };
    findings[0].description = Some("x".repeat(100_000).into());
    let long = PreparedDecision { record: Arc::clone(&short.record), evaluated: Arc::new(evaluated) };

    assert_eq!(long.bytes(), short.bytes() + 100_000);
}

#[test]
fn order_and_repeats_of_platforms_share_one_key() {
    let image = &cached(json!({"id": "own", "rules": no_high()}), None).prepared.evaluated.evaluation.image;
    let platform = |architecture| Platform::new("linux", None, architecture, None).unwrap();
    let (amd, arm) = (platform("amd64"), platform("arm64"));
    let key = |platforms: &[&Platform]| {
        let platforms: Vec<Platform> = platforms.iter().copied().cloned().collect();
        Key::new(image, &platforms, None)
    };

    let both = key(&[&amd, &arm]);

    assert_eq!(both, key(&[&arm, &amd, &arm]));
    assert_ne!(both, key(&[&arm]));
    assert!(both.bytes() > key(&[&arm]).bytes(), "the platforms of a key count");
}
