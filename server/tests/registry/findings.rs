//! Conversion of basic findings, and their pages.

use std::sync::Arc;

use scangate_core::{
    evidence::Evidence,
    finding::{Exploit, Finding, Fix, Score, Status},
    scan::{Counts, Flaw},
    severity::{Rating, Severity},
};
use scangate_ecr_simulator::{BasicFinding, Fault, ScanScript, generate, seed};
use scangate_server::registry::{
    Error,
    ecr::{Config, Ecr},
};
use serde_json::{Value, json};

use crate::support::{Harness, IMAGE, basic, ecr, ecr_with};

async fn read_one(finding: BasicFinding) -> (Finding, Vec<Flaw>) {
    let read = ecr(basic(ScanScript::complete([finding]))).await.read().await;
    let Some(finding) = read.scan.findings().first() else { panic!("no finding was read") };
    (finding.clone(), read.scan.flaws.clone())
}

async fn recorded() -> Harness<Ecr> {
    let world = basic(ScanScript::complete(seed::debian10_257()));
    ecr_with(world, |config| Config { page_size: 50, ..config }).await
}

fn counts<const N: usize>(counts: [(&str, u32); N]) -> Counts {
    counts.into_iter().map(|(label, count)| (Arc::from(label), count)).collect()
}

#[tokio::test]
async fn recorded_findings_are_read_across_pages() {
    let harness = recorded().await;

    let read = harness.read().await;

    let expected =
        counts([("CRITICAL", 1), ("HIGH", 5), ("MEDIUM", 32), ("LOW", 25), ("INFORMATIONAL", 183), ("UNDEFINED", 11)]);
    assert_eq!(harness.calls("DescribeImageScanFindings"), 6);
    assert_eq!(read.report().counts.as_ref(), Some(&expected));
    assert_eq!(read.report().enumerated, expected);
    assert_eq!(read.scan.findings().len(), 257);
    assert_eq!(read.scan.flaws, []);
    assert_eq!(read.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn equal_texts_of_scan_are_stored_once() {
    let read = recorded().await.read().await;

    let systemd = |finding: &&Finding| &*finding.package.name == "systemd";
    let names: Vec<_> = read.scan.findings().iter().filter(systemd).map(|finding| &finding.package.name).collect();
    assert!(names.len() > 1);
    assert!(names.windows(2).all(|pair| Arc::ptr_eq(pair[0], pair[1])));
}

#[tokio::test]
async fn inconsistent_pages_prove_nothing() {
    let faults =
        [Fault::RepeatPage, Fault::DuplicatePage, Fault::MissingPage, Fault::TokenLoop, Fault::ScanChangesBetweenPages];
    for fault in faults {
        let harness = recorded().await;
        harness.simulator.faults().script(fault.clone().on("DescribeImageScanFindings"));

        let read = harness.read().await;

        let evidence = read.assessment().evidence;
        assert!(matches!(evidence, Evidence::Incomplete | Evidence::Inconsistent), "{fault:?}: {evidence}");
    }
}

#[tokio::test]
async fn changing_scan_is_read_again() {
    let harness = recorded().await;
    harness.simulator.faults().script(Fault::ScanChangesBetweenPages.on("DescribeImageScanFindings").once());

    let read = harness.read().await;

    assert_eq!(read.assessment().evidence, Evidence::Proven);
    assert_eq!(read.report().findings.as_ref().map(Vec::len), Some(257));
}

#[tokio::test]
async fn later_page_may_lack_counts_and_times() {
    for member in ["findingSeverityCounts", "imageScanCompletedAt", "vulnerabilitySourceUpdatedAt"] {
        let harness = recorded().await;
        let fault = Fault::DropField(format!("/imageScanFindings/{member}")).on("DescribeImageScanFindings");
        harness.simulator.faults().script(fault.skip(1));

        let read = harness.read().await;

        assert_eq!(read.assessment().evidence, Evidence::Proven, "{member}");
        assert_eq!(harness.calls("DescribeImageScanFindings"), 6, "{member}");
    }
}

#[tokio::test]
async fn basic_pages_must_agree() {
    let harness = recorded().await;
    harness.simulator.faults().script(Fault::PerPageFacts);

    let read = harness.read().await;

    assert!(matches!(read.scan.flaws.as_slice(), [Flaw::Incomplete(_)]), "{:?}", read.scan.flaws);
}

#[tokio::test]
async fn repeatedly_changing_scan_is_flawed() {
    let harness = recorded().await;
    harness.simulator.faults().script(Fault::ScanChangesBetweenPages.on("DescribeImageScanFindings"));

    let read = harness.read().await;

    assert!(matches!(read.scan.flaws.as_slice(), [Flaw::Incomplete(_)]), "{:?}", read.scan.flaws);
}

#[tokio::test]
async fn expired_token_restarts_reading() {
    let harness = recorded().await;
    let refusal = Fault::error("InvalidParameterException", "Invalid parameter at 'nextToken'");
    harness.simulator.faults().script(refusal.on("DescribeImageScanFindings").skip(2).once());

    let read = harness.read().await;

    assert_eq!(read.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn too_many_findings_are_refused() {
    let harness = ecr(basic(ScanScript::complete(generate::basic(50_001, 1)))).await;

    let read = harness.scan(IMAGE).await;

    assert!(matches!(read, Err(Error::TooComplex(_))));
}

#[tokio::test]
async fn too_many_pages_are_refused() {
    let world = basic(ScanScript::complete(generate::basic(201, 1)));
    let one = |config| Config { page_size: 1, ..config };
    let harness = ecr_with(world, one).await;

    let read = harness.scan(IMAGE).await;

    assert!(matches!(read, Err(Error::TooComplex(_))));
}

#[tokio::test]
async fn basic_finding_keeps_its_attributes() {
    let finding = BasicFinding::new("CVE-2024-1", "HIGH")
        .package("openssl", "1.1.1d-0+deb10u3")
        .fixed_version("1.1.1d-0+deb10u4")
        .attribute("CVSS2_SCORE", "5.0")
        .score("7.5")
        .description("An overflow.");

    let (finding, flaws) = read_one(finding).await;

    assert_eq!(&*finding.id, "CVE-2024-1");
    assert_eq!(finding.severity, Rating::Rated(Severity::High));
    assert_eq!((&*finding.package.name, &*finding.package.version), ("openssl", "1.1.1d-0+deb10u3"));
    assert_eq!(finding.package.fixed_version.as_deref(), Some("1.1.1d-0+deb10u4"));
    assert_eq!(finding.fix, Fix::Available);
    assert_eq!(finding.cvss, Score::new(7.5).ok());
    assert_eq!(finding.exploit, Exploit::Unknown);
    assert_eq!(finding.status, Status::Active);
    assert_eq!(finding.description.as_deref(), Some("An overflow."));
    assert_eq!(finding.uri.as_deref(), Some("https://security-tracker.debian.org/tracker/CVE-2024-1"));
    assert_eq!(flaws, []);
}

#[tokio::test]
async fn basic_finding_with_severity_only_counts() {
    let (finding, flaws) = read_one(BasicFinding::from_wire(json!({"severity": "CRITICAL"}))).await;

    assert_eq!(finding.severity, Rating::Rated(Severity::Critical));
    assert_eq!((&*finding.id, &*finding.package.name, finding.cvss), ("", "", None));
    assert_eq!(finding.fix, Fix::Unknown);
    assert_eq!(flaws, []);
}

#[tokio::test]
async fn missing_basic_values_are_unknown() {
    let attribute = |value: Value| json!([{"key": "CVSS3_SCORE", "value": value}, {"key": "package_name"}]);
    let cases = [
        json!({"name": "CVE-2026-3", "severity": "LOW", "attributes": null, "description": null, "uri": null}),
        json!({"name": "CVE-2026-4", "severity": "LOW"}),
        json!({"name": "CVE-2026-4", "severity": "LOW", "attributes": []}),
        json!({"severity": "LOW", "uri": "https://example.org/CVE-2026-5"}),
        json!({"name": "CVE-2026-6", "severity": "LOW", "attributes": attribute(Value::Null)}),
    ];
    for case in cases {
        let (finding, flaws) = read_one(BasicFinding::from_wire(case.clone())).await;

        assert_eq!((&*finding.package.name, finding.cvss, finding.fix), ("", None, Fix::Unknown), "{case}");
        assert_eq!(finding.severity, Rating::Rated(Severity::Low), "{case}");
        assert_eq!(flaws, [], "{case}");
    }
}

#[tokio::test]
async fn highest_of_all_cvss_versions_counts() {
    let versions = [("CVSS2_SCORE", "9.8"), ("CVSS3_SCORE", "9.8"), ("CVSS4_SCORE", "9.8")];
    for (key, score) in versions {
        let finding = BasicFinding::new("CVE-2024-1", "MEDIUM").score("8.0").attribute(key, score);
        let fixed = finding.package("openssl", "1.1.1").fixed_version("1.1.1w");

        let (finding, flaws) = read_one(fixed).await;

        assert_eq!((finding.cvss, finding.fix), (Score::new(9.8).ok(), Fix::Available), "{key}");
        assert_eq!(finding.package.fixed_version.as_deref(), Some("1.1.1w"));
        assert_eq!(flaws, []);
    }
}

#[tokio::test]
async fn unrated_severity_keeps_its_label() {
    for label in ["UNDEFINED", "SEVERE", "critical"] {
        let (finding, _) = read_one(BasicFinding::new("CVE-2024-1", label)).await;

        assert_eq!(finding.severity, Rating::Unrated(Arc::from(label)));
    }
}

#[tokio::test]
async fn impossible_basic_score_is_flaw() {
    for score in ["NaN", "inf", "-1", "10.1", "high", ""] {
        let (finding, flaws) = read_one(BasicFinding::new("CVE-2024-1", "HIGH").score(score)).await;

        assert!(matches!(flaws.as_slice(), [Flaw::Malformed(_)]), "{score:?}: {flaws:?}");
        assert_eq!(finding.cvss, None);
    }
}

#[tokio::test]
async fn long_text_is_cut_at_character_boundary() {
    let (finding, _) = read_one(BasicFinding::new("CVE-2024-1", "LOW").description(&"aé".repeat(5_000))).await;

    let description = finding.description.unwrap();
    assert!((4_094..=4_096).contains(&description.len()), "{}", description.len());
}

#[tokio::test]
async fn enhanced_list_in_basic_response_is_merged() {
    let harness = ecr(basic(ScanScript::complete([BasicFinding::new("CVE-2024-1", "LOW")]))).await;
    let stray = json!([{"severity": "CRITICAL", "title": "CVE-2024-2"}]);
    let pointer = "/imageScanFindings/enhancedFindings".to_owned();
    harness.simulator.faults().script(Fault::SetField { pointer, value: stray });

    let read = harness.read().await;

    let ids: Vec<_> = read.scan.findings().iter().map(|finding| &*finding.id).collect();
    assert_eq!(ids, ["CVE-2024-2", "CVE-2024-1"]);
    assert_eq!(read.report().enumerated, counts([("CRITICAL", 1), ("LOW", 1)]));
}
