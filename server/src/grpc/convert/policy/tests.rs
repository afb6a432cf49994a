//! Property tests: a policy from the wire is refused, or parsed completely.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::SignedDuration;

use proptest::{
    collection::vec, option, prelude::*, sample::select, strategy::ValueTree as _, test_runner::TestRunner,
};
use scangate_core::{
    expression,
    glob::{self, Glob},
    policy::{Policy, Revision},
    rule::Rule,
};
use scangate_proto::v1;

use super::*;
use crate::grpc::field_violations::Fields;

/// A time limit far above a debug build's time on a busy machine, and far below superlinear growth.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A strategy of mostly valid values, with a few arbitrary ones.
fn mostly<T: std::fmt::Debug + Clone + 'static>(
    good: impl Strategy<Value = T> + 'static,
    wild: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T> {
    prop_oneof![60 => good, 1 => wild]
}

/// A number of an enum with `count` values, or rarely any number.
fn choice(count: i32) -> impl Strategy<Value = i32> {
    mostly(0..count, any::<i32>())
}

fn text() -> impl Strategy<Value = String> {
    mostly("[ -~]{0,20}".prop_map(String::from), prop_oneof![".{0,40}", "x{1001}", "(\u{1f512}){1000,1001}"])
}

fn id() -> impl Strategy<Value = String> {
    mostly("[a-z][a-z0-9-]{0,6}".prop_map(String::from), prop_oneof![".{0,10}", "[a-z]{62,65}"])
}

fn globs() -> impl Strategy<Value = Vec<String>> {
    let glob = mostly("[a-z*/-]{1,8}".prop_map(String::from), prop_oneof![".{0,40}", "[*a]{255,258}"]);
    vec(glob, 0..3)
}

fn length() -> impl Strategy<Value = prost_types::Duration> {
    let any = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
    let good =
        (60_i64..315_000_000, 0..1_000_000_000).prop_map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
    mostly(good, any)
}

fn moment() -> impl Strategy<Value = prost_types::Timestamp> {
    let any = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos });
    let good = (-60_000_000_000_i64..250_000_000_000, 0..1_000_000_000)
        .prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos });
    mostly(good, any)
}

fn expression_text() -> impl Strategy<Value = String> {
    let good = [
        "",
        "finding.epss > 0.1",
        "now - finding.publish_time > duration('1h') || finding.id.matches('CVE-.*')",
        "finding.severity in ['HIGH', 'CRITICAL'] && !has(finding.cvss)",
    ];
    mostly(
        select(good.to_vec()).prop_map(String::from),
        prop_oneof![".{0,60}", "[finding.cvs0-9()!&<>=' ]{0,60}", "\\({30,300}"],
    )
}

prop_compose! {
    fn filter()(
        (min_severity, fix, exploit, when_unknown) in (choice(6), choice(4), choice(2), choice(3)),
        severities in vec(mostly(1..8, any::<i32>()), 0..4),
        min_cvss in option::of(mostly(0.0..=10.0, any::<f64>())),
        min_epss in option::of(mostly(-0.0..=1.0, any::<f64>())),
        (vulnerability_ids, packages) in (globs(), globs()),
        package_managers in vec(mostly("[A-Z]{1,9}".prop_map(String::from), ".{0,70}".prop_map(String::from)), 0..3),
        expression in expression_text(),
    ) -> v1::FindingCondition {
        v1::FindingCondition {
            min_severity, severities, fix, min_cvss, min_epss, exploit, vulnerability_ids, packages, package_managers,
            expression, when_unknown,
        }
    }
}

prop_compose! {
    fn rule()(
        (id, description, when) in (id(), text(), mostly(filter().prop_map(Some), Just(None))),
        (allowed_count, effect, waivable) in (0..=i32::MAX, choice(3), any::<Option<bool>>()),
        grace in option::of((length(), mostly(1..5, any::<i32>()))),
    ) -> v1::Rule {
        let grace = grace.map(|(period, clock)| v1::Grace { period: Some(period), clock });
        v1::Rule { id, description, when, allowed_count, grace, effect, waivable }
    }
}

fn requirements() -> impl Strategy<Value = v1::ScanRequirements> {
    let (anything, no_start) = (|| choice(4), || choice(3));
    let startable = (anything(), anything(), anything(), anything());
    let others = (no_start(), no_start(), no_start(), no_start(), no_start());
    let ages = (option::of(length()), option::of(length()), option::of(length()));
    (ages, startable, others).prop_map(|(ages, startable, others)| {
        let (max_scan_age, max_basic_scan_age, max_source_age) = ages;
        let (never_scanned, scanning, failed, too_old) = startable;
        let (unsupported, eligibility_expired, findings_unavailable, archived, unknown) = others;
        v1::ScanRequirements {
            max_scan_age,
            max_basic_scan_age,
            max_source_age,
            never_scanned,
            scanning,
            failed,
            unsupported,
            eligibility_expired,
            findings_unavailable,
            archived,
            too_old,
            unknown,
        }
    })
}

