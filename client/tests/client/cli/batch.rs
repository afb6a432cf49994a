//! `scangate check` with several images.

use std::process::Output;

use scangate_client::v1::*;
use tonic::Code;

use super::{run, status, stdout};
use crate::{
    fake_server,
    fixtures::{decision, error_item, item},
};

async fn check_batch(items: Vec<BatchEvaluateGateItem>, arguments: &[&str]) -> Output {
    let server = fake_server::start().await;
    server.service.batch.respond_with([Ok(BatchEvaluateGateResponse { items, ..Default::default() })]);
    run(&server, &[&["check", "team/a:1", "team/b:1"], arguments].concat()).await
}

#[tokio::test]
async fn worst_image_sets_exit_status() {
    let item_of = |verdict| item(decision(verdict));
    let not_found = || error_item(Code::NotFound, "IMAGE_NOT_FOUND");
    let cases = [
        (vec![item_of(Verdict::Allow), item_of(Verdict::Allow)], 0),
        (vec![item_of(Verdict::Allow), item_of(Verdict::Indeterminate)], 2),
        (vec![item_of(Verdict::Indeterminate), not_found()], 3),
        (vec![not_found(), item_of(Verdict::Deny)], 1),
        (vec![item_of(Verdict::Deny), item_of(Verdict::Allow)], 1),
    ];
    for (items, expected) in cases {
        let output = check_batch(items, &[]).await;

        assert_eq!(status(&output), expected, "{}", stdout(&output));
    }
}

#[tokio::test]
async fn batch_json_contains_error_details() {
    let failed = error_item(Code::NotFound, "IMAGE_NOT_FOUND");

    let output = check_batch(vec![item(decision(Verdict::Allow)), failed], &["--output", "json"]).await;

    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["items"][0]["response"]["decision"]["verdict"], "VERDICT_ALLOW");
    assert_eq!(json["items"][1]["error"]["reason"], "IMAGE_NOT_FOUND");
}
