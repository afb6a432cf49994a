//! Images as real registries hold them: references, platforms, artifacts, archives.

use std::time::Duration;

use scangate_client::{
    Code,
    v1::{
        Decision, EvaluateGateRequest, Evidence, GetFindingsRequest, Platform, Policy, ScanRequirements,
        ShortfallAction, StartScanRequest, Verdict,
    },
};
use scangate_ecr_simulator::{Child, ImageSpec, ScanScript, ScanningConfig, World};

use crate::harness::{Gate, evaluate_request, gate};

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const APP: &str = "team/app";
const IMAGE: &str = "team/app:1";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn world(spec: ImageSpec) -> World {
    let mut world = World::new().with_scanning(ScanningConfig::basic_on_push(&["*"]));
    world.push(spec);
    world
}

fn index() -> ImageSpec {
    ImageSpec::index(APP, "1").platform("linux/amd64", ScanScript::clean())
}

fn artifact(config: &str, layer: &str, platform: &str) -> Child {
    Child::image(ImageSpec::artifact(APP, "x", config, layer)).stated_platform(Some(platform))
}

fn platform(os: &str, architecture: &str) -> Platform {
    Platform { os: os.into(), architecture: architecture.into(), ..Platform::default() }
}

async fn decide_for(gate: &Gate, platform: Platform) -> Decision {
    let request = EvaluateGateRequest { platforms: vec![platform], ..evaluate_request(IMAGE) };
    gate.client.evaluate(request).await.unwrap().into_message()
}

#[tokio::test]
async fn common_references_are_accepted() {
    let gate = gate(world(ImageSpec::single(APP, "1").scan(ScanScript::clean()))).start().await;
    let digest = gate.ecr.world(|world| world.image(APP, "1").unwrap().digest().to_owned());

    for image in [
        IMAGE.to_owned(),
        format!("{HOST}/{IMAGE}@{digest}"),
        format!("{HOST}/{APP}@{digest}"),
        format!("docker-pullable://{HOST}/{APP}@{digest}"),
        format!("docker://{HOST}/{IMAGE}"),
        format!("https://{HOST}/{IMAGE}"),
        format!("{HOST}:443/{IMAGE}"),
        format!("{IMAGE}\n"),
        format!(" {IMAGE}"),
        format!("{}/{IMAGE}", HOST.to_uppercase()),
    ] {
        let decision = gate.decide(&image).await;

        assert_eq!(decision.deploy_image, format!("{HOST}/{APP}@{digest}"), "{image:?}");
    }
}

#[tokio::test]
async fn other_references_are_refused_with_next_step() {
    let gate = gate(world(ImageSpec::single(APP, "1"))).start().await;

    for (image, code, step) in [
        ("team/App:1", Code::InvalidArgument, "lower-case"),
        ("team/app", Code::InvalidArgument, "must name a tag or a digest"),
        ("public.ecr.aws/nginx/nginx:1.27", Code::InvalidArgument, "private Amazon ECR registry"),
        ("docker.io/library/nginx:1.27", Code::InvalidArgument, "private Amazon ECR registry"),
        (&format!("team/app@sha512:{}", "a".repeat(128)), Code::InvalidArgument, "`sha256:`"),
        (&format!("team/app@sha256:{}", "A".repeat(64)), Code::InvalidArgument, "lower-case"),
        (
            "000000000000.dkr.ecr.us-east-1.localhost.localstack.cloud:4566/team/app:1",
            Code::InvalidArgument,
            "write one",
        ),
        ("DKR.team/app:1", Code::InvalidArgument, "private Amazon ECR registry"),
        (&format!("team/app:{}", "v".repeat(129)), Code::InvalidArgument, "1 to 128"),
        ("team/app:1.2.3+build.5", Code::InvalidArgument, "`_` in its place"),
        ("oci://team/app:1", Code::InvalidArgument, "without it"),
        (&format!("team/app:{}", "v".repeat(128)), Code::NotFound, ""),
        ("team/app:_x.-Y", Code::NotFound, ""),
    ] {
        let refused = gate.rejection(image).await;

        let violations = refused.violations.iter().map(|violation| violation.description.as_str());
        let text: String = violations.chain([refused.message.as_str()]).collect();
        assert_eq!(refused.code, code, "{image}: {refused:?}");
        assert!(text.contains(step), "{image}: {text}");
    }
    let elsewhere = gate.rejection(&format!("{}/{IMAGE}", HOST.replace("eu-west-1", "us-west-2"))).await;
    assert_eq!(elsewhere.reason, "REGISTRY_NOT_CONFIGURED");
}

