//! Encoding and decoding of findings.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select};
use scangate_core::{
    finding::{Exploit, Finding, Fix, Kev, Package, ReportedTime, Score, Status},
    scan::{Report, Scan},
    severity::Rating,
};
use scangate_ecr_simulator::{ScanScript, seed};
use scangate_server::registry::{Freshness, cache::Config};

use super::{Harness, scan};
use crate::support::{basic, ecr, enhanced};

fn text() -> impl Strategy<Value = Arc<str>> {
    select(vec!["", "CVE-1", "CVE-2026-1 - curl", "https://example.org/CVE-1", "ä\0/", "1.2.3"]).prop_map(Arc::from)
}

fn arn() -> impl Strategy<Value = Arc<str>> {
    let names = prop_oneof!["[0-9a-f]{32}", "[0-9A-F]{32}", "\\+[0-9]{31}", "[0-9a-f]{33}", ".{0,200}"];
    let prefix = select(vec!["", "arn:aws:inspector2:eu-west-1:123456789012:finding/"]);
    (prefix, names).prop_map(|(prefix, name)| [prefix, &name].concat().into())
}

fn instant() -> impl Strategy<Value = Timestamp> {
    let nanoseconds = Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond();
    nanoseconds.prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).unwrap())
}

prop_compose! {
    fn package()(
        (name, version) in (text(), text()),
        (manager, path, fixed_version) in (option::of(text()), option::of(text()), option::of(text())),
        source_layer in option::of(text()),
    ) -> Package {
        Package { name, version, manager, path, fixed_version, source_layer }
    }
}

fn reported() -> impl Strategy<Value = ReportedTime> {
    instant().prop_map(ReportedTime::from)
}

fn kev() -> impl Strategy<Value = Kev> {
    (option::of(reported()), option::of(reported())).prop_map(|(add_time, due_time)| Kev { add_time, due_time })
}

prop_compose! {
    fn any_finding()(
        (id, package) in (text(), package()),
        severity in select(vec!["CRITICAL", "INFORMATIONAL", "UNTRIAGED", "", "high"]),
        fix in select(vec![Fix::Unknown, Fix::Available, Fix::Partial, Fix::None]),
        (cvss, epss) in (option::of(0.0_f64..=10.0), option::of(0.0_f64..=1.0)),
        exploit in select(vec![Exploit::Unknown, Exploit::Known, Exploit::NotKnown]),
        status in select(vec![Status::Active, Status::Suppressed, Status::Closed, Status::Unrecognised]),
        (title, description, uri) in (option::of(text()), option::of(text()), option::of(text())),
        (first_observe_time, publish_time) in (option::of(reported()), option::of(reported())),
        arn in option::of(arn()),
        (related_ids, kev) in (vec(text(), 0..3), option::of(kev())),
    ) -> Finding {
        let score = |value: Option<f64>| value.map(|value| Score::new(value).unwrap());
        Finding {
            id, package, fix, exploit, status, title, description, uri, first_observe_time, publish_time, arn,
            related_ids: related_ids.into(), kev: kev.map(Box::new),
            severity: Rating::parse(severity),
            cvss: score(cvss),
            epss: score(epss),
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cached_scan_equals_read_scan(findings in vec(any_finding(), 0..20), twice in any::<prop::sample::Index>()) {
        let mut findings = findings;
        // Several packages of one finding share its id.
        findings.extend(findings.get(twice.index(findings.len() + 1)).cloned());
        let scan = scan(findings);

        let read = block_on(async {
            let harness = Harness::new(Config::default());
            harness.replace_and_read(1, scan.clone()).await;
            harness.read(1, Freshness::default()).await
        });

        prop_assert_eq!(&*read, &scan);
        prop_assert_eq!(format!("{read:?}"), format!("{scan:?}"));
    }

    #[test]
    fn unchanged_findings_are_detected(one in vec(any_finding(), 1..3), other in vec(any_finding(), 1..3)) {
        let later = |findings: &[Finding]| Scan { unchanged_since: Timestamp::MAX, ..scan(findings.to_vec()) };

        let (same, another) = block_on(async {
            let harness = Harness::new(Config::default());
            harness.replace_and_read(1, scan(one.clone())).await;
            (harness.replace_and_read(1, later(&one)).await, harness.replace_and_read(1, later(&other)).await)
        });

        prop_assert_eq!(same.unchanged_since, Timestamp::UNIX_EPOCH);
        prop_assert_eq!(another.unchanged_since == Timestamp::UNIX_EPOCH, one == other);
    }
}

#[tokio::test]
async fn recorded_scans_are_cached_unchanged() {
    let recorded = [
        basic(ScanScript::complete(seed::debian10_257())),
        basic(ScanScript::complete(seed::basic_three())),
        enhanced(ScanScript::complete(seed::untriaged())),
        enhanced(ScanScript::complete(seed::centos8())),
        enhanced(ScanScript::complete(seed::inspector_one())),
    ];
    for world in recorded {
        let read = ecr(world).await.read().await.scan;
        let harness = Harness::new(Config::default());

        let cached = harness.replace_and_read(1, Scan::clone(&read)).await;

        assert!(!cached.findings().is_empty());
        // Only the cache knows the first scan of several readings.
        assert_eq!(Scan { first_scan_time: None, ..Scan::clone(&cached) }, *read);
    }
}

#[tokio::test]
async fn missing_list_stays_missing() {
    let harness = Harness::new(Config::default());
    let without = Scan { report: Some(Report::default()), ..scan(Vec::new()) };

    assert_eq!(*harness.replace_and_read(1, without.clone()).await, without);
    assert_eq!(*harness.replace_and_read(2, scan(Vec::new())).await, scan(Vec::new()));
}
