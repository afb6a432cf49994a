//! `scangate policy`: files in, files out, and no write over a version that nobody has read.

use std::io::Write;

use scangate_client::v1::*;
use tempfile::NamedTempFile;
use tonic::Code;

use crate::{
    answers::{malformed, refused},
    cli::{run, status, stderr, stdout},
    fake_gate,
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
    Policy { name: "policies/strict".into(), etag: "e1".into(), revision: 7, ..Default::default() }
}

#[tokio::test]
async fn a_policy_is_created_from_a_file() {
    let fake = fake_gate::start().await;
    fake.gate.create.will([Ok(CreatePolicyResponse {
        policy: Some(stored()),
        revision: 7,
        revision_token: "tok7".into(),
        notes: vec!["takes the place of policies/default".into()],
    })]);
    let file = file(POLICY);

    let output = run(&fake, &["policy", "create", "strict", "-f", path(&file)]).await;

    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("tok7") && text.contains("takes the place of policies/default"), "{text}");
    let request = &fake.gate.create.requests()[0];
    assert_eq!((request.policy_id.as_str(), request.validate_only), ("strict", false));
    assert_eq!(request.policy.as_ref().unwrap().rules[0].id, "no-critical");
}

#[tokio::test]
async fn a_field_that_the_contract_does_not_know_is_named_and_nothing_is_sent() {
    let fake = fake_gate::start().await;
    let file = file(r#"{"rules": [{"id": "a", "alow": 3}]}"#);

    let output = run(&fake, &["policy", "create", "strict", "-f", path(&file)]).await;

    assert_eq!(status(&output), 64);
    assert!(stderr(&output).contains("'alow'"), "{}", stderr(&output));
    assert!(fake.gate.create.requests().is_empty());
}

#[tokio::test]
async fn a_file_that_is_not_there_exits_64() {
    let fake = fake_gate::start().await;

    let output = run(&fake, &["policy", "validate", "-f", "/nowhere/policy.json"]).await;

    assert_eq!(status(&output), 64);
    assert!(stderr(&output).starts_with("error: cannot read /nowhere/policy.json: No such file"));
}

#[tokio::test]
async fn what_get_prints_is_what_update_takes() {
    let fake = fake_gate::start().await;
    fake.gate.get.will([Ok(GetPolicyResponse { policy: Some(stored()), revision: 7 })]);
    fake.gate.update.will([Ok(UpdatePolicyResponse { policy: Some(stored()), ..Default::default() })]);

    let got = run(&fake, &["policy", "get", "strict", "--output", "json"]).await;
    let file = file(&stdout(&got));
    let updated = run(&fake, &["policy", "update", "policies/strict", "-f", path(&file)]).await;

    assert_eq!((status(&got), status(&updated)), (0, 0), "{}", stderr(&updated));
    assert_eq!(fake.gate.get.requests()[0].name, "policies/strict");
    assert_eq!(fake.gate.update.requests()[0].policy, Some(stored()));
}

#[tokio::test]
async fn an_update_without_a_version_says_how_to_name_one() {
    let fake = fake_gate::start().await;
    let file = file(POLICY);

    let without = run(&fake, &["policy", "update", "strict", "-f", path(&file)]).await;

    assert_eq!(status(&without), 64);
    assert!(stderr(&without).contains("--etag ETAG"), "{}", stderr(&without));
    assert!(fake.gate.update.requests().is_empty());
}

#[tokio::test]
async fn a_typed_version_goes_before_the_files() {
    let fake = fake_gate::start().await;
    fake.gate.update.will([Ok(UpdatePolicyResponse::default())]);
    let file = file(r#"{"etag": "old"}"#);

    run(&fake, &["policy", "update", "strict", "-f", path(&file), "--etag", "e1"]).await;

    let policy = fake.gate.update.requests()[0].policy.clone().unwrap();
    assert_eq!((policy.name.as_str(), policy.etag.as_str()), ("policies/strict", "e1"));
}

#[tokio::test]
async fn a_file_about_another_policy_is_refused() {
    let fake = fake_gate::start().await;
    let file = file(r#"{"name": "policies/other", "etag": "e1"}"#);

    let output = run(&fake, &["policy", "update", "strict", "-f", path(&file)]).await;

    assert_eq!(status(&output), 64);
    assert_eq!(stderr(&output), "error: the file is about policies/other, not policies/strict\n");
}

#[tokio::test]
async fn a_policy_is_deleted_at_the_version_that_was_read() {
    let fake = fake_gate::start().await;
    fake.gate.delete.will([Ok(DeletePolicyResponse { revision: 8, revision_token: "tok8".into() })]);

    let without = run(&fake, &["policy", "delete", "strict"]).await;
    let with = run(&fake, &["policy", "delete", "strict", "--etag", "e1"]).await;

    assert_eq!((status(&without), status(&with)), (64, 0));
    assert!(stdout(&with).contains("revision 8"), "{}", stdout(&with));
    let request = &fake.gate.delete.requests()[0];
    assert_eq!((request.name.as_str(), request.etag.as_str()), ("policies/strict", "e1"));
}

#[tokio::test]
async fn a_version_that_has_changed_meanwhile_exits_3() {
    let fake = fake_gate::start().await;
    fake.gate.delete.will([Err(refused(Code::Aborted, "ETAG_MISMATCH"))]);

    let output = run(&fake, &["policy", "delete", "strict", "--etag", "e1"]).await;

    assert_eq!(status(&output), 3);
}

#[tokio::test]
async fn a_new_policy_is_validated_without_being_stored() {
    let fake = fake_gate::start().await;
    fake.gate.create.will([Ok(CreatePolicyResponse::default())]);
    let file = file(POLICY);

    let output = run(&fake, &["policy", "validate", "-f", path(&file)]).await;

    assert_eq!((status(&output), stdout(&output).as_str()), (0, "valid\n"));
    assert!(fake.gate.create.requests()[0].validate_only);
}

#[tokio::test]
async fn a_named_policy_is_validated_against_the_one_it_would_replace() {
    let fake = fake_gate::start().await;
    fake.gate.update.will([Ok(UpdatePolicyResponse::default()), Err(refused(Code::NotFound, "POLICY_NOT_FOUND"))]);
    fake.gate.create.will([Ok(CreatePolicyResponse::default())]);
    let file = file(r#"{"name": "policies/strict"}"#);

    let known = run(&fake, &["policy", "validate", "-f", path(&file)]).await;
    let unknown = run(&fake, &["policy", "validate", "-f", path(&file)]).await;

    assert_eq!((status(&known), status(&unknown)), (0, 0));
    assert!(fake.gate.update.requests().iter().all(|request| request.validate_only));
    let created = &fake.gate.create.requests()[0];
    assert_eq!((created.policy_id.as_str(), created.validate_only), ("strict", true));
}

#[tokio::test]
async fn an_invalid_policy_exits_64_field_by_field() {
    let fake = fake_gate::start().await;
    fake.gate.create.will([Err(malformed("policy.rules[0].id", "starts with a digit"))]);
    let file = file(POLICY);

    let output = run(&fake, &["policy", "validate", "-f", path(&file)]).await;

    assert_eq!(status(&output), 64);
    assert!(stderr(&output).ends_with("  policy.rules[0].id: starts with a digit\n"), "{}", stderr(&output));
}

#[tokio::test]
async fn policies_are_listed() {
    let fake = fake_gate::start().await;
    fake.gate.list.will([Ok(ListPoliciesResponse { policies: vec![stored()], ..Default::default() })]);

    let output = run(&fake, &["policy", "list", "--repository", "team/app"]).await;

    assert_eq!(status(&output), 0);
    assert!(stdout(&output).contains("policies/strict"), "{}", stdout(&output));
    assert_eq!(fake.gate.list.requests()[0].repository, "team/app");
}
