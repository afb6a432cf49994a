//! Conversion of enhanced findings.

use std::{sync::Arc, time::Duration};

use scangate_core::{
    evidence::Evidence,
    finding::{Exploit, Finding, Fix, Score, Status},
    scan::Flaw,
    severity::{Rating, Severity},
};
use scangate_ecr_simulator::{ACCOUNT, EnhancedFinding, Fault, ImageSpec, ScanScript, World, generate, seed};
use serde_json::{Value, json};

use crate::support::{APP, Read, ecr, enhanced};

async fn read(findings: Vec<EnhancedFinding>) -> Read {
    ecr(enhanced(ScanScript::complete(findings))).await.read().await
}

async fn read_one(finding: EnhancedFinding) -> Finding {
    let read = read(vec![finding]).await;
    let [finding] = read.scan.findings() else { panic!("not one finding: {:?}", read.scan) };
    finding.clone()
}

fn high() -> EnhancedFinding {
    EnhancedFinding::new("CVE-2024-1", "HIGH").package("openssl", "3.0.1")
}

#[tokio::test]
async fn enhanced_findings_are_read_across_pages() {
    let read = read(generate::enhanced(257, 1)).await;

    assert_eq!(read.report().findings.as_ref().map(Vec::len), Some(257));
    assert_eq!(read.report().enumerated.values().sum::<u32>(), 257);
    assert_eq!(read.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn inconsistent_pages_prove_nothing() {
    let faults =
        [Fault::RepeatPage, Fault::DuplicatePage, Fault::MissingPage, Fault::TokenLoop, Fault::ScanChangesBetweenPages];
    for fault in faults {
        let harness = ecr(enhanced(ScanScript::complete(generate::enhanced(257, 1)))).await;
        harness.simulator.faults().script(fault.clone().on("DescribeImageScanFindings"));

        let evidence = harness.read().await.assessment().evidence;

        assert!(matches!(evidence, Evidence::Incomplete | Evidence::Inconsistent), "{fault:?}: {evidence}");
    }
}

#[tokio::test]
async fn pages_may_state_facts_of_their_own() {
    let harness = ecr(enhanced(ScanScript::complete(generate::enhanced(257, 1)))).await;
    harness.simulator.faults().script(Fault::PerPageFacts);

    let read = harness.read().await;

    assert_eq!(read.assessment().evidence, Evidence::Proven, "{:?}", read.scan.flaws);
    assert_eq!(read.report().counts.as_ref(), Some(&read.report().enumerated));
    assert_eq!(read.report().findings.as_ref().map(Vec::len), Some(257));
    // Two readings of three pages: the difference is by page, and not by time.
    assert_eq!(harness.calls("DescribeImageScanFindings"), 6);
}

#[tokio::test]
async fn pages_that_differ_between_readings_are_flawed() {
    let harness = ecr(enhanced(ScanScript::complete(generate::enhanced(257, 1)))).await;
    let member =
        |value: f64| Fault::SetField { pointer: "/imageScanFindings/imageScanCompletedAt".into(), value: value.into() };
    harness.simulator.faults().script(member(1.0).on("DescribeImageScanFindings").skip(1).once());
    harness.simulator.faults().script(member(2.0).on("DescribeImageScanFindings").skip(4).once());

    let read = harness.read().await;

    assert!(matches!(read.scan.flaws.as_slice(), [Flaw::Incomplete(_)]), "{:?}", read.scan.flaws);
}

#[tokio::test]
async fn each_vulnerable_package_is_one_finding() {
    let read = read(seed::centos8()).await;

    let packages: Vec<_> = read.scan.findings().iter().map(|finding| &*finding.package.name).collect();
    assert_eq!(packages, ["systemd", "systemd-libs", "systemd-pam", "systemd-udev"]);
    assert_eq!(read.report().enumerated.get("MEDIUM"), Some(&1));
    assert_eq!(read.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn recorded_finding_keeps_inspector_data() {
    let finding = read_one(seed::inspector_one().remove(0)).await;

    assert_eq!(&*finding.id, "CVE-2021-3744");
    assert_eq!(finding.severity, Rating::Rated(Severity::Medium));
    assert_eq!((&*finding.package.name, &*finding.package.version), ("linux", "4.19.118-2"));
    assert_eq!(finding.package.manager.as_deref(), Some("OS"));
    assert_eq!(finding.package.fixed_version.as_deref(), Some("0:4.19.232-1"));
    assert_eq!(finding.fix, Fix::Available);
    assert_eq!(finding.exploit, Exploit::NotKnown);
    assert_eq!(finding.cvss, Score::new(5.5).ok());
    assert_eq!(finding.status, Status::Active);
    assert_eq!(finding.title.as_deref(), Some("CVE-2021-3744 - linux"));
    assert_eq!(finding.uri.as_deref(), Some("https://security-tracker.debian.org/tracker/CVE-2021-3744"));
    assert!(finding.first_observe_time.is_some());
}

#[tokio::test]
async fn untriaged_finding_is_unrated_without_score() {
    let read = read(seed::untriaged()).await;

    let [untriaged, medium] = read.scan.findings() else { panic!("not two findings") };
    assert_eq!(untriaged.severity, Rating::Unrated(Arc::from("UNTRIAGED")));
    assert_eq!(untriaged.cvss, None);
    assert_eq!(untriaged.description, None);
    assert_eq!(untriaged.package.fixed_version, None);
    assert_eq!(medium.cvss, Score::new(6.5).ok());
    assert_eq!(read.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn zero_score_counts_only_if_informational() {
    let zero = |severity: &str| EnhancedFinding::new("CVE-2024-1", severity).score(0.0);

    assert_eq!(read_one(zero("INFORMATIONAL")).await.cvss, Score::new(0.0).ok());
    assert_eq!(read_one(zero("HIGH")).await.cvss, None);
}

#[tokio::test]
async fn highest_score_counts_from_any_field() {
    for path in ["/score", "/scoreDetails/cvss/score", "/packageVulnerabilityDetails/cvss/0/baseScore"] {
        let finding = read_one(high().field(path, 9.9)).await;

        assert_eq!(finding.cvss, Score::new(9.9).ok(), "{path}");
    }
}

#[tokio::test]
async fn impossible_score_is_flaw_in_any_field() {
    for path in ["/score", "/scoreDetails/cvss/score", "/packageVulnerabilityDetails/cvss/0/baseScore"] {
        for score in [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(-0.1), json!(10.1)] {
            let read = read(vec![high().field(path, score.clone())]).await;

            assert!(matches!(read.scan.flaws.as_slice(), [Flaw::Malformed(_)]), "{path} {score}");
        }
    }
}

#[tokio::test]
async fn impossible_time_is_flaw() {
    for path in ["/firstObservedAt", "/packageVulnerabilityDetails/vendorCreatedAt"] {
        let read = read(vec![high().field(path, 1e300)]).await;

        assert!(matches!(read.scan.flaws.as_slice(), [Flaw::Malformed(_)]), "{path}");
    }
}

#[tokio::test]
async fn fix_exploit_and_status_are_parsed() {
    let fixes = [("YES", Fix::Available), ("NO", Fix::None), ("PARTIAL", Fix::Partial), ("MAYBE", Fix::Unknown)];
    for (word, fix) in fixes {
        assert_eq!(read_one(high().field("/fixAvailable", word)).await.fix, fix);
    }
    let exploits = [("YES", Exploit::Known), ("NO", Exploit::NotKnown), ("yes", Exploit::Unknown)];
    for (word, exploit) in exploits {
        assert_eq!(read_one(high().field("/exploitAvailable", word)).await.exploit, exploit);
    }
    let statuses = [
        ("ACTIVE", Status::Active),
        ("SUPPRESSED", Status::Suppressed),
        ("CLOSED", Status::Closed),
        ("GONE", Status::Unrecognised),
    ];
    for (word, status) in statuses {
        assert_eq!(read_one(high().field("/status", word)).await.status, status);
    }
}

#[tokio::test]
async fn fixed_version_is_fix_whatever_else_is_said() {
    let cases = [
        ("NO", ["1.2", "1.3"], Fix::Available),
        ("NO", ["NotAvailable", "1.3"], Fix::Partial),
        ("NO", ["NotAvailable", ""], Fix::None),
        ("?", ["1.2", "1.3"], Fix::Available),
        ("?", ["NotAvailable", "1.3"], Fix::Partial),
        ("?", ["NotAvailable", "NotAvailable"], Fix::Unknown),
        ("PARTIAL", ["NotAvailable", "NotAvailable"], Fix::Partial),
        ("PARTIAL", ["1.2", "1.3"], Fix::Partial),
        ("YES", ["NotAvailable", "NotAvailable"], Fix::Available),
    ];
    for (word, versions, fix) in cases {
        let package = |(name, version)| json!({"name": format!("package-{name}"), "fixedInVersion": version});
        let packages: Vec<Value> = versions.iter().enumerate().map(package).collect();
        let finding = high().field("/packageVulnerabilityDetails/vulnerablePackages", packages);

        let read = read(vec![finding.field("/fixAvailable", word)]).await;

        let fixes: Vec<Fix> = read.scan.findings().iter().map(|finding| finding.fix).collect();
        assert_eq!(fixes, [fix, fix], "{word} beside {versions:?}");
    }
}

#[tokio::test]
async fn missing_values_are_unknown() {
    let finding = read_one(EnhancedFinding::from_wire(json!({"severity": "HIGH", "title": "CVE-2024-1"}))).await;

    assert_eq!(&*finding.id, "CVE-2024-1");
    assert_eq!(&*finding.package.name, "");
    assert_eq!((finding.fix, finding.exploit, finding.status), (Fix::Unknown, Exploit::Unknown, Status::Unrecognised));
}

#[tokio::test]
async fn versions_follow_package_manager_format() {
    let package = "/packageVulnerabilityDetails/vulnerablePackages/0";
    let of = |epoch: Value, release: Value| {
        high().field(&format!("{package}/epoch"), epoch).field(&format!("{package}/release"), release)
    };

    assert_eq!(&*read_one(of(json!(0), json!("12.el9"))).await.package.version, "3.0.1-12.el9");
    assert_eq!(&*read_one(of(json!(2), json!("12.el9"))).await.package.version, "2:3.0.1-12.el9");
    assert_eq!(&*read_one(of(json!(null), json!(null))).await.package.version, "3.0.1");
}

#[tokio::test]
async fn finding_about_another_image_is_mismatch() {
    let image = "/resources/0/details/awsEcrContainerImage";
    for (member, other) in [("imageHash", "sha256:00"), ("registry", "999999999999"), ("repositoryName", "other")] {
        let harness = ecr(enhanced(ScanScript::complete([high()]))).await;
        let pointer = format!("/imageScanFindings/enhancedFindings/0{image}/{member}");
        harness.simulator.faults().script(Fault::SetField { pointer, value: other.into() });

        let read = harness.read().await;

        assert_eq!(read.assessment().evidence, Evidence::Mismatch, "{member}");
    }
}

#[tokio::test]
async fn one_resource_with_own_digest_is_enough() {
    let world = enhanced(ScanScript::clean());
    let digest = world.image(APP, "1").unwrap().digest().to_owned();
    let image = |digest: &str, repository: &str| {
        let image = json!({"imageHash": digest, "registry": ACCOUNT, "repositoryName": repository});
        json!({"details": {"awsEcrContainerImage": image}})
    };
    let (own, other) = (image(&digest, APP), image("sha256:00", "team/other"));
    let cases = [
        (vec![other.clone(), own.clone()], Evidence::Proven),
        (vec![own.clone(), other.clone()], Evidence::Proven),
        (vec![own], Evidence::Proven),
        (vec![json!({"details": {"awsEc2Instance": {}}})], Evidence::Proven),
        (vec![], Evidence::Proven),
        (vec![other.clone(), other.clone()], Evidence::Mismatch),
        (vec![image(&digest, "team/other")], Evidence::Mismatch),
        (vec![other, json!({"details": {"awsEcrContainerImage": {}}})], Evidence::Mismatch),
    ];
    for (resources, evidence) in cases {
        let read = read(vec![high().field("/resources", resources.clone())]).await;

        assert_eq!(read.assessment().evidence, evidence, "{resources:?}");
    }
}

#[tokio::test]
async fn basic_list_in_enhanced_response_is_merged() {
    let harness = ecr(enhanced(ScanScript::complete([high()]))).await;
    let stray = json!([{"name": "CVE-2024-2", "severity": "CRITICAL"}]);
    let pointer = "/imageScanFindings/findings".to_owned();
    harness.simulator.faults().script(Fault::SetField { pointer, value: stray });

    let read = harness.read().await;

    let ids: Vec<_> = read.scan.findings().iter().map(|finding| &*finding.id).collect();
    assert_eq!(ids, ["CVE-2024-2", "CVE-2024-1"]);
}

#[tokio::test]
async fn absent_list_is_no_empty_list() {
    let harness = ecr(enhanced(ScanScript::clean())).await;
    harness.simulator.faults().script(Fault::DropField("/imageScanFindings/findings".into()));

    let read = harness.read().await;

    assert_eq!(read.report().findings, None);
    assert_eq!(read.assessment().evidence, Evidence::Incomplete);
}

#[tokio::test]
async fn enhanced_response_without_list_has_no_findings() {
    let harness = ecr(enhanced(ScanScript::complete([high()]))).await;
    harness.simulator.faults().script(Fault::DropField("/imageScanFindings/enhancedFindings".into()));

    let read = harness.read().await;

    assert_eq!(read.report().findings, None);
    assert_eq!(read.assessment().evidence, Evidence::Incomplete);
}

#[tokio::test]
async fn use_of_image_comes_with_findings_or_coverage() {
    for (scan, expected) in [
        (ScanScript::complete(vec![high()]), Some(3)),
        (ScanScript::clean(), Some(3)),
        (ScanScript::complete(vec![high().field("/resources", json!([]))]), None),
    ] {
        let mut world = World::enhanced();
        world.push(ImageSpec::single(APP, "1").scan(scan).in_use(3, Duration::from_hours(1)));

        let read = ecr(world).await.read().await;

        assert_eq!(read.scan.usage.in_use_count, expected);
        assert_eq!(read.scan.usage.last_in_use_time.is_some(), expected.is_some());
    }
}