#[tokio::test]
async fn attestation_without_annotation_is_no_platform() {
    let spec = ImageSpec::index(APP, "1")
        .platform("windows(10.0.20348.4405)/amd64", ScanScript::clean())
        .child(artifact(OCI_CONFIG, "application/vnd.in-toto+json", "unknown/unknown"));
    let gate = gate(world(spec)).start().await;
    let digest = gate.ecr.world(|world| world.image(APP, "1").unwrap().digest().to_owned());

    let whole = gate.decide(IMAGE).await;
    let windows = decide_for(&gate, platform("windows", "amd64")).await;

    assert_eq!(whole.deploy_image, format!("{HOST}/{APP}@{digest}"));
    assert_eq!(windows.verdict(), Verdict::Allow);
    assert_eq!(windows.manifests.len(), 1);
    assert_eq!(windows.manifests[0].platform.as_ref().unwrap().os_version, "10.0.20348.4405");
}

#[tokio::test]
async fn windows_versions_are_two_platforms() {
    let version = |version: &str| format!("windows({version})/amd64");
    let spec = ImageSpec::index(APP, "1")
        .platform(&version("10.0.17763.1"), ScanScript::clean())
        .platform(&version("10.0.20348.1"), ScanScript::never());
    let gate = gate(world(spec)).start().await;
    let old = Platform { os_version: "10.0.17763.1".into(), ..platform("windows", "amd64") };

    assert_eq!(gate.decide(IMAGE).await.manifests.len(), 2);
    assert_eq!(decide_for(&gate, platform("Windows", "x86_64")).await.verdict(), Verdict::Deny);
    assert_eq!(decide_for(&gate, old).await.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn artifact_is_never_allowed() {
    let artifacts = [
        ImageSpec::artifact(APP, "1", "application/vnd.buildkit.cacheconfig.v0", OCI_LAYER),
        ImageSpec::helm_chart(APP, "1"),
        ImageSpec::cosign_signature(APP, "1").scan(ScanScript::status("UNSUPPORTED_IMAGE")),
    ];
    for spec in artifacts {
        let gate = gate(world(spec)).start().await;

        let decision = gate.decide(IMAGE).await;

        assert_eq!(decision.verdict(), Verdict::Deny);
        assert_eq!(decision.manifests[0].scan.as_ref().unwrap().evidence(), Evidence::Unsupported);
        assert!(decision.manifests[0].deploy_image.is_empty());
    }
}

#[tokio::test]
async fn no_policy_accepts_artifact() {
    for status in ["UNSUPPORTED_IMAGE", "FAILED"] {
        let gate = gate(world(ImageSpec::cosign_signature(APP, "1").scan(ScanScript::status(status)))).start().await;
        let warn = ShortfallAction::Warn.into();
        let scan = ScanRequirements { unsupported: warn, failed: warn, never_scanned: warn, ..Default::default() };
        let policy = Policy { replaces_default: Some(true), scan: Some(scan), ..Policy::default() };
        gate.create_policy("trusting", policy).await;

        let decision = gate.decide(IMAGE).await;

        assert_eq!(decision.verdict(), Verdict::Deny);
        assert_eq!(decision.manifests[0].scan.as_ref().unwrap().evidence(), Evidence::Unsupported);
    }
}

#[tokio::test]
async fn index_of_build_cache_is_denied_with_reason() {
    let blob = format!("sha256:{}", "a".repeat(64));
    let text = format!(
        r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
        {{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"{blob}","size":3}}]}}"#
    );
    let gate = gate(world(ImageSpec::raw(APP, "1", &text, None))).start().await;

    let decision = gate.decide(IMAGE).await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert!(decision.reasons.iter().any(|reason| reason.contains("buildkit.cacheconfig")), "{:?}", decision.reasons);
}

