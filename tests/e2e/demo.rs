//! The `demo` command, and the exit codes of the server's command line.

use std::process::Stdio;

use tokio::process::Command;

use crate::harness::tools::{Server, binary, free_address, tool};

pub async fn demo(state: &std::path::Path) -> Server {
    let address = free_address();
    let mut command = Command::new(binary("scangate-server"));
    command.args(["demo", "--log", "warn", "--listen", &address.to_string(), "--ecr-listen", "127.0.0.1:0", "--state"]);
    command.arg(state).stdout(Stdio::piped());
    Server::start(command, address).await
}

#[tokio::test]
async fn demo_prints_working_grpcurl_commands() {
    let state = tempfile::tempdir().unwrap();
    let mut demo = demo(state.path()).await;
    let mut lines = demo.stdout_lines();
    let mut commands = Vec::new();
    let mut is_marked_simulated = false;
    while commands.len() < 3 {
        let line = lines.next_line().await.unwrap().unwrap();
        is_marked_simulated |= line.contains("SIMULATED");
        if line.trim().starts_with("grpcurl") {
            commands.push(line.trim().to_owned());
        }
    }
    let path = format!("{}:{}", tool("bin").display(), std::env::var("PATH").unwrap());

    let mut outputs = Vec::new();
    for line in &commands {
        let output = Command::new("bash").args(["-c", line]).env("PATH", &path).output().await.unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        outputs.push(String::from_utf8(output.stdout).unwrap());
    }

    assert!(is_marked_simulated);
    assert!(outputs[0].contains("scangate.v1.ScanGateService"));
    assert!(outputs[1].contains("VERDICT_DENY"));
    assert!(outputs[2].contains("VERDICT_ALLOW"));
}

#[tokio::test]
async fn sigterm_ends_demo_successfully() {
    let state = tempfile::tempdir().unwrap();
    let demo = demo(state.path()).await;

    let killed = Command::new("kill").args(["-TERM", &demo.id().to_string()]).status().await.unwrap();

    assert!(killed.success());
    assert!(demo.wait().await.success());
}

#[tokio::test]
async fn invalid_arguments_exit_with_usage_code() {
    for arguments in [&["serve", "--registry", "nonsense"][..], &["serve", "--findings-max-age", "soon"], &["dance"]] {
        let output = Command::new(binary("scangate-server")).args(arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    }
}

#[tokio::test]
async fn retention_below_dedup_window_is_rejected() {
    let arguments = ["serve", "--decision-retention", "23h"];

    let output = Command::new(binary("scangate-server")).args(arguments).output().await.unwrap();

    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("must be at least 24h"), "{output:?}");
}
