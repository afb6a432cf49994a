//! The check of a decision, from the server's response to the reference to deploy.

use scangate_client::{Error, Refusal, v1::*};
use tonic::Code;

use crate::{
    fake_server::{self, FakeServer},
    fixtures::{DEPLOY, decision, denied, error_item, evaluate_request, evaluate_response, item},
};

async fn server_with_decision(decision: Decision) -> FakeServer {
    let server = fake_server::start().await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision))]);
    server
}

async fn server_with_batch(items: Vec<BatchEvaluateGateItem>, verdict: i32) -> FakeServer {
    let server = fake_server::start().await;
    server.service.batch.respond_with([Ok(BatchEvaluateGateResponse { items, verdict })]);
    server
}

fn request_of_two_images() -> BatchEvaluateGateRequest {
    BatchEvaluateGateRequest { requests: vec![evaluate_request(), evaluate_request()] }
}

#[tokio::test]
async fn allowed_image_returns_pinned_reference() {
    let server = server_with_decision(decision(Verdict::Allow)).await;

    let decision = server.client().await.evaluate(evaluate_request()).await.unwrap();

    assert_eq!(decision.require_allowed(), Ok(DEPLOY));
}

#[tokio::test]
async fn unknown_verdict_is_refused() {
    let server = server_with_decision(Decision { verdict: 4, ..decision(Verdict::Allow) }).await;

    let decision = server.client().await.evaluate(evaluate_request()).await.unwrap();

    assert_eq!(decision.require_allowed().unwrap_err().refusal, Refusal::UnknownVerdict(4));
}

#[tokio::test]
async fn allow_without_reference_is_refused() {
    let server = server_with_decision(Decision { deploy_image: String::new(), ..decision(Verdict::Allow) }).await;

    let decision = server.client().await.evaluate(evaluate_request()).await.unwrap();

    assert_eq!(decision.require_allowed().unwrap_err().refusal, Refusal::NoReference);
}

#[tokio::test]
async fn batch_with_denied_image_is_refused() {
    let allow = || item(decision(Verdict::Allow));
    let allowed = server_with_batch(vec![allow(), allow()], 1).await;
    let denied = server_with_batch(vec![allow(), item(denied())], 2).await;

    let allowed = allowed.client().await.batch_evaluate(request_of_two_images()).await.unwrap();
    let denied = denied.client().await.batch_evaluate(request_of_two_images()).await.unwrap();

    assert_eq!(allowed.require_allowed().unwrap(), [DEPLOY, DEPLOY]);
    assert!(matches!(denied.require_allowed(), Err(Error::NotAllowed(refusal)) if refusal.refusal == Refusal::Denied));
}

#[tokio::test]
async fn batch_with_failed_image_is_refused() {
    let failed = error_item(Code::NotFound, "IMAGE_NOT_FOUND");
    let server = server_with_batch(vec![item(decision(Verdict::Allow)), failed], 3).await;

    let batch = server.client().await.batch_evaluate(request_of_two_images()).await.unwrap();

    let error = batch.require_allowed().unwrap_err();
    assert_eq!(error.rejection().unwrap().error_reason(), ErrorReason::ImageNotFound);
}

#[tokio::test]
async fn batch_verdict_other_than_allow_is_refused() {
    let server = server_with_batch(vec![item(decision(Verdict::Allow)), item(decision(Verdict::Allow))], 9).await;

    let batch = server.client().await.batch_evaluate(request_of_two_images()).await.unwrap();

    assert!(matches!(batch.require_allowed(), Err(Error::NotAllowed(_))));
}

#[tokio::test]
async fn batch_response_without_an_item_is_incomplete() {
    let missing_item = server_with_batch(vec![item(decision(Verdict::Allow))], 1).await;
    let empty_item = server_with_batch(vec![item(decision(Verdict::Allow)), BatchEvaluateGateItem::default()], 1).await;

    for server in [missing_item, empty_item] {
        let error = server.client().await.batch_evaluate(request_of_two_images()).await.unwrap_err();

        assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");
    }
}