prop_compose! {
    fn any_policy()(
        (name, description, mode, unrated_as) in (id(), text(), choice(4), choice(6)),
        matches in option::of((globs(), globs(), globs())),
        effective_time in option::weighted(0.3, moment()),
        scan in option::of(requirements()),
        rules in vec(rule(), 0..4),
        (honor_suppression, replaces_default) in any::<(Option<bool>, Option<bool>)>(),
    ) -> v1::Policy {
        let matches = matches.map(|(registries, repositories, environments)| v1::PolicyMatch {
            registries, repositories, environments,
        });
        v1::Policy {
            name: format!("policies/{name}"), description, r#match: matches, mode, effective_time, scan, rules, unrated_as,
            honor_suppression, replaces_default, ..Default::default()
        }
    }
}

fn parse(wire: &v1::Policy) -> Option<Policy> {
    let mut fields = Fields::default();
    let id = parse_name(&mut fields, "policy.name", &wire.name);
    let policy = parse_policy(&mut fields, "policy", id, Some(wire));
    fields.finish(policy).ok()
}

fn revision(policy: Policy) -> Revision {
    Revision::unsaved(policy, 7)
}

/// Returns true if a policy is within all limits, which are repeated here on purpose.
fn is_within_bounds(policy: &Policy) -> bool {
    let period = |period: SignedDuration, least| (least..=SignedDuration::from_hours(3650 * 24)).contains(&period);
    let globs =
        |globs: &[Glob], most| globs.len() <= most && globs.iter().all(|glob| glob.as_str().len() <= glob::MAX_LENGTH);
    let rule = |rule: &Rule| {
        let when = &rule.when;
        !when.is_empty()
            && rule.description.chars().count() <= 1000
            && rule.grace.is_none_or(|grace| period(grace.period, SignedDuration::from_nanos(1)))
            && globs(&when.vulnerability_ids, 1000)
            && globs(&when.packages, 1000)
            && when.severities.len() <= 10
            && when.package_managers.len() <= 100
            && when.package_managers.iter().all(|manager| (1..=64).contains(&manager.len()))
            && when.min_epss.is_none_or(|epss| epss.value() <= 1.0)
            && when.expression.as_ref().is_none_or(|read| read.source().len() <= expression::MAX_LENGTH)
    };
    let matches = &policy.matches;
    let ids: BTreeSet<_> = policy.rules.iter().map(|rule| &rule.id).collect();
    policy.description.chars().count() <= 1000
        && [&matches.registries, &matches.repositories, &matches.environments].iter().all(|list| globs(list, 100))
        && [policy.scan.max_scan_age, policy.scan.max_basic_scan_age, policy.scan.max_source_age]
            .iter()
            .all(|age| age.is_none_or(|age| period(age, SignedDuration::from_mins(1))))
        && policy.rules.len() <= 100
        && ids.len() == policy.rules.len()
        && policy.rules.iter().all(rule)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsed_policy_is_bounded_and_round_trips(wire in any_policy()) {
        let Some(parsed) = parse(&wire) else { return Ok(()) };

        prop_assert!(is_within_bounds(&parsed), "{parsed:?}");
        let stored: Policy = serde_json::from_str(&serde_json::to_string(&parsed).unwrap()).unwrap();
        prop_assert_eq!(&stored, &parsed);
        let rendered = render_policy(&revision(parsed.clone()));
        prop_assert_eq!(parse(&rendered), Some(parsed), "{:?}", rendered);
    }
}

#[test]
fn generated_policies_are_mostly_valid() {
    let mut runner = TestRunner::deterministic();
    let generated = (0..200).map(|_| any_policy().new_tree(&mut runner).unwrap().current());

    let parsed = generated.filter(|wire| parse(wire).is_some()).count();

    assert!((60..200).contains(&parsed), "{parsed} of 200");
}

#[test]
fn oversized_lists_are_refused_quickly() {
    let repeated = |text: &str| vec![text.to_owned(); 10_000];
    let hostile = format!("finding.id == '{}'", "(".repeat(1_900));
    let filter = v1::FindingCondition {
        severities: vec![-1; 10_000],
        vulnerability_ids: repeated(&"*a".repeat(128)),
        packages: repeated(""),
        package_managers: repeated(""),
        expression: hostile.clone(),
        ..Default::default()
    };
    let long = v1::Rule { when: Some(filter), ..Default::default() };
    let deep = v1::Rule {
        when: Some(v1::FindingCondition { expression: hostile, ..Default::default() }),
        ..Default::default()
    };
    let matches = v1::PolicyMatch { registries: repeated("*"), repositories: repeated(""), environments: repeated("") };
    let start = Instant::now();
    for (rules, matches) in [
        (vec![deep; 10_000], None),
        (vec![v1::Rule::default(); 10_000], None),
        (vec![long; 10], None),
        (Vec::new(), Some(matches)),
    ] {
        let wire = v1::Policy { name: "policies/p".to_owned(), rules, r#match: matches, ..Default::default() };
        assert_eq!(parse(&wire), None);
    }

    assert!(start.elapsed() < TIME_LIMIT, "took {:?}", start.elapsed());
}
