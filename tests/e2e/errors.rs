//! Error responses: code, reason, details and the next step.

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

use crate::harness::{
    create_policy_request, evaluate_request, gate,
    raw::{EVALUATE, connect, frame},
    rejection,
};

#[tokio::test]
async fn malformed_fields_are_reported_together() {
    let gate = gate(World::demo()).start().await;
    let request = EvaluateGateRequest {
        image: "shop/web".into(),
        environment: "PROD!".into(),
        platforms: vec![Platform { os: "lin ux".into(), ..Default::default() }],
        wait: Some(Duration { seconds: -1, nanos: 0 }),
        max_findings_age: Some(Duration { seconds: i64::MAX, nanos: 0 }),
        at_least_as_fresh: "yesterday".into(),
        labels: BTreeMap::from([(String::new(), "x".repeat(300))]),
        request_id: "deploy-42".into(),
    };

    let refused = rejection(gate.client.evaluate(request).await);

    let mut fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.dedup();
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(refused.reason, "INVALID_FIELDS");
    let reasons: Vec<&str> = refused.violations.iter().map(|violation| violation.reason.as_str()).collect();
    assert!(reasons.contains(&"INVALID_VALUE") && reasons.contains(&"OUT_OF_RANGE"), "{reasons:?}");
    assert!(reasons.iter().all(|reason| !reason.is_empty()), "{reasons:?}");
    assert_eq!(
        fields,
        [
            "request_id",
            "image",
            "environment",
            "platforms[0]",
            "wait",
            "max_findings_age",
            "at_least_as_fresh",
            "labels"
        ]
    );
}

#[tokio::test]
async fn missing_resource_is_not_found_with_reason() {
    let gate = gate(World::demo()).start().await;

    let repository = gate.rejection("shop/nothing:1").await;
    let image = gate.rejection("shop/web:9.9.9").await;
    let platform = Platform { os: "windows".into(), architecture: "amd64".into(), ..Platform::default() };
    let platform = rejection(
        gate.client
            .evaluate(EvaluateGateRequest { platforms: vec![platform], ..evaluate_request("shop/worker:3.1.0") })
            .await,
    );

    for (refused, reason) in
        [(&repository, "REPOSITORY_NOT_FOUND"), (&image, "IMAGE_NOT_FOUND"), (&platform, "PLATFORM_NOT_FOUND")]
    {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, reason), "{refused:?}");
    }
    assert_eq!(platform.metadata["available"], "linux/amd64, linux/arm64");
}

#[tokio::test]
async fn unknown_registry_lists_configured_ones() {
    let gate = gate(World::demo()).start().await;

    let refused = gate.rejection("999999999999.dkr.ecr.us-east-1.amazonaws.com/shop/web:1.4.2").await;

    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "REGISTRY_NOT_CONFIGURED"));
    assert_eq!(refused.metadata["configured"], "123456789012/eu-west-1");
    assert_eq!(gate.ecr.calls().total(), 0);
}

#[tokio::test]
async fn unknown_environment_lists_known_ones() {
    let gate = gate(World::demo()).flag("--environment", "prod,staging").start().await;

    let request = EvaluateGateRequest { environment: "prd".into(), ..evaluate_request("shop/api:2.0.0") };
    let refused = rejection(gate.client.evaluate(request).await);

    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "ENVIRONMENT_UNKNOWN"));
    assert_eq!(refused.metadata["known"], "prod, staging");
}

#[tokio::test]
async fn tag_and_digest_mismatch_is_rejected() {
    let gate = gate(World::demo()).start().await;
    let other = gate.ecr.world(|world| world.image("shop/web", "1.4.2").unwrap().digest().to_owned());
    gate.ecr.world(|world| {
        world.push(scangate_ecr_simulator::ImageSpec::single("shop/web", "2.0.0"));
    });

    let refused = gate.rejection(&format!("shop/web:2.0.0@{other}")).await;

    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "TAG_DIGEST_MISMATCH"));
}

#[tokio::test]
async fn requests_beyond_limits_are_rejected() {
    let gate = gate(World::demo()).start().await;
    let requests = vec![evaluate_request("shop/api:2.0.0"); 101];
    let negative = GetFindingsRequest { image: "shop/web:1.4.2".into(), page_size: -1, ..Default::default() };
    let long = StartScanRequest { image: format!("shop/{}:1", "a".repeat(2000)), platforms: Vec::new() };

    for refused in [
        rejection(gate.client.batch_evaluate(BatchEvaluateGateRequest { requests }).await),
        rejection(gate.client.batch_evaluate(BatchEvaluateGateRequest::default()).await),
        rejection(gate.client.findings(negative).await),
        rejection(gate.client.start_scan(long).await),
        rejection(gate.client.configure_scanning(ConfigureScanningRequest::default()).await),
        rejection(gate.client.get_policy(GetPolicyRequest::default()).await),
    ] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"), "{refused:?}");
    }
}

#[tokio::test]
async fn many_violations_keep_error_small() {
    let gate = gate(World::demo()).start().await;
    let platforms = vec![Platform { os: "Z".repeat(5_000), ..Platform::default() }; 500];
    let rule = |at| Rule { id: format!("Not An Id {at}"), ..Rule::default() };
    let invalid = Policy { rules: (0..100).map(rule).collect(), ..Policy::default() };

    let platforms =
        rejection(gate.client.evaluate(EvaluateGateRequest { platforms, ..evaluate_request("shop/api:2.0.0") }).await);
    let rules = rejection(gate.client.create_policy(create_policy_request("invalid", invalid)).await);

    for refused in [platforms, rules] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"), "{refused:?}");
        let details: usize =
            refused.violations.iter().map(|violation| violation.field.len() + violation.description.len()).sum();
        assert!((1..5_000).contains(&details) && refused.message.len() < 1_100, "{details}: {}", refused.message);
    }
}

#[tokio::test]
async fn overloaded_server_returns_retry_delay() {
    let gate = gate(World::demo()).flag("--max-concurrent-calls", "0").start().await;

    let response = connect(gate.address).await.call(EVALUATE, &[], &[&frame(0, b"")]).await;

    let refused = response.rejection();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    // gRPC libraries obey the trailer and ignore RetryInfo.
    let pushback = response.headers["grpc-retry-pushback-ms"].to_str().unwrap();
    assert_eq!(refused.retry_after.unwrap().as_millis().to_string(), pushback);
}

#[tokio::test]
async fn error_without_retry_has_no_pushback() {
    let gate = gate(World::demo()).start().await;

    let response = connect(gate.address).await.call(EVALUATE, &[], &[&frame(0, b"")]).await;

    assert_eq!(response.rejection().reason, "INVALID_FIELDS");
    assert!(!response.headers.contains_key("grpc-retry-pushback-ms"));
}

#[tokio::test]
async fn batch_item_has_typed_error() {
    let gate = gate(World::demo()).start().await;
    let requests = ["shop/api:2.0.0", "shop/web:9.9.9", "shop/web"].map(evaluate_request).to_vec();

    let batch = gate.client.batch_evaluate(BatchEvaluateGateRequest { requests }).await.unwrap();

    let missing = batch.items()[1].as_ref().unwrap_err();
    let invalid = batch.items()[2].as_ref().unwrap_err();
    assert!(batch.items()[0].is_ok());
    assert_eq!((missing.code, missing.reason.as_str()), (Code::NotFound, "IMAGE_NOT_FOUND"));
    assert_eq!((invalid.code, invalid.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        (invalid.violations[0].field.as_str(), invalid.violations[0].reason.as_str()),
        ("image", "INVALID_VALUE")
    );
}
