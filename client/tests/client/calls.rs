//! What goes over the wire with a call, and what an incomplete answer becomes.

use std::time::Duration;

use scangate_client::{Client, Error, prost_types, v1::*};
use tonic::Code;

use crate::{
    answers::{asked, decision, evaluated, malformed, refused},
    fake_gate,
};

/// `grpc-timeout` as milliseconds.
fn milliseconds(header: &str) -> u64 {
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
async fn the_gate_learns_the_deadline() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);
    let client = fake.client().await.with_call_timeout(Duration::from_secs(20));

    let _decision = client.evaluate(asked()).await.unwrap();

    let deadline = milliseconds(&fake.gate.evaluate.header("grpc-timeout").unwrap());
    assert!((1..=20_000).contains(&deadline), "{deadline}");
}

#[tokio::test]
async fn time_that_the_gate_may_wait_comes_on_top_of_the_deadline() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);
    let client = fake.client().await.with_call_timeout(Duration::from_secs(20));
    let wait = Some(prost_types::Duration { seconds: 300, nanos: 0 });

    let _decision = client.evaluate(EvaluateGateRequest { wait, ..asked() }).await.unwrap();

    let deadline = milliseconds(&fake.gate.evaluate.header("grpc-timeout").unwrap());
    assert!((300_000..=320_000).contains(&deadline), "{deadline}");
}

#[tokio::test]
async fn a_gate_that_does_not_answer_in_time_is_given_up() {
    let fake = fake_gate::start().await;
    let timeout = Duration::from_millis(60);
    let client = fake.client().await.with_call_timeout(timeout);

    let error = client.evaluate(asked()).await.unwrap_err();

    assert!(matches!(error, Error::DeadlineExceeded { timeout: given } if given == timeout), "{error:?}");
    assert_eq!(error.to_string(), "the gate did not answer within 60 ms");
}

#[tokio::test]
async fn the_caller_is_named_on_typed_and_generated_calls() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);
    fake.gate.get.will([Ok(GetPolicyResponse::default())]);
    let options = fake.options().bearer_token("tok-123").user_agent("deployer/1.0");
    let client = Client::connect(options).await.unwrap();

    let _decision = client.evaluate(asked()).await.unwrap();
    client.policies().get_policy(GetPolicyRequest::default()).await.unwrap();

    assert_eq!(fake.gate.evaluate.header("authorization").as_deref(), Some("Bearer tok-123"));
    assert_eq!(fake.gate.get.header("authorization").as_deref(), Some("Bearer tok-123"));
    assert!(fake.gate.evaluate.header("user-agent").unwrap().starts_with("deployer/1.0 "));
    assert!(!format!("{client:?}").contains("tok-123"));
}

#[tokio::test]
async fn a_token_that_fits_in_no_header_is_refused_without_being_shown() {
    let fake = fake_gate::start().await;

    let error = Client::connect(fake.options().bearer_token("tok\n123")).await.unwrap_err();

    assert_eq!(error.to_string(), "cannot use this bearer token");
    assert!(!format!("{error:?}").contains("123"));
}

#[tokio::test]
async fn an_answer_without_a_decision_is_no_answer() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(EvaluateGateResponse { decision: None })]);

    let error = fake.client().await.evaluate(asked()).await.unwrap_err();

    assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");
}

#[tokio::test]
async fn every_malformed_field_is_told() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Err(malformed("image", "is empty"))]);

    let error = fake.client().await.evaluate(asked()).await.unwrap_err();

    assert_eq!(error.to_string(), "mend the fields (INVALID_FIELDS); image: is empty");
}

#[tokio::test]
async fn a_reason_is_read_as_the_contract_lists_it() {
    let fake = fake_gate::start().await;
    fake.gate.start.will([Err(refused(Code::NotFound, "IMAGE_NOT_FOUND"))]);

    let error = fake.client().await.start_scan(StartScanRequest::default()).await.unwrap_err();

    assert_eq!(error.rejection().unwrap().error_reason(), ErrorReason::ImageNotFound);
}

#[tokio::test]
async fn a_scan_is_followed_to_its_end() {
    let fake = fake_gate::start().await;
    let at = |ended| WatchScanResponse { ended, total: 2, ..Default::default() };
    fake.gate.watch.will([Ok(vec![at(0), at(1), at(2)])]);

    let mut watch = fake.client().await.watch_scan(WatchScanRequest::default()).await.unwrap();
    let mut seen = Vec::new();
    while let Some(message) = watch.next().await.unwrap() {
        seen.push(message.ended);
    }

    assert_eq!(seen, [0, 1, 2]);
    assert_eq!(fake.gate.watch.header("grpc-timeout"), None);
}

#[tokio::test]
async fn scanning_is_configured() {
    let fake = fake_gate::start().await;
    fake.gate.configure.will([Ok(ConfigureScanningResponse { changed: true, ..Default::default() })]);

    let answer = fake.client().await.configure_scanning(ConfigureScanningRequest::default()).await.unwrap();

    assert!(answer.changed);
}

#[tokio::test]
async fn policies_are_read_over_all_pages() {
    let fake = fake_gate::start().await;
    let page = |name: &str, next: &str| ListPoliciesResponse {
        policies: vec![Policy { name: name.into(), ..Default::default() }],
        next_page_token: next.into(),
        ..Default::default()
    };
    fake.gate.list.will([Ok(page("policies/a", "2")), Ok(page("policies/b", ""))]);

    let answer = fake.client().await.list_policies(ListPoliciesRequest::default()).await.unwrap();

    let names: Vec<_> = answer.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["policies/a", "policies/b"]);
    assert_eq!(fake.gate.list.requests()[1].page_token, "2");
}

#[tokio::test]
async fn a_page_that_names_itself_as_the_next_ends_in_an_error() {
    let fake = fake_gate::start().await;
    fake.gate.list.will([Ok(ListPoliciesResponse { next_page_token: "2".into(), ..Default::default() })]);

    let error = fake.client().await.list_policies(ListPoliciesRequest::default()).await.unwrap_err();

    assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");
}

/// A service spawns its calls: this does not compile where a future cannot move between threads.
#[tokio::test]
async fn calls_can_be_spawned() {
    let fake = fake_gate::start().await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);
    let client = fake.client().await;

    let decision = tokio::spawn(async move { client.evaluate(asked()).await }).await.unwrap().unwrap();

    assert_eq!(decision.verdict(), Verdict::Allow);
}
