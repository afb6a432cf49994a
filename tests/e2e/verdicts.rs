//! The verdict of EvaluateGate for each state of an image.

use prost::Message;
use scangate_client::{
    Decision,
    v1::{EvaluateGateRequest, Evidence, Platform, Verdict, Violation},
};
use scangate_ecr_simulator::World;

use crate::harness::{evaluate_request, gate};

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

#[tokio::test]
async fn vulnerable_image_is_denied_with_violations() {
    let gate = gate(World::demo()).start().await;

    let decision = gate.decide("shop/web:1.4.2").await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert!(decision.deploy_image.is_empty());
    let critical = decision.violations.iter().find(|violation| violation.rule == "no-critical").unwrap();
    assert_eq!((critical.matched_count, critical.allowed_count), (Some(1), Some(0)));
    assert_eq!(critical.findings[0].vulnerability_id, "CVE-2019-19814");
    assert_eq!(critical.policy, "policies/default");
    assert!(Decision::from(decision).require_allowed().is_err());
}

#[tokio::test]
async fn clean_image_is_allowed_by_digest() {
    let gate = gate(World::demo()).start().await;

    let decision = gate.decide("shop/api:2.0.0").await;

    let digest = gate.ecr.world(|world| world.image("shop/api", "2.0.0").unwrap().digest().to_owned());
    assert_eq!(decision.verdict(), Verdict::Allow);
    assert_eq!(decision.deploy_image, format!("{HOST}/shop/api@{digest}"));
    assert_eq!(decision.policies[0].policy, "policies/default");
    assert_eq!(Decision::from(decision.clone()).require_allowed().unwrap(), decision.deploy_image);
}

#[tokio::test]
async fn index_takes_worst_platform_verdict() {
    let gate = gate(World::demo()).start().await;

    let decision = gate.decide("shop/worker:3.1.0").await;

    let verdicts: Vec<(String, Verdict)> = decision
        .manifests
        .iter()
        .map(|manifest| (manifest.platform.clone().unwrap().architecture, manifest.verdict()))
        .collect();
    assert_eq!(verdicts, [("amd64".to_owned(), Verdict::Allow), ("arm64".to_owned(), Verdict::Deny)]);
    assert_eq!(decision.verdict(), Verdict::Deny);
}

#[tokio::test]
async fn clean_index_is_allowed_by_index_digest() {
    let gate = gate(World::demo()).start().await;

    let decision = gate.decide("shop/gateway:1.1.0").await;

    let digest = gate.ecr.world(|world| world.image("shop/gateway", "1.1.0").unwrap().digest().to_owned());
    assert_eq!(decision.verdict(), Verdict::Allow);
    assert_eq!(decision.deploy_image, format!("{HOST}/shop/gateway@{digest}"));
}

#[tokio::test]
async fn denied_index_offers_no_deploy_image() {
    let gate = gate(World::demo()).start().await;

    let decision = gate.decide("shop/worker:3.1.0").await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert!(decision.manifests.iter().any(|manifest| manifest.verdict() == Verdict::Allow), "one platform is good");
    assert!(decision.manifests.iter().all(|manifest| manifest.deploy_image.is_empty()));
}

#[tokio::test]
async fn selected_clean_platform_is_allowed_by_digest() {
    let gate = gate(World::demo()).start().await;
    let amd64 = Platform { os: "linux".into(), architecture: "amd64".into(), ..Platform::default() };

    let decision = gate
        .client
        .evaluate(EvaluateGateRequest { platforms: vec![amd64], ..evaluate_request("shop/worker:3.1.0") })
        .await
        .unwrap()
        .into_message();

    assert_eq!(decision.verdict(), Verdict::Allow);
    assert_eq!(decision.manifests.len(), 1);
    assert_eq!(decision.deploy_image, format!("{HOST}/shop/worker@{}", decision.manifests[0].digest));
}

#[tokio::test]
async fn running_scan_is_indeterminate_with_retry_delay() {
    let gate = gate(World::demo()).start().await;

    let decision = gate.decide("shop/cart:0.9.0").await;

    assert_eq!(decision.verdict(), Verdict::Indeterminate);
    assert!(decision.retry_after.unwrap().seconds > 0);
    assert!(Decision::from(decision).require_allowed().is_err());
}

#[tokio::test]
async fn unproven_scan_is_denied_with_its_evidence() {
    let gate = gate(World::demo()).start().await;
    let cases = [
        ("shop/search:5.0.0", Evidence::NotScanned),
        ("shop/legacy:0.1.0", Evidence::ScanFailed),
        ("shop/tiny:1.0.0", Evidence::Unsupported),
        ("shop/attic:2019", Evidence::Archived),
    ];

    for (image, evidence) in cases {
        let decision = gate.decide(image).await;

        assert_eq!(decision.verdict(), Verdict::Deny, "{image}");
        assert_eq!(decision.violations[0].evidence(), evidence, "{image}");
        let word = evidence.as_str_name().trim_start_matches("EVIDENCE_");
        assert!(decision.reasons.iter().any(|reason| reason.contains(word)), "{image}: {:?}", decision.reasons);
    }
}

