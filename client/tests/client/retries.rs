//! Retries: the errors that are retried, the delays, and the idempotency keys of writes.

use std::time::{Duration, Instant};

use scangate_client::{Client, Code, ConnectOptions, Error, RetryPolicy, v1::*};

use crate::{
    fake_server::{self, immediate_retries},
    fixtures::{decision, error_status, evaluate_request, evaluate_response, unavailable, unavailable_with_delay},
};

#[tokio::test]
async fn unavailable_is_retried() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([
        Err(unavailable()),
        Err(unavailable()),
        Ok(evaluate_response(decision(Verdict::Allow))),
    ]);

    let decision = server.client().await.evaluate(evaluate_request()).await.unwrap();

    assert_eq!(decision.verdict(), Verdict::Allow);
    assert_eq!(server.service.evaluate.requests().len(), 3);
}

#[tokio::test]
async fn requested_delay_is_observed() {
    let server = fake_server::start().await;
    let delay = Duration::from_millis(120);
    server
        .service
        .evaluate
        .respond_with([Err(unavailable_with_delay(delay)), Ok(evaluate_response(decision(Verdict::Allow)))]);
    let client = server.client().await;
    let begin = Instant::now();

    let _decision = client.evaluate(evaluate_request()).await.unwrap();

    assert!(begin.elapsed() >= delay);
}

#[tokio::test]
async fn delay_past_the_deadline_returns_eager() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Err(unavailable_with_delay(Duration::from_hours(1)))]);

    let error = server.client().await.evaluate(evaluate_request()).await.unwrap_err();

    let rejection = error.rejection().unwrap();
    assert_eq!((rejection.code, rejection.retry_after), (Code::Unavailable, Some(Duration::from_hours(1))));
    assert_eq!(server.service.evaluate.requests().len(), 1);
}

#[tokio::test]
async fn attempts_are_limited_by_the_policy() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Err(unavailable())]);
    let client = Client::connect(server.options().retry(immediate_retries(3))).await.unwrap();

    let error = client.evaluate(evaluate_request()).await.unwrap_err();

    assert_eq!(error.rejection().unwrap().code, Code::Unavailable);
    assert_eq!(server.service.evaluate.requests().len(), 3);
}

#[tokio::test]
async fn no_retries_means_one_attempt() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Err(unavailable())]);
    let client = Client::connect(server.options().retry(RetryPolicy::none())).await.unwrap();

    let _error = client.evaluate(evaluate_request()).await.unwrap_err();

    assert_eq!(server.service.evaluate.requests().len(), 1);
}

#[tokio::test]
async fn other_status_codes_are_not_retried() {
    let codes = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::Unimplemented,
        Code::Internal,
        Code::Unauthenticated,
    ];
    for code in codes {
        let server = fake_server::start().await;
        server.service.evaluate.respond_with([Err(error_status(code, "SOMETHING"))]);

        let error = server.client().await.evaluate(evaluate_request()).await.unwrap_err();

        assert_eq!(error.rejection().unwrap().code, code);
        assert_eq!(server.service.evaluate.requests().len(), 1, "{code:?}");
    }
}

fn is_uuid4(id: &str) -> bool {
    let form: String = id.chars().map(|char| if char.is_ascii_hexdigit() { 'x' } else { char }).collect();
    let variant = id.chars().nth(19);
    form == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
        && id == id.to_lowercase()
        && id.chars().nth(14) == Some('4')
        && variant.is_some_and(|digit| "89ab".contains(digit))
}

#[tokio::test]
async fn retried_write_reuses_its_request_id() {
    let server = fake_server::start().await;
    server.service.create.respond_with([Err(unavailable()), Ok(CreatePolicyResponse::default())]);

    server.client().await.create_policy(CreatePolicyRequest::default()).await.unwrap();

    let ids: Vec<_> = server.service.create.requests().into_iter().map(|request| request.request_id).collect();
    assert!(matches!(ids.as_slice(), [first, second] if first == second && is_uuid4(first)), "{ids:?}");
}

#[tokio::test]
async fn writes_have_different_request_ids() {
    let server = fake_server::start().await;
    server.service.delete.respond_with([Ok(DeletePolicyResponse::default())]);
    let client = server.client().await;

    client.delete_policy(DeletePolicyRequest::default()).await.unwrap();
    client.delete_policy(DeletePolicyRequest::default()).await.unwrap();

    let requests = server.service.delete.requests();
    assert_ne!(requests[0].request_id, requests[1].request_id);
}

#[tokio::test]
async fn caller_request_id_is_preserved() {
    let server = fake_server::start().await;
    server.service.update.respond_with([Ok(UpdatePolicyResponse::default())]);
    let request =
        UpdatePolicyRequest { request_id: "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f".into(), ..Default::default() };

    server.client().await.update_policy(request).await.unwrap();

    assert_eq!(server.service.update.requests()[0].request_id, "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f");
}

#[tokio::test]
async fn evaluation_has_no_request_id() {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);

    let _decision = server.client().await.evaluate(evaluate_request()).await.unwrap();

    assert_eq!(server.service.evaluate.requests()[0].request_id, "");
}

#[tokio::test]
async fn generated_client_does_not_retry() {
    let server = fake_server::start().await;
    server.service.create.respond_with([Err(unavailable())]);

    let _status = server.client().await.policies().create_policy(CreatePolicyRequest::default()).await.unwrap_err();

    assert_eq!(server.service.create.requests().len(), 1);
}

#[tokio::test]
async fn unreachable_server_is_a_connect_error() {
    // A port without a listener: bound to find a free one, then released.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = ConnectOptions::new(format!("http://{}", listener.local_addr().unwrap())).retry(immediate_retries(2));
    drop(listener);

    let eager = Client::connect(options.clone()).await.unwrap_err();
    let lazy = Client::connect_lazy(options).unwrap().evaluate(evaluate_request()).await.unwrap_err();

    assert!(matches!(eager, Error::Connect { .. }), "{eager:?}");
    assert!(matches!(lazy, Error::Connect { .. }), "{lazy:?}");
}

#[tokio::test]
async fn connection_is_reopened_after_server_restart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ConnectOptions::new(format!("http://{address}")).retry(immediate_retries(3));
    let client = Client::connect_lazy(options).unwrap();
    // The first connection is accepted and dropped, as by a server that crashes; then no listener is left.
    let crash = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let _error = client.evaluate(evaluate_request()).await.unwrap_err();
    crash.await.unwrap();

    let server = fake_server::start_at(address).await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    let decision = client.evaluate(evaluate_request()).await.unwrap();

    assert_eq!(decision.verdict(), Verdict::Allow);
}
