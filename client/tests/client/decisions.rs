//! From what the gate answers to what may be deployed.

use scangate_client::{Error, Refusal, v1::*};
use tonic::Code;

use crate::{
    answers::{DEPLOY, asked, decision, denied, evaluated, failed_item, item, refused},
    fake_gate::{self, Running},
};

async fn answering(decision: Decision) -> Running {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(decision))]);
    fake
}

async fn answering_batch(items: Vec<BatchEvaluateGateItem>, verdict: i32) -> Running {
    let fake = fake_gate::start().await;
    fake.gate.batch.will([Ok(BatchEvaluateGateResponse { items, verdict })]);
    fake
}

fn two() -> BatchEvaluateGateRequest {
    BatchEvaluateGateRequest { requests: vec![asked(), asked()] }
}

#[tokio::test]
async fn an_allowed_image_is_deployed_by_its_digest() {
    let fake = answering(decision(Verdict::Allow)).await;

    let decision = fake.client().await.evaluate(asked()).await.unwrap();

    assert_eq!(decision.require_allowed(), Ok(DEPLOY));
}

#[tokio::test]
async fn a_verdict_of_a_newer_gate_is_no_permission() {
    let fake = answering(Decision { verdict: 4, ..decision(Verdict::Allow) }).await;

    let decision = fake.client().await.evaluate(asked()).await.unwrap();

    assert_eq!(decision.require_allowed().unwrap_err().refusal, Refusal::UnknownVerdict(4));
}

#[tokio::test]
async fn an_allow_without_a_reference_is_no_permission() {
    let fake = answering(Decision { deploy_image: String::new(), ..decision(Verdict::Allow) }).await;

    let decision = fake.client().await.evaluate(asked()).await.unwrap();

    assert_eq!(decision.require_allowed().unwrap_err().refusal, Refusal::NoReference);
}

#[tokio::test]
async fn a_release_is_deployed_only_as_a_whole() {
    let allow = || item(decision(Verdict::Allow));
    let whole = answering_batch(vec![allow(), allow()], 1).await;
    let part = answering_batch(vec![allow(), item(denied())], 2).await;

    let whole = whole.client().await.batch_evaluate(two()).await.unwrap();
    let part = part.client().await.batch_evaluate(two()).await.unwrap();

    assert_eq!(whole.require_allowed().unwrap(), [DEPLOY, DEPLOY]);
    assert!(matches!(part.require_allowed(), Err(Error::NotAllowed(refusal)) if refusal.refusal == Refusal::Denied));
}

#[tokio::test]
async fn an_image_without_a_decision_stops_its_release() {
    let failed = failed_item(&refused(Code::NotFound, "IMAGE_NOT_FOUND"));
    let fake = answering_batch(vec![item(decision(Verdict::Allow)), failed], 3).await;

    let batch = fake.client().await.batch_evaluate(two()).await.unwrap();

    let error = batch.require_allowed().unwrap_err();
    assert_eq!(error.rejection().unwrap().error_reason(), ErrorReason::ImageNotFound);
}

#[tokio::test]
async fn a_release_verdict_that_is_not_allow_is_obeyed() {
    let fake = answering_batch(vec![item(decision(Verdict::Allow)), item(decision(Verdict::Allow))], 9).await;

    let batch = fake.client().await.batch_evaluate(two()).await.unwrap();

    assert!(matches!(batch.require_allowed(), Err(Error::NotAllowed(_))));
}

#[tokio::test]
async fn a_release_answer_that_leaves_an_image_out_is_no_answer() {
    let short = answering_batch(vec![item(decision(Verdict::Allow))], 1).await;
    let hollow = answering_batch(vec![item(decision(Verdict::Allow)), BatchEvaluateGateItem::default()], 1).await;

    for fake in [short, hollow] {
        let error = fake.client().await.batch_evaluate(two()).await.unwrap_err();

        assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");
    }
}
