//! Joins Inspector's records to ECR's findings.

use jiff::Timestamp;
use scangate_core::{
    evidence::Evidence,
    finding::{Exploit, Fix, Kev, Status},
    scan::Enrichment,
};
use scangate_ecr_simulator::{ACCOUNT, EnhancedFinding, Fault, ScanScript, generate};
use serde_json::json;

use super::{ADDED, DETAILS, LIST, enriching, epss, harness, high, many, missing_reason, named, read, read_one};
use crate::support::{APP, basic, ecr, ecr_with, enhanced};

#[tokio::test]
async fn epss_is_joined_to_every_package() {
    let finding = high().package("libssl", "3.0.1").epss(0.42);

    let read = read([finding, named("CVE-2024-2", "LOW")]).await;

    let scores: Vec<_> = read.scan.findings().iter().map(|finding| (&*finding.id, finding.epss)).collect();
    let expected = [("CVE-2024-1", epss(0.42)), ("CVE-2024-1", epss(0.42)), ("CVE-2024-2", None)];
    assert_eq!(scores, expected);
    assert_eq!(read.scan.enrichment, Enrichment::Complete);
    assert_eq!(read.assessment().evidence, Evidence::Proven);
}

#[tokio::test]
async fn every_page_of_inspector_list_is_read() {
    let harness = harness(many(257, "LOW")).await;

    let read = harness.read().await;

    assert_eq!(read.scan.findings().len(), 257);
    assert!(read.scan.findings().iter().all(|finding| finding.epss == epss(0.01)));
    assert_eq!(read.scan.enrichment, Enrichment::Complete);
    assert_eq!((harness.calls(LIST), harness.calls(DETAILS)), (3, 0));
}

#[tokio::test]
async fn inspector_is_called_only_where_needed() {
    let found = ScanScript::complete(vec![high().epss(0.9).known_exploited(ADDED, ADDED)]);
    let on_basic = ecr_with(basic(ScanScript::complete(generate::basic(3, 1))), enriching).await;
    let clean = ecr_with(enhanced(ScanScript::clean()), enriching).await;
    let failed = ecr_with(enhanced(ScanScript::failed()), enriching).await;
    let off = ecr(enhanced(found)).await;
    for (harness, enrichment) in [
        (on_basic, Enrichment::NotAsked),
        (clean, Enrichment::Complete),
        (failed, Enrichment::NotAsked),
        (off, Enrichment::NotAsked),
    ] {
        let read = harness.read().await;

        assert_eq!(read.scan.enrichment, enrichment);
        assert_eq!((harness.calls(LIST), harness.calls(DETAILS)), (0, 0));
        assert!(read.scan.findings().iter().all(|finding| finding.epss.is_none()));
    }
}

#[tokio::test]
async fn flawed_scan_is_not_enriched() {
    let harness = harness(many(150, "LOW")).await;
    harness.simulator.faults().script(Fault::TokenLoop.on("DescribeImageScanFindings"));

    let read = harness.read().await;

    assert_eq!(read.scan.enrichment, Enrichment::NotAsked);
    assert_eq!(harness.calls(LIST), 0);
    assert!(read.scan.findings().iter().all(|finding| finding.exploit == Exploit::Unknown));
}

#[tokio::test]
async fn exploit_known_to_either_source_is_known() {
    let seen = |finding: EnhancedFinding| finding.listed("/exploitabilityDetails/lastKnownExploitAt", ADDED);
    let cases = [
        ("ECR alone", high().exploit_available().listed("/exploitAvailable", "NO"), Exploit::Known),
        ("Inspector alone", high().listed("/exploitAvailable", "YES"), Exploit::Known),
        ("an exploit was seen", seen(high()), Exploit::Known),
        ("CISA lists it", high().known_exploited(ADDED, ADDED), Exploit::Known),
        ("CISA gives a date", high().detail("/cisaData/dateAdded", ADDED), Exploit::Known),
        ("exploitation was observed", high().exploit_observed(ADDED, ADDED), Exploit::Known),
        ("CISA says nothing", high().detail("/cisaData", json!({})), Exploit::NotKnown),
        ("nothing was observed", high().detail("/exploitObserved", json!({})), Exploit::NotKnown),
        ("neither source", high(), Exploit::NotKnown),
        (
            "ECR says nothing",
            high().field("/exploitAvailable", "?").listed("/exploitAvailable", "NO"),
            Exploit::Unknown,
        ),
    ];
    for (case, finding, exploit) in cases {
        let (finding, enrichment) = read_one(finding).await;

        assert_eq!((finding.exploit, enrichment), (exploit, Enrichment::Complete), "{case}");
    }
}

