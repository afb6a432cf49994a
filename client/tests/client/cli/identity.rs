//! The identity of the caller: options, and the messages if the server refuses it or its permissions.

use std::{collections::HashMap, fs};

use scangate_client::v1::*;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{run, scangate, status, stderr};
use crate::{
    fake_server::{self, FakeServer},
    fixtures::{IMAGE, decision, evaluate_response},
};

async fn allowing_server() -> FakeServer {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    server
}

/// Runs `scangate check` against a server that refuses the call.
async fn refused(code: Code, reason: &str, message: &str, metadata: &[(&str, &str)]) -> String {
    let metadata: HashMap<_, _> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let details = ErrorDetails::with_error_info(reason, "scangate.dev", metadata);
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Err(Status::with_error_details(code, message, details))]);

    let output = run(&server, &["check", IMAGE]).await;

    assert_eq!(status(&output), 3);
    stderr(&output)
}

#[tokio::test]
async fn token_comes_from_file_command_or_environment() {
    let server = allowing_server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "from-file\n").unwrap();
    let file = file.to_str().unwrap();
    let cases = [
        (vec!["--token-file", file], vec![], "from-file"),
        (vec!["--token-command", "echo from-$((40 + 2))"], vec![], "from-42"),
        (vec![], vec![("SCANGATE_TOKEN_FILE", file), ("SCANGATE_TOKEN", "unused")], "from-file"),
        (vec![], vec![("SCANGATE_TOKEN_COMMAND", "echo by-command")], "by-command"),
        (vec![], vec![("SCANGATE_TOKEN", " from-environment ")], "from-environment"),
    ];
    for (arguments, variables, token) in cases {
        let output = scangate(&server).args(["check", IMAGE]).args(arguments).envs(variables).output().await.unwrap();

        assert_eq!(status(&output), 0, "{}", stderr(&output));
        assert_eq!(server.service.evaluate.header("authorization"), Some(format!("Bearer {token}")));
    }
}

#[tokio::test]
async fn failed_token_command_exits_3() {
    let server = allowing_server().await;

    let output = run(&server, &["check", IMAGE, "--token-command", "echo 'log in first' >&2; exit 7"]).await;

    assert_eq!(status(&output), 3);
    assert_eq!(stderr(&output), "log in first\nerror: no token for the call: the command sh: exit status: 7\n");
    assert!(server.service.evaluate.requests().is_empty());
}

#[tokio::test]
async fn token_in_plaintext_beyond_loopback_exits_64() {
    let server = allowing_server().await;

    let arguments = ["check", IMAGE, "--server", "http://gate.example:50051", "--token-command", "echo tok"];
    let output = run(&server, &arguments).await;

    assert_eq!(status(&output), 64);
    assert!(stderr(&output).contains("a token requires https:// beyond this machine"), "{}", stderr(&output));
}

#[tokio::test]
async fn incomplete_identity_options_exit_64() {
    let server = allowing_server().await;
    let command_lines: [&[&str]; 4] = [
        &["--cert", "client.pem"],
        &["--key", "client.key"],
        &["--token-file", "token", "--token-command", "echo tok"],
        &["--cert", "absent.pem", "--key", "absent.key"],
    ];
    for arguments in command_lines {
        let output = run(&server, &[&["check", IMAGE], arguments].concat()).await;
        assert_eq!(status(&output), 64, "{arguments:?}");
    }
}

#[tokio::test]
async fn missing_identity_names_the_options() {
    let printed = refused(Code::Unauthenticated, "IDENTITY_MISSING", "the call has no identity", &[]).await;

    assert_eq!(
        printed,
        "error: the call has no identity (IDENTITY_MISSING)\n  identify yourself with --cert and --key, with --token-file or \
         --token-command, or with SCANGATE_TOKEN\n"
    );
}

#[tokio::test]
async fn refused_identity_names_kind_and_next_step() {
    let metadata = [("kind", "expired")];

    let printed =
        refused(Code::Unauthenticated, "IDENTITY_REJECTED", "the identity is refused (expired)", &metadata).await;

    assert_eq!(
        printed,
        "error: the identity is refused (expired) (IDENTITY_REJECTED)\n  kind: expired\n  renew the certificate of --cert, or the \
         token of --token-file, --token-command or SCANGATE_TOKEN\n"
    );
}

#[tokio::test]
async fn missing_permission_and_scope_are_named() {
    let caller = ("caller", "github:repo:acme/shop");
    let missing = [("permission", "scan.start"), caller];
    let outside = [
        ("permission", "gate.evaluate"),
        caller,
        ("subject", "repository billing/api"),
        ("allowed", "repositories shop/* in environments prod"),
    ];

    let printed = refused(Code::PermissionDenied, "PERMISSION_MISSING", "no permission", &missing).await;
    assert_eq!(
        printed,
        "error: no permission (PERMISSION_MISSING)\n  caller: github:repo:acme/shop\n  permission: scan.start\n"
    );
    let printed = refused(Code::PermissionDenied, "OUT_OF_SCOPE", "outside", &outside).await;
    assert_eq!(
        printed,
        "error: outside (OUT_OF_SCOPE)\n  allowed: repositories shop/* in environments prod\n  caller: github:repo:acme/shop\n  \
         permission: gate.evaluate\n  subject: repository billing/api\n"
    );
}
