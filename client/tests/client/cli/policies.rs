//! `scangate policy`: policy files, and writes that require the etag of the version to replace.

use std::io::Write;

use scangate_client::v1::*;
use tempfile::NamedTempFile;
use tonic::Code;

use super::{run, status, stderr, stdout};
use crate::{
    fake_server,
    fixtures::{error_status, invalid_field},
};

const POLICY: &str = r#"{
  "description": "no critical vulnerability",
  "match": {"repositories": ["team/*"]},
  "rules": [{"id": "no-critical", "when": {"minSeverity": "SEVERITY_CRITICAL"}}]
}"#;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

fn stored() -> Policy {
    Policy { name: "policies/strict".into(), etag: "e1".into(), revision: "rev-7".into(), ..Default::default() }
}

#[tokio::test]
async fn create_sends_policy_from_file() {
    let server = fake_server::start().await;
    server.service.create.respond_with([Ok(CreatePolicyResponse {
        policy: Some(stored()),
        revision: "rev-7".into(),
        notes: vec!["replaces policies/default".into()],
    })]);
    let file = file(POLICY);

    let output = run(&server, &["policy", "create", "strict", "-f", path(&file)]).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("revision rev-7") && text.contains("replaces policies/default"), "{text}");
    let request = &server.service.create.requests()[0];
    assert_eq!((request.policy_id.as_str(), request.validate_only), ("strict", false));
    assert_eq!(request.policy.as_ref().unwrap().rules[0].id, "no-critical");
}

