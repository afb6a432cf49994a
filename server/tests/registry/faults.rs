//! Under any fault, a scan that counts as proven has its CRITICAL finding.

use std::time::Duration;

use scangate_core::{evidence::Evidence, severity::Rating};
use scangate_ecr_simulator::{ACCOUNT, BasicFinding, EnhancedFinding, Fault, Findings, REGION, ScanScript, World};
use scangate_server::registry::{
    Error,
    ecr::{Config, Ecr},
};

use crate::support::{Harness, IMAGE, basic, config, ecr, enhanced, simulate};

fn worlds() -> [World; 2] {
    let scan = |findings: Findings| ScanScript::complete(findings);
    [
        basic(scan([BasicFinding::new("CVE-2024-1", "CRITICAL").score("9.8")].into())),
        enhanced(scan([EnhancedFinding::new("CVE-2024-1", "CRITICAL").package("openssl", "3.0")].into())),
    ]
}

async fn ecr_with_short_timeouts(world: World) -> Harness<Ecr> {
    let simulator = simulate(world).await;
    let short = Config {
        attempt_timeout: Duration::from_millis(150),
        operation_timeout: Duration::from_millis(400),
        ..config(&simulator)
    };
    match Ecr::connect(short).await {
        Ok(registry) => Harness { simulator, registry },
        Err(error) => panic!("the adapter does not connect: {error}"),
    }
}

#[tokio::test]
async fn no_fault_hides_critical_finding() {
    let operations = [
        "DescribeImages",
        "DescribeImageScanFindings",
        "GetRegistryScanningConfiguration",
        "BatchGetRepositoryScanningConfiguration",
    ];
    for (name, fault) in Fault::all() {
        for operation in operations {
            for world in worlds() {
                let harness = ecr_with_short_timeouts(world).await;
                harness.simulator.faults().script(fault.clone().on(operation));

                let Ok(read) = harness.scan(IMAGE).await else { continue };

                let proven = read.assessment().evidence == Evidence::Proven;
                let seen = read.scan.findings().iter().any(|finding| match &finding.severity {
                    Rating::Rated(severity) => severity.label() == "CRITICAL",
                    Rating::Unrated(_) => true,
                });
                assert!(!proven || seen, "{name} on {operation}: {:?}", read.scan);
            }
        }
    }
}

#[tokio::test]
async fn content_fault_yields_its_evidence() {
    let complete_time = "/imageScanFindings/imageScanCompletedAt";
    let cases = [
        (Fault::WrongDigest, Evidence::Mismatch),
        (Fault::WrongRepository, Evidence::Mismatch),
        (Fault::WrongRegistry, Evidence::Mismatch),
        (Fault::EmptyBody200, Evidence::Mismatch),
        (Fault::EmptyObject, Evidence::Mismatch),
        (Fault::DropField("/registryId".into()), Evidence::Mismatch),
        (Fault::DropField("/repositoryName".into()), Evidence::Mismatch),
        (Fault::DropField("/imageId/imageDigest".into()), Evidence::Mismatch),
        (Fault::CountNegative, Evidence::Malformed),
        (Fault::NanScore, Evidence::Malformed),
        (Fault::HugeTimestamp, Evidence::Malformed),
        (Fault::FutureCompletedAt, Evidence::Malformed),
        (Fault::DropCounts, Evidence::Incomplete),
        (Fault::DropFindingsObject, Evidence::Incomplete),
        (Fault::DropField(complete_time.into()), Evidence::Incomplete),
        (Fault::CountsDisagree, Evidence::Inconsistent),
        (Fault::UnknownStatus("SOMETHING_NEW".into()), Evidence::UnknownStatus),
        (Fault::UnknownSeverity("SEVERE".into()), Evidence::Proven),
    ];
    for (fault, evidence) in cases {
        for world in worlds() {
            let harness = ecr(world).await;
            harness.simulator.faults().script(fault.clone().on("DescribeImageScanFindings"));

            let read = harness.read().await;

            assert_eq!(read.assessment().evidence, evidence, "{fault:?}: {:?}", read.scan);
        }
    }
}

#[tokio::test]
async fn basic_response_without_list_has_no_findings() {
    let [world, _] = worlds();
    let harness = ecr(world).await;
    harness.simulator.faults().script(Fault::DropField("/imageScanFindings/findings".into()));

    let read = harness.read().await;

    assert_eq!(read.report().findings, None);
    assert_eq!(read.assessment().evidence, Evidence::Incomplete);
}

#[tokio::test]
async fn credentials_of_other_account_are_refused() {
    let [world, _] = worlds();
    let harness = ecr(world).await;
    let other = Fault::SetField { pointer: "/registryId".into(), value: "999999999999".into() };
    harness.simulator.faults().script(other.on("GetRegistryScanningConfiguration"));

    let read = harness.scan(IMAGE).await;

    assert!(matches!(read, Err(Error::Credentials(_))), "{read:?}");
}

#[tokio::test]
async fn unknown_scan_type_is_malformed() {
    let [world, _] = worlds();
    let harness = ecr(world).await;
    let other = Fault::SetField { pointer: "/scanningConfiguration/scanType".into(), value: "QUANTUM".into() };
    harness.simulator.faults().script(other.on("GetRegistryScanningConfiguration"));

    let read = harness.scan(IMAGE).await;

    assert!(matches!(read, Err(Error::MalformedResponse { .. })), "{read:?}");
}

#[tokio::test]
async fn registries_of_two_accounts_are_refused() {
    let simulator = simulate(basic(ScanScript::clean())).await;
    let registry = |account: &str, region: &str| scangate_core::registry::Registry::new(account, region).unwrap();
    let (own, region, account) =
        (registry(ACCOUNT, REGION), registry(ACCOUNT, "us-east-1"), registry("210987654321", REGION));
    let connect = |registries| Ecr::connect(Config { registries, ..config(&simulator) });

    assert!(connect(vec![own.clone(), region]).await.is_ok());
    let refused = connect(vec![own, account]).await.unwrap_err();
    assert!(matches!(refused, Error::TwoAccounts { .. }), "{refused:?}");
    assert!(refused.to_string().contains("run one server for each account"), "{refused}");
    assert_eq!(simulator.calls().total(), 0);
}
