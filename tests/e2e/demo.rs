//! The demo as a new user meets it.

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
async fn the_demo_prints_three_grpcurl_lines_that_work_when_pasted() {
    let state = tempfile::tempdir().unwrap();
    let mut demo = demo(state.path()).await;
    let mut lines = demo.lines();
    let mut pasted = Vec::new();
    let mut says_that_it_is_simulated = false;
    while pasted.len() < 3 {
        let line = lines.next_line().await.unwrap().unwrap();
        says_that_it_is_simulated |= line.contains("SIMULATED");
        if line.trim().starts_with("grpcurl") {
            pasted.push(line.trim().to_owned());
        }
    }
    let path = format!("{}:{}", tool("bin").display(), std::env::var("PATH").unwrap());

    let mut said = Vec::new();
    for line in &pasted {
        let output = Command::new("bash").args(["-c", line]).env("PATH", &path).output().await.unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        said.push(String::from_utf8(output.stdout).unwrap());
    }

    assert!(says_that_it_is_simulated);
    assert!(said[0].contains("scangate.v1.ScanGateService"));
    assert!(said[1].contains("VERDICT_DENY"));
    assert!(said[2].contains("VERDICT_ALLOW"));
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_well() {
    let state = tempfile::tempdir().unwrap();
    let demo = demo(state.path()).await;

    let told = Command::new("kill").args(["-TERM", &demo.id().to_string()]).status().await.unwrap();

    assert!(told.success());
    assert!(demo.ended().await.success());
}

#[tokio::test]
async fn a_command_line_that_cannot_be_understood_is_usage() {
    for arguments in [&["serve", "--registry", "nonsense"][..], &["serve", "--findings-max-age", "soon"], &["dance"]] {
        let output = Command::new(binary("scangate-server")).args(arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    }
}

#[tokio::test]
async fn decisions_are_kept_for_as_long_as_a_request_may_be_sent_again() {
    let arguments = ["serve", "--decision-retention", "23h"];

    let output = Command::new(binary("scangate-server")).args(arguments).output().await.unwrap();

    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("must be at least 24h"), "{output:?}");
}
