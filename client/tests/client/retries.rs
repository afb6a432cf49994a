//! When a call is made again, and when it must not be.

use std::time::{Duration, Instant};

use scangate_client::{Client, Code, ConnectOptions, Error, RetryPolicy, v1::*};

use crate::{
    answers::{asked, decision, evaluated, refused, unavailable, unavailable_for},
    fake_gate::{self, eager},
};

#[tokio::test]
async fn an_unavailable_gate_is_asked_again() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Err(unavailable()), Err(unavailable()), Ok(evaluated(decision(Verdict::Allow)))]);

    let decision = fake.client().await.evaluate(asked()).await.unwrap();

    assert_eq!(decision.verdict(), Verdict::Allow);
    assert_eq!(fake.gate.evaluate.requests().len(), 3);
}

#[tokio::test]
async fn the_gate_says_how_long_to_wait_at_least() {
    let fake = fake_gate::start().await;
    let delay = Duration::from_millis(120);
    fake.gate.evaluate.will([Err(unavailable_for(delay)), Ok(evaluated(decision(Verdict::Allow)))]);
    let client = fake.client().await;
    let begin = Instant::now();

    let _decision = client.evaluate(asked()).await.unwrap();

    assert!(begin.elapsed() >= delay);
}

#[tokio::test]
async fn a_wait_past_the_deadline_is_not_begun() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Err(unavailable_for(Duration::from_hours(1)))]);

    let error = fake.client().await.evaluate(asked()).await.unwrap_err();

    let rejection = error.rejection().unwrap();
    assert_eq!((rejection.code, rejection.retry_after), (Code::Unavailable, Some(Duration::from_hours(1))));
    assert_eq!(fake.gate.evaluate.requests().len(), 1);
}

#[tokio::test]
async fn attempts_end_where_the_policy_says() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Err(unavailable())]);
    let client = Client::connect(fake.options().retry(eager(3))).await.unwrap();

    let error = client.evaluate(asked()).await.unwrap_err();

    assert_eq!(error.rejection().unwrap().code, Code::Unavailable);
    assert_eq!(fake.gate.evaluate.requests().len(), 3);
}

#[tokio::test]
async fn without_retries_one_attempt_is_all() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Err(unavailable())]);
    let client = Client::connect(fake.options().retry(RetryPolicy::none())).await.unwrap();

    let _error = client.evaluate(asked()).await.unwrap_err();

    assert_eq!(fake.gate.evaluate.requests().len(), 1);
}

#[tokio::test]
async fn no_other_refusal_is_asked_again() {
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
        let fake = fake_gate::start().await;
        fake.gate.evaluate.will([Err(refused(code, "SOMETHING"))]);

        let error = fake.client().await.evaluate(asked()).await.unwrap_err();

        assert_eq!(error.rejection().unwrap().code, code);
        assert_eq!(fake.gate.evaluate.requests().len(), 1, "{code:?}");
    }
}

#[tokio::test]
async fn a_write_is_named_so_that_its_retry_acts_once() {
    let fake = fake_gate::start().await;
    fake.gate.create.will([Err(unavailable()), Ok(CreatePolicyResponse::default())]);

    fake.client().await.create_policy(CreatePolicyRequest::default()).await.unwrap();

    let ids: Vec<_> = fake.gate.create.requests().into_iter().map(|request| request.request_id).collect();
    assert!(matches!(ids.as_slice(), [first, second] if first == second && first.len() == 32), "{ids:?}");
}

#[tokio::test]
async fn two_writes_never_share_a_name() {
    let fake = fake_gate::start().await;
    fake.gate.delete.will([Ok(DeletePolicyResponse::default())]);
    let client = fake.client().await;

    client.delete_policy(DeletePolicyRequest::default()).await.unwrap();
    client.delete_policy(DeletePolicyRequest::default()).await.unwrap();

    let requests = fake.gate.delete.requests();
    assert_ne!(requests[0].request_id, requests[1].request_id);
}

#[tokio::test]
async fn a_name_that_the_caller_gave_is_kept() {
    let fake = fake_gate::start().await;
    fake.gate.update.will([Ok(UpdatePolicyResponse::default())]);
    let request = UpdatePolicyRequest { request_id: "change-42".into(), ..Default::default() };

    fake.client().await.update_policy(request).await.unwrap();

    assert_eq!(fake.gate.update.requests()[0].request_id, "change-42");
}

#[tokio::test]
async fn a_question_is_not_named() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);

    let _decision = fake.client().await.evaluate(asked()).await.unwrap();

    assert_eq!(fake.gate.evaluate.requests()[0].request_id, "");
}

#[tokio::test]
async fn the_generated_clients_never_ask_again() {
    let fake = fake_gate::start().await;
    fake.gate.create.will([Err(unavailable())]);

    let _status = fake.client().await.policies().create_policy(CreatePolicyRequest::default()).await.unwrap_err();

    assert_eq!(fake.gate.create.requests().len(), 1);
}

#[tokio::test]
async fn a_gate_that_is_not_there_cannot_be_reached() {
    // A port that was free a moment ago and that nobody listens on now.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = ConnectOptions::new(format!("http://{}", listener.local_addr().unwrap())).retry(eager(2));
    drop(listener);

    let at_once = Client::connect(options.clone()).await.unwrap_err();
    let lazily = Client::connect_lazy(options).unwrap().evaluate(asked()).await.unwrap_err();

    assert!(matches!(at_once, Error::Connect { .. }), "{at_once:?}");
    assert!(matches!(lazily, Error::Connect { .. }), "{lazily:?}");
}

#[tokio::test]
async fn a_connection_is_opened_again_after_the_gate_restarts() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ConnectOptions::new(format!("http://{address}")).retry(eager(3));
    let client = Client::connect_lazy(options).unwrap();
    // The first connection is taken and dropped, as by a gate that dies; then nobody is there.
    let dies = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let _error = client.evaluate(asked()).await.unwrap_err();
    dies.await.unwrap();

    let fake = fake_gate::start_at(address).await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);
    let decision = client.evaluate(asked()).await.unwrap();

    assert_eq!(decision.verdict(), Verdict::Allow);
}