#[tokio::test]
async fn missing_platform_denies_only_if_asked_for() {
    let gate = gate(world(index().child(Child::absent("linux/arm64")))).start().await;

    let whole = gate.decide(IMAGE).await;
    let amd64 = decide_for(&gate, platform("linux", "amd64")).await;

    assert_eq!(whole.verdict(), Verdict::Deny);
    assert_eq!(whole.manifests[0].verdict(), Verdict::Allow);
    assert!(whole.reasons.iter().any(|reason| reason.contains("linux/arm64 (sha256:")), "{:?}", whole.reasons);
    assert_eq!(amd64.deploy_image, format!("{HOST}/{APP}@{}", amd64.manifests[0].digest));
}

#[tokio::test]
async fn missing_platform_disturbs_no_other_call() {
    let gate = gate(world(index().child(Child::absent("linux/arm64")))).start().await;
    let platforms = vec![platform("linux", "amd64")];

    let page = gate
        .client
        .findings(GetFindingsRequest { image: IMAGE.into(), ..GetFindingsRequest::default() })
        .await
        .unwrap();
    let started = gate.client.start_scan(StartScanRequest { image: IMAGE.into(), platforms }).await;

    assert_eq!(page.manifests.len(), 2);
    assert_eq!(started.unwrap().scans.len(), 1);
}

#[tokio::test]
async fn archived_platform_denies_only_if_asked_for() {
    let mut world = World::new().with_scanning(ScanningConfig::basic_on_push(&["*"]));
    let pushed = world.push(index().platform("linux/arm64", ScanScript::clean()));
    world.archive(APP, pushed.child("linux/arm64").unwrap()).unwrap();
    let gate = gate(world).start().await;

    let whole = gate.decide(IMAGE).await;
    let amd64 = decide_for(&gate, platform("linux", "amd64")).await;

    assert_eq!(whole.verdict(), Verdict::Deny);
    assert_eq!(whole.manifests[1].scan.as_ref().unwrap().evidence(), Evidence::Archived);
    assert_eq!(amd64.verdict(), Verdict::Allow);
}

#[tokio::test]
async fn index_of_artifacts_is_denied() {
    let spec = ImageSpec::index(APP, "1").child(artifact(
        "application/vnd.amazon.soci.index.v2+json",
        "application/octet-stream",
        "linux/amd64",
    ));
    let gate = gate(world(spec)).start().await;

    let decision = gate.decide(IMAGE).await;

    assert_eq!(decision.verdict(), Verdict::Deny);
    assert!(decision.manifests.is_empty() && decision.deploy_image.is_empty());
}

#[tokio::test]
async fn index_nests_one_level() {
    let inner = |tag: &str| ImageSpec::index(APP, tag).platform("linux/amd64", ScanScript::clean());
    let nest = |tag: &str, inner| ImageSpec::index(APP, tag).child(Child::image(inner));
    let mut world = world(nest("two", inner("x")));
    world.push(nest("three", nest("y", inner("z"))));
    let gate = gate(world).start().await;

    assert_eq!(gate.decide("team/app:two").await.verdict(), Verdict::Allow);
    assert_eq!(gate.rejection("team/app:three").await.reason, "IMAGE_TOO_COMPLEX");
}

#[tokio::test]
async fn every_tag_of_digest_is_allowed_alike() {
    let spec = |tag: &str| ImageSpec::single(APP, tag).content("same").scan(ScanScript::clean());
    let mut world = world(spec("build-1"));
    world.push(spec("prod"));
    let gate = gate(world).start().await;

    let (build, prod) = (gate.decide("team/app:build-1").await, gate.decide("team/app:prod").await);

    assert_eq!(build.verdict(), Verdict::Allow);
    assert_eq!(build.deploy_image, prod.deploy_image);
}

#[tokio::test]
async fn decision_shows_use_of_manifest() {
    let mut world = World::enhanced();
    world.push(ImageSpec::single(APP, "1").scan(ScanScript::clean()).in_use(3, Duration::from_hours(1)));
    let gate = gate(world).start().await;

    let decision = gate.decide(IMAGE).await;

    assert_eq!(decision.manifests[0].in_use_count, Some(3));
    assert!(decision.manifests[0].last_in_use_time.is_some());
}
