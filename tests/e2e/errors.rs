//! Errors as an interface: code, reason, details, and what to do next.

use std::collections::BTreeMap;

use scangate_client::{
    Code,
    prost_types::Duration,
    v1::{
        BatchEvaluateGateRequest, ConfigureScanningRequest, EvaluateGateRequest, GetFindingsRequest, GetPolicyRequest,
        Platform, Policy, Rule, StartScanRequest,
    },
};
use scangate_ecr_simulator::World;

use crate::harness::{create, gate, question, rejection};

#[tokio::test]
async fn all_malformed_fields_are_named_at_once() {
    let gate = gate(World::demo()).start().await;
    let request = EvaluateGateRequest {
        image: "shop/web".into(),
        environment: "PROD!".into(),
        platforms: vec![Platform { os: "lin ux".into(), ..Default::default() }],
        policy: "shop".into(),
        wait: Some(Duration { seconds: -1, nanos: 0 }),
        max_findings_age: Some(Duration { seconds: i64::MAX, nanos: 0 }),
        at_least_as_fresh: "yesterday".into(),
        labels: BTreeMap::from([(String::new(), "x".repeat(300))]),
        request_id: String::new(),
    };

    let refused = rejection(gate.client.evaluate(request).await);

    let mut fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.dedup();
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(refused.reason, "INVALID_FIELDS");
    assert_eq!(
        fields,
        ["image", "environment", "platforms[0]", "policy", "wait", "max_findings_age", "at_least_as_fresh", "labels"]
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_and_says_what() {
    let gate = gate(World::demo()).start().await;

    let repository = gate.refusal("shop/nothing:1").await;
    let image = gate.refusal("shop/web:9.9.9").await;
    let policy = rejection(
        gate.client
            .evaluate(EvaluateGateRequest { policy: "policies/none".into(), ..question("shop/web:1.4.2") })
            .await,
    );
    let platform = Platform { os: "windows".into(), architecture: "amd64".into(), variant: String::new() };
    let platform = rejection(
        gate.client.evaluate(EvaluateGateRequest { platforms: vec![platform], ..question("shop/worker:3.1.0") }).await,
    );

    for (refused, reason) in [
        (&repository, "REPOSITORY_NOT_FOUND"),
        (&image, "IMAGE_NOT_FOUND"),
        (&policy, "POLICY_NOT_FOUND"),
        (&platform, "PLATFORM_NOT_FOUND"),
    ] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, reason), "{refused:?}");
    }
    assert_eq!(platform.metadata["available"], "linux/amd64, linux/arm64");
}

#[tokio::test]
async fn a_registry_that_is_not_served_is_refused_with_those_that_are() {
    let gate = gate(World::demo()).start().await;

    let refused = gate.refusal("999999999999.dkr.ecr.us-east-1.amazonaws.com/shop/web:1.4.2").await;

    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "REGISTRY_NOT_CONFIGURED"));
    assert_eq!(refused.metadata["configured"], "123456789012/eu-west-1");
    assert_eq!(gate.ecr.calls().total(), 0);
}

#[tokio::test]
async fn a_closed_list_of_environments_refuses_every_other() {
    let gate = gate(World::demo()).flag("--environment", "prod,staging").start().await;

    let request = EvaluateGateRequest { environment: "prd".into(), ..question("shop/api:2.0.0") };
    let refused = rejection(gate.client.evaluate(request).await);

    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "ENVIRONMENT_UNKNOWN"));
    assert_eq!(refused.metadata["known"], "prod, staging");
}

#[tokio::test]
async fn a_tag_and_a_digest_that_disagree_are_refused() {
    let gate = gate(World::demo()).start().await;
    let other = gate.ecr.world(|world| world.image("shop/web", "1.4.2").unwrap().digest().to_owned());
    gate.ecr.world(|world| {
        world.push(scangate_ecr_simulator::ImageSpec::single("shop/web", "2.0.0"));
    });

    let refused = gate.refusal(&format!("shop/web:2.0.0@{other}")).await;

    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "TAG_DIGEST_MISMATCH"));
}

#[tokio::test]
async fn sizes_and_counts_are_bounded() {
    let gate = gate(World::demo()).start().await;
    let requests = vec![question("shop/api:2.0.0"); 101];
    let large = GetFindingsRequest { image: "shop/web:1.4.2".into(), page_size: 1001, ..Default::default() };
    let long = StartScanRequest { image: format!("shop/{}:1", "a".repeat(2000)), platforms: Vec::new() };

    for refused in [
        rejection(gate.client.batch_evaluate(BatchEvaluateGateRequest { requests }).await),
        rejection(gate.client.batch_evaluate(BatchEvaluateGateRequest::default()).await),
        rejection(gate.client.findings(large).await),
        rejection(gate.client.start_scan(long).await),
        rejection(gate.client.configure_scanning(ConfigureScanningRequest::default()).await),
        rejection(gate.client.get_policy(GetPolicyRequest::default()).await),
    ] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_wrong_all_over_gets_an_answer_that_clients_take() {
    let gate = gate(World::demo()).start().await;
    let platforms = vec![Platform { os: "Z".repeat(5_000), ..Platform::default() }; 500];
    let rule = |at| Rule { id: format!("Not An Id {at}"), ..Rule::default() };
    let wrong = Policy { rules: (0..100).map(rule).collect(), ..Policy::default() };

    let many = rejection(gate.client.evaluate(EvaluateGateRequest { platforms, ..question("shop/api:2.0.0") }).await);
    let wrong = rejection(gate.client.create_policy(create("wrong", wrong)).await);

    for refused in [many, wrong] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"), "{refused:?}");
        let told: usize = refused.violations.iter().map(|one| one.field.len() + one.description.len()).sum();
        assert!((1..5_000).contains(&told) && refused.message.len() < 1_100, "{told}: {}", refused.message);
    }
}

#[tokio::test]
async fn a_server_at_its_limit_refuses_with_a_time_to_come_back() {
    let gate = gate(World::demo()).flag("--max-concurrent-calls", "0").start().await;

    let refused = gate.refusal("shop/api:2.0.0").await;

    assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.retry_after.is_some());
}
