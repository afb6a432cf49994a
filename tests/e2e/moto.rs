//! The server against moto, an independent implementation of ECR: every operation that moto supports.

use std::process::Stdio;

use scangate_client::{
    Client, prost_types,
    v1::{
        ConfigureMode, ConfigureScanningRequest, EvaluateGateRequest, GetFindingsRequest, RegistryScanning,
        RegistryTarget, RepositoryTarget, ScanFrequency, ScanType, ScanningRule, Severity, StartScanOutcome,
        StartScanRequest, Verdict, configure_scanning_request::Target,
    },
};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{
    client, evaluate_request, rejection,
    tools::{Server, aws, free_address, json, serve, tool, with_test_credentials},
};

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":1469,"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":2479,"digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222"}]}"#;

/// The digests of [`MANIFEST`] and [`INDEX`]; without them, moto generates other ones.
const MANIFEST_DIGEST: &str = "sha256:37f7f43eb71136af9a5ad82844826f1c541034607d1e3da3095ab15da54bee04";
const INDEX_DIGEST: &str = "sha256:26a7743d5340b99391ebe1920f50110f537c955868eb980924357fd2cce76680";
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":425,"digest":"sha256:37f7f43eb71136af9a5ad82844826f1c541034607d1e3da3095ab15da54bee04","platform":{"os":"linux","architecture":"amd64"}}]}"#;

/// A gate over moto with one image.
struct MotoGate {
    client: Client,
    moto: String,
    _processes: (Server, Server),
    _state: TempDir,
}

async fn moto_gate() -> MotoGate {
    let address = free_address();
    let mut command = with_test_credentials(Command::new(tool("venv/bin/moto_server")));
    command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let moto_server = Server::start(command, address).await;
    let moto = format!("http://{address}");
    json(&aws(&moto, &["ecr", "create-repository", "--repository-name", "sample-repo"]).await);
    let put = ["ecr", "put-image", "--repository-name", "sample-repo", "--image-tag", "latest", "--image-manifest"];
    json(&aws(&moto, &[&put[..], &[MANIFEST]].concat()).await);
    let state = tempfile::tempdir().unwrap();
    let server = serve(&moto, &state.path().join("scangate.db")).await;
    let client = client(server.address).await;
    MotoGate { client, moto, _processes: (moto_server, server), _state: state }
}

#[tokio::test]
async fn unscanned_image_reaches_verdict_over_moto() {
    let gate = moto_gate().await;
    let image = "sample-repo:latest";

    let unscanned = gate.client.evaluate(evaluate_request(image)).await.unwrap();
    let start = || StartScanRequest { image: image.into(), platforms: Vec::new() };
    let started = gate.client.start_scan(start()).await.unwrap();
    let again = gate.client.start_scan(start()).await.unwrap();
    let findings = GetFindingsRequest {
        image: image.into(),
        max_findings_age: Some(prost_types::Duration::default()),
        ..Default::default()
    };
    let findings = gate.client.findings(findings).await.unwrap();
    let waiting = EvaluateGateRequest {
        wait: Some(prost_types::Duration { seconds: 45, nanos: 0 }),
        max_findings_age: Some(prost_types::Duration::default()),
        ..evaluate_request(image)
    };
    let decision = gate.client.evaluate(waiting).await.unwrap().into_message();

    assert_ne!(unscanned.verdict(), Verdict::Allow);
    assert_eq!(started.scans[0].outcome(), StartScanOutcome::Started);
    assert_eq!(again.scans[0].outcome(), StartScanOutcome::AlreadyScanned);
    assert_eq!(findings.findings[0].vulnerability_id, "CVE-9999-9999");
    assert_eq!(findings.findings[0].severity(), Severity::High);
    assert_eq!(decision.verdict(), Verdict::Deny, "{:?}", decision.reasons);
    assert_eq!(decision.violations[0].rule, "no-fixable-high");
}

#[tokio::test]
async fn scanning_configuration_reaches_moto() {
    let gate = moto_gate().await;
    let target = RepositoryTarget { repository: "sample-repo".into(), scan_on_push: Some(true) };
    let configure = |target| ConfigureScanningRequest { target: Some(target), validate_only: false };
    let rule = ScanningRule { frequency: ScanFrequency::ScanOnPush.into(), repository_filters: vec!["sample*".into()] };
    let registry = RegistryTarget {
        scanning: Some(RegistryScanning { scan_type: ScanType::Basic.into(), rules: vec![rule] }),
        mode: ConfigureMode::Replace.into(),
        ..Default::default()
    };

    gate.client.configure_scanning(configure(Target::Repository(target))).await.unwrap();
    let configured = gate.client.configure_scanning(configure(Target::Registry(registry))).await.unwrap();

    let stored = json(&aws(&gate.moto, &["ecr", "describe-repositories"]).await);
    assert_eq!(stored["repositories"][0]["imageScanningConfiguration"]["scanOnPush"], true);
    let stored = json(&aws(&gate.moto, &["ecr", "get-registry-scanning-configuration"]).await);
    assert_eq!(stored["scanningConfiguration"]["rules"][0]["scanFrequency"], "SCAN_ON_PUSH");
    assert_eq!(configured.after.unwrap().registry.unwrap().rules[0].repository_filters, ["sample*"]);
}

#[tokio::test]
async fn missing_moto_image_is_not_found() {
    let gate = moto_gate().await;

    let image = rejection(gate.client.evaluate(evaluate_request("sample-repo:none")).await);
    let repository = rejection(gate.client.evaluate(evaluate_request("no-repo:latest")).await);

    assert_eq!(image.reason, "IMAGE_NOT_FOUND");
    assert_eq!(repository.reason, "REPOSITORY_NOT_FOUND");
}

#[tokio::test]
async fn index_is_verified_and_scanned_over_moto() {
    let gate = moto_gate().await;
    let put = async |manifest: &[&str]| {
        let repository = ["ecr", "put-image", "--repository-name", "multi-repo"];
        json(&aws(&gate.moto, &[&repository[..], manifest].concat()).await)
    };
    json(&aws(&gate.moto, &["ecr", "create-repository", "--repository-name", "multi-repo"]).await);
    put(&["--image-digest", MANIFEST_DIGEST, "--image-manifest", MANIFEST]).await;
    let media_type = ["--image-manifest-media-type", "application/vnd.oci.image.index.v1+json"];
    let index = ["--image-tag", "latest", "--image-digest", INDEX_DIGEST, "--image-manifest", INDEX];
    put(&[&media_type[..], &index[..]].concat()).await;

    let start = StartScanRequest { image: "multi-repo:latest".into(), platforms: Vec::new() };
    let started = gate.client.start_scan(start).await.unwrap();

    assert_eq!(started.image.unwrap().digest, INDEX_DIGEST);
    assert_eq!(started.scans.len(), 1);
    assert_eq!(started.scans[0].digest, MANIFEST_DIGEST);
    assert_eq!(started.scans[0].platform.as_ref().unwrap().architecture, "amd64");
    assert_eq!(started.scans[0].outcome(), StartScanOutcome::Started);
}
