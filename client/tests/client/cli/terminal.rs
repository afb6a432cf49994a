//! Output streams: terminal controls, closed pipes, full disks and secrets.

use std::process::Stdio;

use scangate_client::v1::*;
use tonic::Status;

use super::{check, run, scangate, status, stderr, stdout};
use crate::{
    fake_server,
    fixtures::{IMAGE, decision, denied, evaluate_response},
};

#[tokio::test]
async fn terminal_controls_are_not_printed() {
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}1A\rALLOW\u{202e}";
    let server = fake_server::start().await;
    server.service.findings.respond_with([Ok(GetFindingsResponse {
        findings: vec![Finding { title: hostile.into(), vulnerability_id: hostile.into(), ..Default::default() }],
        total_size: 1,
        ..Default::default()
    })]);
    server.service.evaluate.respond_with([Err(Status::internal(hostile))]);
    let denied = Decision { reasons: vec![hostile.into()], environment: hostile.into(), ..denied() };

    let outputs = [
        check(denied.clone(), &[]).await,
        check(denied, &["--output", "json"]).await,
        run(&server, &["findings", IMAGE]).await,
        run(&server, &["findings", IMAGE, "--output", "json"]).await,
        run(&server, &["check", IMAGE]).await,
    ];

    for output in outputs {
        let printed = stdout(&output) + &stderr(&output);
        let is_control = |char: &char| (char.is_control() && *char != '\n') || *char == '\u{202e}';
        assert!(printed.contains("owned") && !printed.chars().any(|char| is_control(&char)), "{printed:?}");
    }
}

#[tokio::test]
async fn closed_pipe_does_not_change_exit_status() {
    for (verdict, expected) in [(Verdict::Allow, 0), (Verdict::Deny, 1)] {
        let server = fake_server::start().await;
        server.service.evaluate.respond_with([Ok(evaluate_response(decision(verdict)))]);
        let mut child =
            scangate(&server).args(["check", IMAGE]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());

        let output = child.wait_with_output().await.unwrap();

        assert_eq!((status(&output), stderr(&output).as_str()), (expected, ""));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn lost_output_fails_unless_denied() {
    for (verdict, expected) in [(Verdict::Allow, 3), (Verdict::Deny, 1)] {
        let server = fake_server::start().await;
        server.service.evaluate.respond_with([Ok(evaluate_response(decision(verdict)))]);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();

        let status =
            scangate(&server).args(["check", IMAGE]).stdout(full).stderr(Stdio::null()).status().await.unwrap();

        assert_eq!(status.code(), Some(expected));
    }
}

#[tokio::test]
async fn token_from_environment_is_never_shown() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);

    scangate(&server).env("SCANGATE_TOKEN", "tok-123\n").args(["check", IMAGE]).output().await.unwrap();
    let help = scangate(&server).env("SCANGATE_TOKEN", "tok-123").arg("--help").output().await.unwrap();

    assert_eq!(server.service.evaluate.header("authorization").as_deref(), Some("Bearer tok-123"));
    assert!(!stdout(&help).contains("tok-123"));
}