#[tokio::test]
async fn enhanced_registry_yields_expected_verdicts() {
    let gate = gate(World::demo_enhanced()).start().await;
    let cases = [
        ("shop/web:1.4.2", Verdict::Deny, Evidence::Proven),
        // One MEDIUM finding, and an unrated one without a fix, which ranks as HIGH.
        ("shop/report:4.2.0", Verdict::Allow, Evidence::Proven),
        ("shop/api:2.0.0", Verdict::Allow, Evidence::Proven),
        ("shop/gateway:1.1.0", Verdict::Allow, Evidence::Proven),
        ("shop/ghost:1.0.0", Verdict::Deny, Evidence::UnprovenClean),
        ("shop/vintage:0.3.0", Verdict::Deny, Evidence::EligibilityExpired),
        ("shop/cart:0.9.0", Verdict::Indeterminate, Evidence::ScanPending),
    ];

    for (image, verdict, evidence) in cases {
        let decision = gate.decide(image).await;

        assert_eq!(decision.verdict(), verdict, "{image}: {:?}", decision.reasons);
        assert_eq!(decision.manifests[0].scan.as_ref().unwrap().evidence(), evidence, "{image}");
    }
}

#[tokio::test]
async fn image_resolves_by_tag_digest_or_both() {
    let gate = gate(World::demo()).start().await;
    let digest = gate.ecr.world(|world| world.image("shop/api", "2.0.0").unwrap().digest().to_owned());

    for image in
        [format!("{HOST}/shop/api:2.0.0"), format!("shop/api@{digest}"), format!("{HOST}/shop/api:2.0.0@{digest}")]
    {
        assert_eq!(gate.decide(&image).await.verdict(), Verdict::Allow, "{image}");
    }
}

#[tokio::test]
async fn moved_tag_changes_evaluated_digest() {
    let gate = gate(World::demo()).start().await;
    let before = gate.decide("shop/api:2.0.0").await;
    gate.ecr.world(|world| {
        let bad = world.image("shop/api", "2.0.0").unwrap().digest().to_owned();
        world.tag("shop/api", "stable", &bad).unwrap();
        world.push(scangate_ecr_simulator::ImageSpec::single("shop/api", "2.0.0").content("rebuilt"));
    });

    let after = gate
        .client
        .evaluate(EvaluateGateRequest {
            max_findings_age: Some(Default::default()),
            ..evaluate_request("shop/api:2.0.0")
        })
        .await
        .unwrap()
        .into_message();

    assert_ne!(before.image.as_ref().unwrap().digest, after.image.as_ref().unwrap().digest);
    assert_eq!(after.verdict(), Verdict::Deny);
}

#[tokio::test]
async fn attestations_and_artifacts_are_not_platforms() {
    let gate = gate(World::demo()).start().await;
    gate.ecr.world(|world| {
        world.push(scangate_ecr_simulator::ImageSpec::helm_chart("shop/charts", "1.0.0"));
    });

    assert_eq!(gate.decide("shop/worker:3.1.0").await.manifests.len(), 2);
    let chart = gate.decide("shop/charts:1.0.0").await;
    assert_eq!(chart.verdict(), Verdict::Deny);
    assert_eq!(chart.violations[0].evidence(), Evidence::Unsupported);
}

#[tokio::test]
async fn batch_keeps_order_and_takes_worst_verdict() {
    let gate = gate(World::demo()).start().await;
    let requests: Vec<EvaluateGateRequest> = ["shop/api:2.0.0", "shop/none:1", "shop/cart:0.9.0", "shop/gateway:1.1.0"]
        .into_iter()
        .map(evaluate_request)
        .collect();

    let all = gate.client.batch_evaluate(scangate_client::v1::BatchEvaluateGateRequest { requests }).await.unwrap();

    let verdicts: Vec<Option<Verdict>> =
        all.items().iter().map(|item| item.as_ref().ok().map(Decision::verdict)).collect();
    assert_eq!(verdicts, [Some(Verdict::Allow), None, Some(Verdict::Indeterminate), Some(Verdict::Allow)]);
    let refused = all.items()[1].as_ref().unwrap_err();
    assert_eq!(refused.reason, "REPOSITORY_NOT_FOUND");
    assert_eq!(all.into_message().verdict(), Verdict::Indeterminate);
}

#[tokio::test]
async fn full_batch_of_denials_fits_message_limit() {
    let gate = gate(World::demo()).start().await;
    let requests: Vec<EvaluateGateRequest> = (0..100).map(|_| evaluate_request("shop/web:1.4.2")).collect();

    let all = gate.client.batch_evaluate(scangate_client::v1::BatchEvaluateGateRequest { requests }).await.unwrap();

    let decision = all.items()[99].as_ref().unwrap().as_message();
    assert_eq!(decision.violations.iter().map(Violation::matched_count).sum::<i32>(), 18);
    // The default limit of a gRPC message.
    assert!(all.into_message().encoded_len() < 4 * 1024 * 1024);
}
