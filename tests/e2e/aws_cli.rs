//! The aws CLI and boto3 read the same data from the simulator as the gate.

use std::collections::BTreeMap;

use scangate_client::v1::GetFindingsRequest;
use scangate_ecr_simulator::{ImageSpec, ScanScript, World, seed};
use serde_json::Value;

use crate::harness::{
    Gate, gate,
    tools::{aws, json, python, stdout},
};

/// A gate over the repository of the AWS tutorial: the recorded image, scanned on request.
async fn tutorial_gate() -> Gate {
    let mut world = World::new();
    world.push(ImageSpec::single("sample-repo", "latest").scan(ScanScript::on_request(seed::debian10_257())));
    gate(world).start().await
}

async fn severity_counts(gate: &Gate) -> BTreeMap<String, u64> {
    let request = GetFindingsRequest {
        image: "sample-repo:latest".into(),
        max_findings_age: Some(Default::default()),
        ..Default::default()
    };
    let read = gate.client.findings(request).await.unwrap();
    let scan = read.manifests[0].scan.clone().unwrap();
    scan.severity_counts.into_iter().map(|count| (count.severity_label, u64::try_from(count.count).unwrap())).collect()
}

#[tokio::test]
async fn aws_tutorial_commands_agree_with_gate() {
    let gate = tutorial_gate().await;
    let ecr = gate.ecr.endpoint();
    let image = ["--repository-name", "sample-repo", "--image-id", "imageTag=latest"];
    let with = |command: &'static str| [&["ecr", command][..], &image[..]].concat();

    let put = [
        "ecr",
        "put-image-scanning-configuration",
        "--repository-name",
        "sample-repo",
        "--image-scanning-configuration",
        "scanOnPush=true",
    ];
    assert_eq!(json(&aws(&ecr, &put).await)["imageScanningConfiguration"]["scanOnPush"], Value::Bool(true));

    let none = aws(&ecr, &with("describe-image-scan-findings")).await;
    assert!(String::from_utf8_lossy(&none.stderr).contains("ScanNotFoundException"));

    let started = json(&aws(&ecr, &with("start-image-scan")).await);
    assert_eq!(started["imageScanStatus"]["status"], "IN_PROGRESS");

    gate.ecr.clock().advance(std::time::Duration::from_hours(1));
    let described = json(&aws(&ecr, &with("describe-image-scan-findings")).await);
    let counts = &described["imageScanFindings"]["findingSeverityCounts"];
    let counted: BTreeMap<String, u64> = serde_json::from_value(counts.clone()).unwrap();
    assert_eq!(counted, severity_counts(&gate).await);
    assert_eq!(described["imageScanFindings"]["findings"].as_array().unwrap().len(), 257);

    let query = ["--query", "imageScanFindings.findingSeverityCounts.CRITICAL"];
    let critical = aws(&ecr, &[&with("describe-image-scan-findings")[..], &query[..]].concat()).await;
    assert_eq!(stdout(&critical).trim(), "1");
}

#[tokio::test]
async fn boto3_pages_through_same_findings() {
    let gate = gate(World::demo()).start().await;
    let script = "
import boto3, json, sys
ecr = boto3.client('ecr', endpoint_url=sys.argv[1])
pages = ecr.get_paginator('describe_image_scan_findings').paginate(
    repositoryName='shop/web', imageId={'imageTag': '1.4.2'}, PaginationConfig={'PageSize': 100})
print(json.dumps([f['name'] for page in pages for f in page['imageScanFindings']['findings']]))
";

    let names = json(&python(script, &[&gate.ecr.endpoint()]).await);

    let all = gate
        .client
        .all_findings(GetFindingsRequest { image: "shop/web:1.4.2".into(), ..Default::default() })
        .await
        .unwrap();
    let mut from_gate: Vec<String> = all.findings.into_iter().map(|finding| finding.vulnerability_id).collect();
    let mut from_boto3: Vec<String> = serde_json::from_value(names).unwrap();
    from_gate.sort();
    from_boto3.sort();
    assert_eq!(from_gate, from_boto3);
}

#[tokio::test]
async fn boto3_reads_inspector_coverage() {
    let gate = gate(World::demo_enhanced()).start().await;
    let script = "
import boto3, json, sys
inspector = boto3.client('inspector2', endpoint_url=sys.argv[1])
covered = inspector.list_coverage(filterCriteria={'ecrRepositoryName': [{'comparison': 'EQUALS', 'value': 'shop/api'}]})
print(json.dumps([c['scanStatus'] for c in covered['coveredResources']]))
";

    let statuses = json(&python(script, &[&gate.ecr.endpoint()]).await);

    assert_eq!(statuses[0]["statusCode"], "ACTIVE", "{statuses}");
}

#[tokio::test]
async fn boto3_reads_inspector_findings_and_details() {
    let gate = gate(World::demo_enhanced()).start().await;
    let script = "
import boto3, json, sys
inspector = boto3.client('inspector2', endpoint_url=sys.argv[1])
image_filter = {'ecrImageRepositoryName': [{'comparison': 'EQUALS', 'value': 'shop/web'}]}
finding = inspector.list_findings(filterCriteria=image_filter)['findings'][0]
details = inspector.batch_get_finding_details(findingArns=[finding['findingArn']])['findingDetails'][0]
print(json.dumps([finding['epss'], details['epssScore'], details['cisaData']['dateAdded'].isoformat()]))
";

    let printed = json(&python(script, &[&gate.ecr.endpoint()]).await);

    assert_eq!(printed[0]["score"], 0.975);
    assert_eq!(printed[1], 0.975);
    assert!(printed[2].as_str().unwrap().starts_with("2021-12-1"), "{printed}");
}
