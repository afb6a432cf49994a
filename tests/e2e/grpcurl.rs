//! grpcurl: services are listed and described, and the commands of the README and the waiver manual succeed as pasted.

use std::process::Output;

use scangate_ecr_simulator::World;
use tokio::process::Command;

use crate::harness::{
    Gate, gate,
    tools::{json, root, stdout, tool},
};

async fn grpcurl(gate: &Gate, arguments: &[&str]) -> Output {
    let address = gate.address.to_string();
    let (data, verbs) = match arguments {
        ["-d", data, verbs @ ..] => (vec!["-d", *data], verbs),
        verbs => (Vec::new(), verbs),
    };
    Command::new(tool("bin/grpcurl")).arg("-plaintext").args(data).arg(address).args(verbs).output().await.unwrap()
}

#[tokio::test]
async fn reflection_describes_every_service_and_rpc() {
    let gate = gate(World::demo()).start().await;

    let services = stdout(&grpcurl(&gate, &["list"]).await);
    for service in ["scangate.v1.ScanGateService", "scangate.v1.PolicyService", "scangate.v1.DecisionService"] {
        assert!(services.contains(service));
        for method in stdout(&grpcurl(&gate, &["list", service]).await).lines() {
            let described = stdout(&grpcurl(&gate, &["describe", method]).await);
            assert!(described.contains("rpc"), "{method}: {described}");
        }
    }
    let described = stdout(&grpcurl(&gate, &["describe", "scangate.v1.Verdict"]).await);
    assert!(described.contains("VERDICT_ALLOW"), "{described}");
}

#[tokio::test]
async fn grpcurl_decision_shows_verdict_and_cause() {
    let gate = gate(World::demo()).start().await;
    let evaluate = "scangate.v1.ScanGateService/EvaluateGate";

    let denied = json(&grpcurl(&gate, &["-d", r#"{"image": "shop/web:1.4.2"}"#, evaluate]).await);
    let allowed = json(&grpcurl(&gate, &["-d", r#"{"image": "shop/api:2.0.0"}"#, evaluate]).await);

    assert_eq!(denied["decision"]["verdict"], "VERDICT_DENY");
    assert_eq!(denied["decision"]["violations"][0]["findings"][0]["vulnerabilityId"], "CVE-2019-19814");
    assert_eq!(allowed["decision"]["verdict"], "VERDICT_ALLOW");
    assert!(allowed["decision"]["deployImage"].as_str().unwrap().contains("/shop/api@sha256:"));
}

#[tokio::test]
async fn grpcurl_error_shows_reason_and_field() {
    let gate = gate(World::demo()).start().await;

    let refused = grpcurl(&gate, &["-d", r#"{"image": "shop/web"}"#, "scangate.v1.ScanGateService/EvaluateGate"]).await;

    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    for part in ["InvalidArgument", "INVALID_FIELDS", "must name a tag or a digest", "\"field\": \"image\""] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[tokio::test]
async fn grpcurl_prints_error_of_batch_item() {
    let gate = gate(World::demo()).start().await;
    let batch = "scangate.v1.ScanGateService/BatchEvaluateGate";

    let printed = json(&grpcurl(&gate, &["-d", r#"{"requests": [{"image": "shop/web:9.9.9"}]}"#, batch]).await);

    assert_eq!(printed["items"][0]["error"]["reason"], "IMAGE_NOT_FOUND");
    assert_eq!(printed["items"][0]["error"]["code"], 5);
}

#[tokio::test]
async fn date_without_time_is_refused_as_waiver_end() {
    let gate = gate(World::demo()).start().await;
    let waiver = |expire_time: &str| {
        format!(
            r#"{{"waiver": {{"scope": {{"vulnerability_id": "CVE-2026-38", "repository": "shop/*"}}, "reason": "x",
               "expire_time": "{expire_time}"}}, "validate_only": true}}"#
        )
    };
    let in_a_week = (std::time::SystemTime::now() + std::time::Duration::from_hours(7 * 24)).into();
    let in_a_week = scangate_client::prost_types::Timestamp::to_string(&in_a_week);
    let with_offset = in_a_week.replace('Z', "+09:00");

    for (expire_time, is_accepted) in [
        (&in_a_week[..10], false),
        (&with_offset, true),
        ("2020-01-01T00:00:00Z", false),
        ("2996-01-01T00:00:00Z", false),
    ] {
        let created = grpcurl(&gate, &["-d", &waiver(expire_time), "scangate.v1.PolicyService/CreateWaiver"]).await;

        assert_eq!(created.status.success(), is_accepted, "{expire_time}: {created:?}");
    }
}

/// Stands for `uuidgen` where it is not installed.
const UUIDGEN: &str = "command -v uuidgen >/dev/null || uuidgen() { cat /proc/sys/kernel/random/uuid; }; ";

/// Runs the lines in a shell, one after the other.
async fn run_in_shell(gate: &Gate, lines: &[&str]) {
    for line in lines {
        let line = format!("{UUIDGEN}{}", line.replace("127.0.0.1:50051", &gate.address.to_string()));
        let path = format!("{}:{}", tool("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new("bash").args(["-c", &line]).env("PATH", path).output().await.unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn waiver_manual_commands_succeed() {
    let gate = gate(World::demo()).start().await;
    let manual = std::fs::read_to_string(root().join("docs/waivers.md")).unwrap();
    let lines: Vec<&str> = manual.lines().filter(|line| line.starts_with("grpcurl ")).collect();

    assert_eq!(lines.len(), 8);
    run_in_shell(&gate, &lines).await;
}

#[tokio::test]
async fn cookbook_commands_succeed_for_every_rpc() {
    let gate = gate(World::demo()).start().await;
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let lines: Vec<&str> = readme.lines().filter(|line| line.contains("grpcurl -plaintext")).collect();
    let rpcs = [
        "ConfigureScanning",
        "StartScan",
        "GetFindings",
        "EvaluateGate",
        "BatchEvaluateGate",
        "SimulateGate",
        "WatchScan",
        "CreatePolicy",
        "GetPolicy",
        "ListPolicies",
        "UpdatePolicy",
        "DeletePolicy",
        "ListPolicyRevisions",
        "RollbackPolicy",
        "PreviewPolicy",
        "WatchPolicies",
        "ListDecisions",
        "GetDecision",
        "ReplayDecision",
        "WatchDecisions",
        "Health/Check",
    ];

    run_in_shell(&gate, &lines).await;
    for rpc in rpcs {
        assert!(lines.iter().any(|line| line.contains(rpc)), "the cookbook has no line for {rpc}");
    }
}