#[tokio::test]
async fn stricter_of_two_statuses_applies() {
    let cases = [
        ("ACTIVE", "CLOSED", Status::Active),
        ("ACTIVE", "SUPPRESSED", Status::Active),
        ("SUPPRESSED", "CLOSED", Status::Suppressed),
        ("SUPPRESSED", "ACTIVE", Status::Active),
        ("CLOSED", "ACTIVE", Status::Active),
        ("CLOSED", "SUPPRESSED", Status::Suppressed),
        ("CLOSED", "CLOSED", Status::Closed),
        ("SUPPRESSED", "SOMETHING_NEW", Status::Unrecognised),
        ("SOMETHING_NEW", "CLOSED", Status::Unrecognised),
    ];
    for (ecr, inspector, status) in cases {
        let (finding, _) = read_one(high().field("/status", ecr).listed("/status", inspector)).await;

        assert_eq!(finding.status, status, "{ecr} in ECR, {inspector} in Inspector");
    }
}

#[tokio::test]
async fn inspector_adds_fix_but_never_its_absence() {
    let cases = [
        ("?", "YES", Fix::Available),
        ("?", "PARTIAL", Fix::Partial),
        ("?", "NO", Fix::Unknown),
        ("YES", "NO", Fix::Available),
        ("NO", "YES", Fix::Available),
        ("NO", "PARTIAL", Fix::Partial),
        ("NO", "?", Fix::None),
        ("PARTIAL", "YES", Fix::Partial),
    ];
    for (ecr, inspector, fix) in cases {
        let (finding, _) = read_one(high().field("/fixAvailable", ecr).listed("/fixAvailable", inspector)).await;

        assert_eq!(finding.fix, fix, "{ecr} in ECR, {inspector} in Inspector");
    }
}

#[tokio::test]
async fn fixed_version_in_inspector_is_fix() {
    let version = "/packageVulnerabilityDetails/vulnerablePackages/0/fixedInVersion";
    for (text, fix) in [("3.0.2", Fix::Available), ("NotAvailable", Fix::None)] {
        let (finding, _) = read_one(high().listed(version, text)).await;

        assert_eq!(finding.fix, fix, "{text}");
    }
}

#[tokio::test]
async fn dates_of_cisa_entry_are_kept() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let kev = |added: i64, due: i64| Some(Kev { add_time: Some(at(added).into()), due_time: Some(at(due).into()) });
    let cases = [
        (high().known_exploited(ADDED, ADDED + 9), kev(ADDED, ADDED + 9)),
        (high().known_exploited(ADDED, ADDED + 9).exploit_available(), kev(ADDED, ADDED + 9)),
        (high().detail("/cisaData/dateAdded", ADDED), Some(Kev { add_time: Some(at(ADDED).into()), due_time: None })),
        (high().detail("/cisaData", json!({"action": "Apply updates."})), Some(Kev::default())),
        (high().detail("/cisaData", json!({"dateDue": 1e300, "action": "Apply updates."})), Some(Kev::default())),
        (high().detail("/cisaData", json!({})), None),
        (high().exploit_observed(ADDED, ADDED), None),
        (high(), None),
    ];
    for (finding, kev) in cases {
        let wire = format!("{finding:?}");

        let (finding, enrichment) = read_one(finding).await;

        assert_eq!((finding.kev.as_deref(), enrichment), (kev.as_ref(), Enrichment::Complete), "{wire}");
    }
}

#[tokio::test]
async fn record_of_several_images_is_of_each() {
    let world = enhanced(ScanScript::clean());
    let digest = world.image(APP, "1").unwrap().digest().to_owned();
    let image = |digest: &str| {
        let image = json!({"imageHash": digest, "registry": ACCOUNT, "repositoryName": APP});
        json!({"details": {"awsEcrContainerImage": image}})
    };
    let resources = json!([image("sha256:00"), image(&digest)]);

    let (finding, enrichment) = read_one(high().epss(0.9).listed("/resources", resources)).await;

    assert_eq!((finding.epss, enrichment), (epss(0.9), Enrichment::Complete));
}

