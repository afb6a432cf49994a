//! The headers of calls, and the errors for incomplete responses.

use std::time::Duration;

use scangate_client::{Client, Error, prost_types, v1::*};
use tonic::Code;

use crate::{
    fake_server,
    fixtures::{decision, error_status, evaluate_request, evaluate_response, invalid_field},
};

/// Parses `grpc-timeout` into milliseconds.
fn parse_timeout(header: &str) -> u64 {
    let (digits, unit) = header.split_at(header.len() - 1);
    let count: u64 = digits.parse().unwrap();
    match unit {
        "S" => count * 1000,
        "m" => count,
        "u" => count / 1000,
        "n" => count / 1_000_000,
        other => panic!("unit {other}"),
    }
}

#[tokio::test]
async fn deadline_is_sent_to_the_server() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let client = server.client().await.with_call_timeout(Duration::from_secs(20));

    let _decision = client.evaluate(evaluate_request()).await.unwrap();

    let deadline = parse_timeout(&server.service.evaluate.header("grpc-timeout").unwrap());
    assert!((1..=20_000).contains(&deadline), "{deadline}");
}

#[tokio::test]
async fn wait_is_added_to_the_deadline() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let client = server.client().await.with_call_timeout(Duration::from_secs(20));
    let wait = Some(prost_types::Duration { seconds: 300, nanos: 0 });

    let _decision = client.evaluate(EvaluateGateRequest { wait, ..evaluate_request() }).await.unwrap();

    let deadline = parse_timeout(&server.service.evaluate.header("grpc-timeout").unwrap());
    assert!((300_000..=320_000).contains(&deadline), "{deadline}");
}

#[tokio::test]
async fn missing_response_ends_at_the_deadline() {
    let server = fake_server::start().await;
    let timeout = Duration::from_millis(60);
    let client = server.client().await.with_call_timeout(timeout);

    let error = client.evaluate(evaluate_request()).await.unwrap_err();

    assert!(matches!(error, Error::DeadlineExceeded { timeout: actual } if actual == timeout), "{error:?}");
    assert_eq!(error.to_string(), "no response from the server within 60 ms");
}

#[tokio::test]
async fn typed_and_generated_calls_are_authenticated() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    server.service.get.respond_with([Ok(GetPolicyResponse::default())]);
    let options = server.options().bearer_token("tok-123").user_agent("deployer/1.0");
    let client = Client::connect(options).await.unwrap();

    let _decision = client.evaluate(evaluate_request()).await.unwrap();
    client.policies().get_policy(GetPolicyRequest::default()).await.unwrap();

    assert_eq!(server.service.evaluate.header("authorization").as_deref(), Some("Bearer tok-123"));
    assert_eq!(server.service.get.header("authorization").as_deref(), Some("Bearer tok-123"));
    assert!(server.service.evaluate.header("user-agent").unwrap().starts_with("deployer/1.0 "));
    assert!(!format!("{client:?}").contains("tok-123"));
}

#[tokio::test]
async fn invalid_token_is_rejected_and_not_shown() {
    let server = fake_server::start().await;

    let error = Client::connect(server.options().bearer_token("tok\n123")).await.unwrap_err();

    assert_eq!(error.to_string(), "invalid bearer token");
    assert!(!format!("{error:?}").contains("123"));
}

#[tokio::test]
async fn response_without_decision_is_incomplete() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(EvaluateGateResponse::default())]);

    let error = server.client().await.evaluate(evaluate_request()).await.unwrap_err();

    assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");
}

#[tokio::test]
async fn invalid_field_is_part_of_the_error_text() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Err(invalid_field("image", "is empty"))]);

    let error = server.client().await.evaluate(evaluate_request()).await.unwrap_err();

    assert_eq!(error.to_string(), "invalid fields (INVALID_FIELDS); image: is empty");
}

#[tokio::test]
async fn error_reason_is_parsed() {
    let server = fake_server::start().await;
    server.service.start.respond_with([Err(error_status(Code::NotFound, "IMAGE_NOT_FOUND"))]);

    let error = server.client().await.start_scan(StartScanRequest::default()).await.unwrap_err();

    assert_eq!(error.rejection().unwrap().error_reason(), ErrorReason::ImageNotFound);
}

#[tokio::test]
async fn scan_watch_ends_with_the_scan() {
    let server = fake_server::start().await;
    let at = |ended_count| WatchScanResponse { ended_count, total_count: 2, ..Default::default() };
    server.service.watch.respond_with([Ok(vec![Ok(at(0)), Ok(at(1)), Ok(at(2))])]);

    let mut watch = server.client().await.watch(WatchScanRequest::default()).await.unwrap();
    let mut ended = Vec::new();
    while let Some(message) = watch.next().await.unwrap() {
        ended.push(message.ended_count);
    }

    assert_eq!(ended, [0, 1, 2]);
    assert_eq!(server.service.watch.header("grpc-timeout"), None);
}

#[tokio::test]
async fn interrupted_scan_watch_begins_anew() {
    let server = fake_server::start().await;
    let at = |ended_count| WatchScanResponse { ended_count, total_count: 1, ..Default::default() };
    let stopped = error_status(Code::Unavailable, "SHUTTING_DOWN");
    server.service.watch.respond_with([Ok(vec![Ok(at(0)), Err(stopped)]), Ok(vec![Ok(at(0)), Ok(at(1))])]);

    let mut watch = server.client().await.watch(WatchScanRequest::default()).await.unwrap();
    let mut ended = Vec::new();
    while let Some(message) = watch.next().await.unwrap() {
        ended.push(message.ended_count);
    }

    assert_eq!(ended, [0, 0, 1]);
}

#[tokio::test]
async fn configure_scanning_returns_the_response() {
    let server = fake_server::start().await;
    server.service.configure.respond_with([Ok(ConfigureScanningResponse { changed: true, ..Default::default() })]);

    let response = server.client().await.configure_scanning(ConfigureScanningRequest::default()).await.unwrap();

    assert!(response.changed);
}

#[tokio::test]
async fn list_policies_collects_all_pages() {
    let server = fake_server::start().await;
    let page = |name: &str, next: &str| ListPoliciesResponse {
        policies: vec![Policy { name: name.into(), ..Default::default() }],
        next_page_token: next.into(),
        ..Default::default()
    };
    server.service.list.respond_with([Ok(page("policies/a", "2")), Ok(page("policies/b", ""))]);

    let response = server.client().await.list_policies(ListPoliciesRequest::default()).await.unwrap();

    let names: Vec<_> = response.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["policies/a", "policies/b"]);
    assert_eq!(server.service.list.requests()[1].page_token, "2");
}

#[tokio::test]
async fn repeated_page_token_is_an_error() {
    let server = fake_server::start().await;
    server.service.list.respond_with([Ok(ListPoliciesResponse { next_page_token: "2".into(), ..Default::default() })]);

    let error = server.client().await.list_policies(ListPoliciesRequest::default()).await.unwrap_err();

    assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");
}

/// Services spawn calls: this test compiles only if the futures are `Send`.
#[tokio::test]
async fn call_can_be_spawned() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let client = server.client().await;

    let decision = tokio::spawn(async move { client.evaluate(evaluate_request()).await }).await.unwrap().unwrap();

    assert_eq!(decision.verdict(), Verdict::Allow);
}
