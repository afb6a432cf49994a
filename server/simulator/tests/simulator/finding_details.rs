//! Inspector: details of findings.

use aws_sdk_inspector2::{
    Client,
    operation::batch_get_finding_details::BatchGetFindingDetailsOutput,
    types::{FindingDetail, FindingDetailsErrorCode},
};
use scangate_ecr_simulator::{EnhancedFinding, Fault, ImageSpec, ScanScript, ScanningConfig, Simulator};
use serde_json::json;

use crate::harness::{http, inspector, start, world};

const ADDED: i64 = 1_639_094_400;
const DUE: i64 = 1_640_304_000;

fn findings() -> [EnhancedFinding; 2] {
    [
        EnhancedFinding::new("CVE-1", "CRITICAL").epss(0.9).known_exploited(ADDED, DUE).exploit_observed(ADDED, DUE),
        EnhancedFinding::new("CVE-2", "LOW").detail("/cwes", json!(["CWE-79"])),
    ]
}

async fn simulator(findings: impl IntoIterator<Item = EnhancedFinding>) -> (Simulator, Client) {
    let mut world = world().with_scanning(ScanningConfig::enhanced());
    let findings: Vec<_> = findings.into_iter().collect();
    world.push(ImageSpec::single("team/app", "1").scan(ScanScript::complete(findings)));
    let (simulator, _) = start(world).await;
    let client = inspector(&simulator);
    (simulator, client)
}

async fn arns(client: &Client) -> Vec<String> {
    let Ok(listed) = client.list_findings().send().await else { panic!("findings cannot be listed") };
    listed.findings.into_iter().flatten().map(|finding| finding.finding_arn).collect()
}

async fn get_details(client: &Client, arns: Vec<String>) -> Result<BatchGetFindingDetailsOutput, String> {
    let response = client.batch_get_finding_details().set_finding_arns(Some(arns)).send().await;
    response.map_err(|error| error.into_service_error().meta().code().unwrap_or("no code").to_owned())
}

fn details_of<'a>(response: &'a BatchGetFindingDetailsOutput, arn: &str) -> &'a FindingDetail {
    let Some(details) = response.finding_details().iter().find(|details| details.finding_arn() == Some(arn)) else {
        panic!("no details of {arn}")
    };
    details
}

#[tokio::test]
async fn details_contain_cisa_epss_and_exploit_data() {
    let (_simulator, client) = simulator(findings()).await;
    let arns = arns(&client).await;

    let response = get_details(&client, arns.clone()).await.unwrap();

    let exploited = details_of(&response, &arns[0]);
    let cisa = exploited.cisa_data().unwrap();
    assert_eq!(cisa.date_added().unwrap().secs(), ADDED);
    assert_eq!(cisa.date_due().unwrap().secs(), DUE);
    assert!(!cisa.action().unwrap().is_empty());
    assert_eq!(exploited.exploit_observed().unwrap().last_seen().unwrap().secs(), DUE);
    assert_eq!(exploited.epss_score(), Some(0.9));
    let plain = details_of(&response, &arns[1]);
    assert_eq!((plain.cisa_data(), plain.epss_score()), (None, None));
    assert_eq!(plain.cwes(), ["CWE-79"]);
    assert!(response.errors().is_empty());
}

#[tokio::test]
async fn missing_or_foreign_details_are_errors() {
    let (_simulator, client) = simulator([EnhancedFinding::new("CVE-1", "HIGH").without_details()]).await;
    let without = arns(&client).await.remove(0);
    let unknown = format!("arn:aws:inspector2:eu-west-1:123456789012:finding/{}", "0".repeat(32));
    let foreign = without.replace("123456789012", "999999999999");

    let response = get_details(&client, vec![without.clone(), unknown.clone(), foreign.clone()]).await.unwrap();

    let errors: Vec<_> =
        response.errors().iter().map(|error| (error.finding_arn(), error.error_code().clone())).collect();
    let not_found = FindingDetailsErrorCode::FindingDetailsNotFound;
    let expected = [
        (without.as_str(), not_found.clone()),
        (&unknown, not_found),
        (&foreign, FindingDetailsErrorCode::AccessDenied),
    ];
    assert_eq!(errors, expected);
    assert!(response.finding_details().is_empty());
}

#[tokio::test]
async fn invalid_finding_arns_are_refused() {
    let (simulator, client) = simulator(findings()).await;
    let arn = arns(&client).await.remove(0);

    for refused in [vec![arn.clone(); 11], Vec::new(), vec!["CVE-1".to_owned()], vec![format!("{arn}f")]] {
        assert_eq!(get_details(&client, refused.clone()).await.unwrap_err(), "ValidationException", "{refused:?}");
    }
    let none = http(&simulator, "POST", "/findings/details/batch/get", "", "{}").await.unwrap();
    assert_eq!((none.status, none.header("x-amzn-errortype")), (400, Some("ValidationException")));
}

#[tokio::test]
async fn details_calls_match_log_and_faults_by_image() {
    let (simulator, client) = simulator(findings()).await;
    let arns = arns(&client).await;
    simulator.faults().script(Fault::Throttle400.on("BatchGetFindingDetails").image("team/app", "1").once());
    simulator.faults().script(Fault::PartialFailure.on("BatchGetFindingDetails").skip(1));

    let throttled = get_details(&client, arns.clone()).await.unwrap_err();
    let failed = get_details(&client, arns).await.unwrap();

    assert_eq!(throttled, "ThrottlingException");
    assert_eq!((failed.finding_details().len(), failed.errors().len()), (0, 2));
    assert_eq!(simulator.calls().count("BatchGetFindingDetails"), 2);
    assert_eq!(simulator.calls().all()[1].repository.as_deref(), Some("team/app"));
}

#[tokio::test]
async fn inspector_only_fields_are_absent_in_ecr() {
    let finding = EnhancedFinding::new("CVE-1", "HIGH").epss(0.5).listed("/status", "CLOSED");
    let (simulator, client) = simulator([finding]).await;

    let listed = client.list_findings().send().await.unwrap().findings.unwrap().remove(0);
    let request = json!({"repositoryName": "team/app", "imageId": {"imageTag": "1"}});
    let shown = crate::harness::ecr(&simulator, "DescribeImageScanFindings", &request).await.unwrap().json();

    assert_eq!(listed.status.as_str(), "CLOSED");
    let shown = &shown["imageScanFindings"]["enhancedFindings"][0];
    assert_eq!(shown["status"], "ACTIVE");
    assert_eq!(shown.get("epss"), None);
}