#[tokio::test]
async fn impossible_epss_is_unknown() {
    for value in [json!("NaN"), json!("Infinity"), json!(-0.1), json!(1.01), json!(97), json!(null), json!(0.0)] {
        let (finding, enrichment) = read_one(high().listed("/epss/score", value.clone())).await;

        assert_eq!((finding.epss, enrichment), (None, Enrichment::Complete), "{value}");
    }
    for (value, known) in [(json!(1.0), epss(1.0)), (json!(0.0), epss(0.0)), (json!(1.5), None)] {
        let (finding, _) = read_one(high().detail("/epssScore", value.clone())).await;

        assert_eq!(finding.epss, known, "{value}");
    }
}

#[tokio::test]
async fn worse_of_two_records_counts() {
    let arn = format!("arn:aws:inspector2:eu-west-1:123456789012:finding/{}", "a".repeat(32));
    let record = |epss: f64| high().field("/findingArn", arn.clone()).epss(epss);
    for [first, second] in [[0.2, 0.8], [0.8, 0.2]] {
        let read = read([record(first), record(second)]).await;

        assert!(read.scan.findings().iter().all(|finding| finding.epss == epss(0.8)), "{:?}", read.scan);
    }
}

#[tokio::test]
async fn duplicate_page_is_harmless() {
    let harness = harness(many(150, "LOW")).await;
    harness.simulator.faults().script(Fault::DuplicatePage.on(LIST));

    let read = harness.read().await;

    assert_eq!(read.scan.enrichment, Enrichment::Complete);
    assert!(read.scan.findings().iter().all(|finding| finding.epss == epss(0.01)));
}

#[tokio::test]
async fn finding_missing_in_inspector_is_reported() {
    let harness = harness([high().epss(0.9)]).await;
    let unknown = format!("arn:aws:inspector2:eu-west-1:123456789012:finding/{}", "b".repeat(32));
    harness
        .simulator
        .faults()
        .script(Fault::SetField { pointer: "/findings/0/findingArn".into(), value: unknown.into() }.on(LIST));

    let read = harness.read().await;

    assert_eq!((read.scan.findings()[0].epss, read.scan.findings()[0].exploit), (None, Exploit::Unknown));
    assert_eq!(missing_reason(&read.scan.enrichment), "Inspector does not list 1 of ECR's findings");
    assert_eq!(harness.calls(DETAILS), 0);
}

#[tokio::test]
async fn record_without_ecr_finding_is_ignored() {
    let harness = harness([high().epss(0.9), named("CVE-2024-2", "CRITICAL").epss(0.9)]).await;
    let newer = Fault::DropField("/imageScanFindings/enhancedFindings/1".into());
    harness.simulator.faults().script(newer.on("DescribeImageScanFindings"));

    let read = harness.read().await;

    let ids: Vec<_> = read.scan.findings().iter().map(|finding| &*finding.id).collect();
    assert_eq!(ids, ["CVE-2024-1"]);
    assert_eq!(read.scan.enrichment, Enrichment::Complete);
}

#[tokio::test]
async fn foreign_record_is_ignored_and_reported() {
    let image = "/resources/0/details/awsEcrContainerImage";
    let places = [
        (format!("{image}/imageHash"), format!("sha256:{}", "0".repeat(64))),
        (format!("{image}/registry"), "999999999999".to_owned()),
        (format!("{image}/repositoryName"), "team/other".to_owned()),
        ("/awsAccountId".to_owned(), "999999999999".to_owned()),
    ];
    for (member, value) in places {
        let harness = harness([high().epss(0.9).exploit_available()]).await;
        let pointer = format!("/findings/0{member}");
        harness.simulator.faults().script(Fault::SetField { pointer, value: value.into() }.on(LIST));

        let read = harness.read().await;

        assert_eq!(read.scan.findings()[0].epss, None, "{member}");
        assert!(missing_reason(&read.scan.enrichment).contains("another image or account"), "{member}");
        assert_eq!(read.assessment().evidence, Evidence::Proven, "{member}");
    }
}
