//! The command line against a running gate; its exit codes are its interface.

use std::process::Output;

use scangate_ecr_simulator::World;
use tokio::process::Command;

use crate::harness::{
    Gate, gate,
    tools::{binary, free_address, json, stdout},
};

async fn scangate(gate: &Gate, arguments: &[&str]) -> Output {
    Command::new(binary("scangate"))
        .args(arguments)
        .env("SCANGATE_SERVER", format!("http://{}", gate.address))
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn each_verdict_has_its_exit_code() {
    let gate = gate(World::demo()).start().await;
    let cases = [
        (&["check", "shop/api:2.0.0", "--env", "prod"][..], 0),
        (&["check", "shop/web:1.4.2"][..], 1),
        (&["check", "shop/cart:0.9.0"][..], 2),
        (&["check", "shop/nothing:1"][..], 3),
        (&["check", "shop/web"][..], 64),
        (&["check"][..], 64),
        (&["check", "shop/api:2.0.0", "shop/web:1.4.2"][..], 1),
    ];

    for (arguments, code) in cases {
        let output = scangate(&gate, arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn unreachable_gate_exits_as_failure() {
    let output = Command::new(binary("scangate"))
        .args(["check", "shop/api:2.0.0", "--server", &format!("http://{}", free_address())])
        .output()
        .await
        .unwrap();

    assert_eq!(output.status.code(), Some(3));
}

#[tokio::test]
async fn check_prints_findings_or_deploy_image() {
    let gate = gate(World::demo()).start().await;

    let denied = String::from_utf8(scangate(&gate, &["check", "shop/web:1.4.2"]).await.stdout).unwrap();
    let allowed = stdout(&scangate(&gate, &["check", "shop/api:2.0.0"]).await);

    assert!(denied.contains("CVE-2019-19814"), "{denied}");
    assert!(denied.contains("no-critical"), "{denied}");
    assert!(allowed.contains("/shop/api@sha256:"), "{allowed}");
}

#[tokio::test]
async fn findings_scan_and_scanning_commands_succeed() {
    let gate = gate(World::demo()).start().await;

    let findings =
        json(&scangate(&gate, &["findings", "shop/web:1.4.2", "--min-severity", "critical", "--output", "json"]).await);
    let started = stdout(&scangate(&gate, &["scan", "start", "shop/search:5.0.0"]).await);
    let watched = scangate(&gate, &["scan", "watch", "shop/api:2.0.0"]).await;
    let configured =
        stdout(&scangate(&gate, &["scanning", "configure", "repository", "shop/web", "--scan-on-push", "true"]).await);

    assert!(findings.to_string().contains("CVE-2019-19814"));
    assert!(started.contains("STARTED"), "{started}");
    assert!(watched.status.success());
    assert!(!configured.is_empty());
}

#[tokio::test]
async fn policy_file_passes_through_its_lifecycle() {
    let gate = gate(World::demo()).start().await;
    let file = gate.state.path().join("policy.json");
    std::fs::write(
        &file,
        r#"{"match": {"repositories": ["shop/*"]}, "rules": [{"id": "none", "when": {"minSeverity": "SEVERITY_LOW"}}]}"#,
    )
    .unwrap();
    let file = file.to_str().unwrap();

    stdout(&scangate(&gate, &["policy", "validate", "-f", file]).await);
    stdout(&scangate(&gate, &["policy", "create", "shop", "-f", file]).await);
    let read = json(&scangate(&gate, &["policy", "get", "policies/shop", "--output", "json"]).await);
    let listed = stdout(&scangate(&gate, &["policy", "list"]).await);
    stdout(&scangate(&gate, &["policy", "delete", "policies/shop", "--etag", "*"]).await);
    let deleted = scangate(&gate, &["policy", "get", "policies/shop"]).await;

    assert!(read.to_string().contains("SEVERITY_LOW"));
    assert!(listed.contains("policies/shop"), "{listed}");
    assert_eq!(deleted.status.code(), Some(3));
}