#[tokio::test]
async fn unknown_field_is_named_and_nothing_is_sent() {
    let server = fake_server::start().await;
    let file = file(r#"{"rules": [{"id": "a", "alow": 3}]}"#);

    let output = run(&server, &["policy", "create", "strict", "-f", path(&file)]).await;

    assert_eq!(status(&output), 64);
    assert!(stderr(&output).contains("'alow'"), "{}", stderr(&output));
    assert!(server.service.create.requests().is_empty());
}

#[tokio::test]
async fn missing_file_exits_64() {
    let server = fake_server::start().await;

    let output = run(&server, &["policy", "validate", "-f", "/nowhere/policy.json"]).await;

    assert_eq!(status(&output), 64);
    assert!(stderr(&output).starts_with("error: cannot read /nowhere/policy.json: No such file"));
}

#[tokio::test]
async fn update_accepts_output_of_get() {
    let server = fake_server::start().await;
    server.service.get.respond_with([Ok(GetPolicyResponse { policy: Some(stored()), revision: "rev-7".into() })]);
    server.service.update.respond_with([Ok(UpdatePolicyResponse { policy: Some(stored()), ..Default::default() })]);

    let printed = run(&server, &["policy", "get", "strict", "--output", "json"]).await;
    let file = file(&stdout(&printed));
    let updated = run(&server, &["policy", "update", "policies/strict", "-f", path(&file)]).await;

    assert_eq!((status(&printed), status(&updated)), (0, 0), "{}", stderr(&updated));
    assert_eq!(server.service.get.requests()[0].name, "policies/strict");
    assert_eq!(server.service.update.requests()[0].policy, Some(stored()));
}

#[tokio::test]
async fn update_without_etag_exits_64_with_help() {
    let server = fake_server::start().await;
    let file = file(POLICY);

    let without = run(&server, &["policy", "update", "strict", "-f", path(&file)]).await;

    assert_eq!(status(&without), 64);
    assert!(stderr(&without).contains("--etag ETAG"), "{}", stderr(&without));
    assert!(server.service.update.requests().is_empty());
}

#[tokio::test]
async fn etag_option_overrides_etag_in_file() {
    let server = fake_server::start().await;
    server.service.update.respond_with([Ok(UpdatePolicyResponse::default())]);
    let file = file(r#"{"etag": "old"}"#);

    run(&server, &["policy", "update", "strict", "-f", path(&file), "--etag", "e1"]).await;

    let policy = server.service.update.requests()[0].policy.clone().unwrap();
    assert_eq!((policy.name.as_str(), policy.etag.as_str()), ("policies/strict", "e1"));
}

#[tokio::test]
async fn file_of_another_policy_is_rejected() {
    let server = fake_server::start().await;
    let file = file(r#"{"name": "policies/other", "etag": "e1"}"#);

    let output = run(&server, &["policy", "update", "strict", "-f", path(&file)]).await;

    assert_eq!(status(&output), 64);
    assert_eq!(stderr(&output), "error: the file contains policies/other, not policies/strict\n");
}

#[tokio::test]
async fn delete_requires_and_sends_etag() {
    let server = fake_server::start().await;
    server.service.delete.respond_with([Ok(DeletePolicyResponse { revision: "rev-8".into(), notes: Vec::new() })]);

    let without = run(&server, &["policy", "delete", "strict"]).await;
    let with = run(&server, &["policy", "delete", "strict", "--etag", "e1"]).await;

    assert_eq!((status(&without), status(&with)), (64, 0));
    assert!(stdout(&with).contains("revision rev-8"), "{}", stdout(&with));
    let request = &server.service.delete.requests()[0];
    assert_eq!((request.name.as_str(), request.etag.as_str()), ("policies/strict", "e1"));
}

#[tokio::test]
async fn etag_mismatch_exits_3() {
    let server = fake_server::start().await;
    server.service.delete.respond_with([Err(error_status(Code::Aborted, "ETAG_MISMATCH"))]);

    let output = run(&server, &["policy", "delete", "strict", "--etag", "e1"]).await;

    assert_eq!(status(&output), 3);
}

#[tokio::test]
async fn validate_creates_unnamed_policy_as_dry_run() {
    let server = fake_server::start().await;
    server.service.create.respond_with([Ok(CreatePolicyResponse::default())]);
    let file = file(POLICY);

    let output = run(&server, &["policy", "validate", "-f", path(&file)]).await;

    assert_eq!((status(&output), stdout(&output).as_str()), (0, "valid\n"));
    assert!(server.service.create.requests()[0].validate_only);
}

#[tokio::test]
async fn validate_updates_named_policy_as_dry_run() {
    let server = fake_server::start().await;
    server
        .service
        .update
        .respond_with([Ok(UpdatePolicyResponse::default()), Err(error_status(Code::NotFound, "POLICY_NOT_FOUND"))]);
    server.service.create.respond_with([Ok(CreatePolicyResponse::default())]);
    let file = file(r#"{"name": "policies/strict"}"#);

    let known = run(&server, &["policy", "validate", "-f", path(&file)]).await;
    let unknown = run(&server, &["policy", "validate", "-f", path(&file)]).await;

    assert_eq!((status(&known), status(&unknown)), (0, 0));
    assert!(server.service.update.requests().iter().all(|request| request.validate_only));
    let created = &server.service.create.requests()[0];
    assert_eq!((created.policy_id.as_str(), created.validate_only), ("strict", true));
}

#[tokio::test]
async fn invalid_policy_exits_64_and_lists_fields() {
    let server = fake_server::start().await;
    server.service.create.respond_with([Err(invalid_field("policy.rules[0].id", "starts with a digit"))]);
    let file = file(POLICY);

    let output = run(&server, &["policy", "validate", "-f", path(&file)]).await;

    assert_eq!(status(&output), 64);
    assert!(stderr(&output).ends_with("  policy.rules[0].id: starts with a digit\n"), "{}", stderr(&output));
}

#[tokio::test]
async fn list_prints_policies() {
    let server = fake_server::start().await;
    server.service.list.respond_with([Ok(ListPoliciesResponse { policies: vec![stored()], ..Default::default() })]);

    let output = run(&server, &["policy", "list", "--repository", "team/app"]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains("policies/strict"), "{}", stdout(&output));
    assert_eq!(server.service.list.requests()[0].filter.as_ref().unwrap().repository, "team/app");
}
