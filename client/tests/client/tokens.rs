//! Bearer tokens from files and commands.

use std::{fs, path::Path, time::Duration};

use scangate_client::{Client, Error, TokenSource, v1::*};
use tempfile::TempDir;
use tonic::Code;

use crate::{
    fake_server::{self, FakeServer},
    fixtures::{decision, error_status, evaluate_request, evaluate_response},
};

async fn connect(server: &FakeServer, source: TokenSource) -> Client {
    Client::connect(server.options().bearer_token(source)).await.unwrap()
}

fn authorization(server: &FakeServer) -> String {
    server.service.evaluate.header("authorization").unwrap()
}

/// A command that prints `tok-1`, `tok-2` and so on, and counts its runs in a file.
fn counting_command(folder: &Path) -> TokenSource {
    let script = format!("cd '{}' && echo x >> runs && echo \" tok-$(wc -l < runs | tr -d ' ')\"", folder.display());
    TokenSource::command("sh", ["-c", &script])
}

fn runs(folder: &Path) -> usize {
    fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn token_file_is_read_for_each_call() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "tok-1\n").unwrap();
    let client = connect(&server, TokenSource::file(&path)).await;

    let _decision = client.evaluate(evaluate_request()).await.unwrap();
    assert_eq!(authorization(&server), "Bearer tok-1");
    fs::write(&path, "tok-2").unwrap();
    let _decision = client.evaluate(evaluate_request()).await.unwrap();
    assert_eq!(authorization(&server), "Bearer tok-2");
}

#[tokio::test]
async fn call_without_token_is_not_sent() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let folder = TempDir::new().unwrap();
    let file = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        TokenSource::file(folder.path().join(name))
    };
    let shell = |script: &str| TokenSource::command("sh", ["-c", script]);

    for source in [
        TokenSource::file(folder.path().join("absent")),
        TokenSource::file(folder.path()),
        file("empty", " \n"),
        file("controls", "tok\u{1}secret"),
        file("large", &"a".repeat(64 * 1024)),
        TokenSource::command("no-such-program", [""; 0]),
        shell("echo tok-secret; exit 3"),
        shell("true"),
    ] {
        let error = connect(&server, source.clone()).await.evaluate(evaluate_request()).await.unwrap_err();

        assert!(matches!(error, Error::Token(_)), "{source:?}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
    assert!(server.service.evaluate.requests().is_empty());
}

#[tokio::test]
async fn token_command_runs_once_for_many_calls() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let folder = TempDir::new().unwrap();
    let client = connect(&server, counting_command(folder.path())).await;

    let (first, second) = tokio::join!(client.evaluate(evaluate_request()), client.evaluate(evaluate_request()));
    let third = client.evaluate(evaluate_request()).await;

    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!((authorization(&server).as_str(), runs(folder.path())), ("Bearer tok-1", 1));
}

#[tokio::test]
async fn expired_token_is_renewed_before_the_call() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let folder = TempDir::new().unwrap();
    // {"exp": 1}
    let script = format!("cd '{}' && echo x >> runs && echo e30.eyJleHAiOiAxfQ.c2ln", folder.path().display());
    let client = connect(&server, TokenSource::command("sh", ["-c", &script])).await;

    let _decision = client.evaluate(evaluate_request()).await.unwrap();
    assert_eq!(runs(folder.path()), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    let _decision = client.evaluate(evaluate_request()).await.unwrap();
    assert_eq!(runs(folder.path()), 2);
}

#[tokio::test]
async fn refused_token_of_command_is_renewed_once() {
    let server = fake_server::start().await;
    let refused = || Err(error_status(Code::Unauthenticated, "IDENTITY_REJECTED"));
    server.service.evaluate.respond_with([refused(), Ok(evaluate_response(decision(Verdict::Allow))), refused()]);
    let folder = TempDir::new().unwrap();
    let client = connect(&server, counting_command(folder.path())).await;

    let _decision = client.evaluate(evaluate_request()).await.unwrap();
    assert_eq!((authorization(&server).as_str(), runs(folder.path())), ("Bearer tok-2", 2));

    let error = client.evaluate(evaluate_request()).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().code, Code::Unauthenticated);
    assert_eq!((server.service.evaluate.requests().len(), runs(folder.path())), (4, 3));
}

#[tokio::test]
async fn refused_fixed_token_is_not_sent_again() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Err(error_status(Code::Unauthenticated, "IDENTITY_REJECTED"))]);

    let error = connect(&server, TokenSource::fixed("tok")).await.evaluate(evaluate_request()).await.unwrap_err();

    assert_eq!(error.rejection().unwrap().error_reason(), ErrorReason::IdentityRejected);
    assert_eq!(server.service.evaluate.requests().len(), 1);
}

#[tokio::test]
async fn watch_continues_with_a_new_token() {
    let server = fake_server::start().await;
    let at = |ended_count| WatchScanResponse { ended_count, total_count: 1, ..Default::default() };
    let expired = error_status(Code::Unauthenticated, "IDENTITY_REJECTED");
    let regranted = error_status(Code::Aborted, "GRANTS_CHANGED");
    server.service.watch.respond_with([
        Ok(vec![Ok(at(0)), Err(expired)]),
        Ok(vec![Ok(at(0)), Err(regranted)]),
        Ok(vec![Ok(at(1))]),
    ]);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "tok-1").unwrap();
    let mut watch = connect(&server, TokenSource::file(&path)).await.watch(WatchScanRequest::default()).await.unwrap();

    assert_eq!(watch.next().await.unwrap(), Some(at(0)));
    fs::write(&path, "tok-2").unwrap();
    assert_eq!(watch.next().await.unwrap(), Some(at(0)));
    assert_eq!(server.service.watch.header("authorization").as_deref(), Some("Bearer tok-2"));
    assert_eq!(watch.next().await.unwrap(), Some(at(1)));
}
