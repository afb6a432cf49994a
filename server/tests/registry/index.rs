//! The children of an index: chosen by platform first, then by what a container runtime would run.

use std::sync::Arc;

use scangate_core::{
    image::Platform,
    scan::{Content, Manifest},
};
use scangate_ecr_simulator::{Child, Fault, ImageSpec, ScanScript, World};
use scangate_server::registry::{Error, Resolved};

use crate::{
    resolve::{index, world_with},
    support::{APP, IMAGE, ecr},
};

const IN_TOTO: &str = "application/vnd.in-toto+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn platforms(manifests: &[Manifest]) -> Vec<Option<String>> {
    manifests.iter().map(|manifest| manifest.platform.as_ref().map(Platform::to_string)).collect()
}

#[tokio::test]
async fn index_resolves_to_platforms_only() {
    for spec in [index(), index().docker()] {
        let mut world = World::new();
        let pushed = world.push(spec);
        let harness = ecr(world).await;

        let resolved = harness.resolve(IMAGE).await.unwrap();

        assert_eq!(resolved.image.digest.as_str(), pushed.digest);
        assert_eq!(platforms(&resolved.manifests), [Some("linux/amd64".to_owned()), Some("linux/arm64".to_owned())]);
        assert!(resolved.manifests.iter().all(|manifest| manifest.push_time.is_some()));
        assert_eq!((harness.calls("DescribeImages"), harness.calls("BatchGetImage")), (2, 1));
    }
}

#[tokio::test]
async fn index_is_fetched_once() {
    let mut world = World::new();
    world.push(index());
    let harness = ecr(world).await;

    harness.resolve(IMAGE).await.unwrap();
    harness.resolve(IMAGE).await.unwrap();

    assert_eq!((harness.calls("DescribeImages"), harness.calls("BatchGetImage")), (4, 1));
}

#[tokio::test]
async fn half_attestation_counts_as_image() {
    let by_platform = Child::platform("linux/amd64", ScanScript::clean()).stated_platform(Some("unknown/unknown"));
    let by_annotation = Child::platform("linux/amd64", ScanScript::clean())
        .annotate("vnd.docker.reference.type", "attestation-manifest");
    for child in [by_platform, by_annotation] {
        let mut world = World::new();
        world.push(ImageSpec::index(APP, "1").child(child));

        let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();

        assert_eq!(resolved.manifests.len(), 1);
    }
}

#[tokio::test]
async fn index_of_attestations_has_no_manifests() {
    let mut world = World::new();
    world.push(ImageSpec::index(APP, "1").attestation());

    let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();

    assert_eq!(resolved.manifests, []);
}

#[tokio::test]
async fn nested_index_is_expanded_one_level_only() {
    let inner = || ImageSpec::index(APP, "inner").platform("linux/arm64", ScanScript::clean());
    let nested = ImageSpec::index(APP, "1").platform("linux/amd64", ScanScript::clean()).child(Child::image(inner()));
    let middle = ImageSpec::index(APP, "middle").child(Child::image(inner()));
    let too_deep = ImageSpec::index(APP, "1").child(Child::image(middle));

    let mut world = World::new();
    world.push(nested);
    let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();
    assert_eq!(platforms(&resolved.manifests), [Some("linux/amd64".to_owned()), Some("linux/arm64".to_owned())]);

    let mut world = World::new();
    world.push(too_deep);
    let error = ecr(world).await.resolve(IMAGE).await.unwrap_err();
    assert!(matches!(error, Error::TooComplex(_)), "{error:?}");
}

#[tokio::test]
async fn index_with_too_many_manifests_is_refused() {
    let of = |count: usize| {
        (0..count).fold(ImageSpec::index(APP, "1"), |index, number| {
            index.platform(&format!("linux/arch{number}"), ScanScript::clean())
        })
    };
    let mut world = World::new();
    world.push(of(64));
    assert_eq!(ecr(world).await.resolve(IMAGE).await.unwrap().manifests.len(), 64);

    let mut world = World::new();
    world.push(of(65));
    let error = ecr(world).await.resolve(IMAGE).await.unwrap_err();
    assert!(matches!(error, Error::TooComplex(_)), "{error:?}");
}

#[tokio::test]
async fn archived_child_is_marked_archived() {
    let mut world = World::new();
    let child = world.push(index()).children.remove(0).digest;
    world.archive(APP, &child).unwrap();

    let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();

    let archived: Vec<_> = resolved.manifests.iter().map(|manifest| manifest.archived).collect();
    assert_eq!(archived, [true, false]);
}

/// Pushes an index and resolves it for platforms.
async fn resolve(spec: ImageSpec, platforms: &[&str]) -> Resolved {
    let (world, _) = world_with(spec);
    match ecr(world).await.resolve_for(IMAGE, platforms).await {
        Ok(resolved) => Arc::unwrap_or_clone(resolved),
        Err(error) => panic!("{IMAGE} cannot be resolved: {error}"),
    }
}

fn amd64_and(child: Child) -> ImageSpec {
    ImageSpec::index(APP, "1").platform("linux/amd64", ScanScript::clean()).child(child)
}

fn artifact(config: &str, layer: &str, platform: &str) -> Child {
    Child::image(ImageSpec::artifact(APP, "x", config, layer)).stated_platform(Some(platform))
}

#[tokio::test]
async fn artifact_child_is_no_platform() {
    for child in [
        artifact("application/vnd.amazon.soci.index.v2+json", "application/octet-stream", "linux/amd64"),
        artifact("application/vnd.buildkit.cacheconfig.v0", OCI_LAYER, "linux/arm64"),
        artifact(OCI_CONFIG, IN_TOTO, "unknown/unknown"),
        artifact(OCI_CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json", "unknown/unknown"),
        Child::image(ImageSpec::helm_chart(APP, "x")),
    ] {
        let resolved = resolve(amd64_and(child), &[]).await;

        assert_eq!(platforms(&resolved.manifests), [Some("linux/amd64".to_owned())]);
        assert_eq!(resolved.platforms, [Platform::parse("linux/amd64").unwrap()]);
        assert!(resolved.is_complete);
    }
}

#[tokio::test]
async fn runnable_child_cannot_be_hidden() {
    for child in [
        artifact(OCI_CONFIG, IN_TOTO, "linux/amd64"),
        artifact(OCI_CONFIG, OCI_LAYER, "unknown/unknown"),
        artifact("application/vnd.example.config", OCI_LAYER, "linux/amd64"),
        artifact("application/octet-stream", OCI_LAYER, "linux/amd64"),
        artifact("application/octet-stream", IN_TOTO, "linux/arm64"),
    ] {
        let resolved = resolve(amd64_and(child), &[]).await;

        assert_eq!(resolved.manifests.len(), 2, "{resolved:?}");
        assert!(resolved.manifests.iter().all(Manifest::is_readable_image));
    }
}

#[tokio::test]
async fn ordinary_children_are_not_pulled() {
    let (world, _) = world_with(index());
    let harness = ecr(world).await;

    harness.resolve(IMAGE).await.unwrap();

    assert_eq!(harness.calls("BatchGetImage"), 1);
}

#[tokio::test]
async fn platform_not_requested_decides_nothing() {
    let nested = ImageSpec::index(APP, "inner").platform("linux/arm64", ScanScript::clean());
    for child in [
        Child::absent("linux/arm64"),
        artifact(OCI_CONFIG, IN_TOTO, "linux/arm64"),
        Child::image(nested),
        Child::image(ImageSpec::raw(APP, "x", "{}", None)).stated_platform(Some("linux/arm64")),
    ] {
        let resolved = resolve(amd64_and(child), &["linux/x86_64"]).await;

        assert_eq!(platforms(&resolved.manifests), [Some("linux/amd64".to_owned())]);
        assert!(resolved.manifests.iter().all(Manifest::is_readable_image));
        assert_eq!(resolved.platforms.len(), 2);
        assert!(!resolved.is_complete);
    }
}

#[tokio::test]
async fn missing_child_is_named() {
    let spec = amd64_and(Child::absent("linux/arm64")).child(Child::absent("linux/s390x"));

    let resolved = resolve(spec, &[]).await;

    let reasons: Vec<_> = resolved.manifests.iter().map(|manifest| manifest.unreadable.as_deref()).collect();
    let [None, Some(arm64), Some(s390x)] = reasons.as_slice() else { panic!("{reasons:?}") };
    assert!(arm64.contains("linux/arm64 (sha256:") && s390x.contains("linux/s390x (sha256:"), "{reasons:?}");
}

#[tokio::test]
async fn missing_nested_index_is_named() {
    let resolved = resolve(amd64_and(Child::absent("linux/arm64").stated_platform(None)), &["linux/amd64"]).await;

    let unreadable = resolved.manifests.iter().find_map(|manifest| manifest.unreadable.as_deref());
    assert!(unreadable.is_some_and(|reason| reason.contains("without a platform")), "{unreadable:?}");
}

#[tokio::test]
async fn refused_child_is_unreadable() {
    let (world, _) = world_with(amd64_and(artifact(OCI_CONFIG, IN_TOTO, "unknown/unknown")));
    let harness = ecr(world).await;
    let failures = serde_json::json!([{"failureCode": "KmsError", "failureReason": "no key"}]);
    let refusal = Fault::SetField { pointer: "/failures".into(), value: failures };
    harness.simulator.faults().script(refusal.on("BatchGetImage").skip(1));

    let resolved = harness.resolve(IMAGE).await.unwrap();

    let reason = resolved.manifests.last().unwrap().unreadable.as_deref().unwrap();
    assert!(reason.contains("KmsError"), "{reason}");
}

#[tokio::test]
async fn ambiguous_child_is_unreadable() {
    let text = format!(r#"{{"config":{{"mediaType":"{OCI_CONFIG}"}},"layers":[],"Layers":[]}}"#);
    let child = Child::image(ImageSpec::raw(APP, "x", &text, None)).stated_platform(Some("unknown/unknown"));

    let resolved = resolve(amd64_and(child), &[]).await;

    let reason = resolved.manifests.last().unwrap().unreadable.as_deref().unwrap();
    assert!(reason.contains("ambiguous member"), "{reason}");
}

#[tokio::test]
async fn os_version_distinguishes_platforms() {
    let spec = ["10.0.17763.1", "10.0.20348.1"].iter().fold(ImageSpec::index(APP, "1"), |index, version| {
        index.platform(&format!("windows({version})/amd64"), ScanScript::clean())
    });

    for (requested, expected) in [("windows/amd64", 2), ("windows(10.0.20348.1)/amd64", 1), ("windows(10)/amd64", 0)] {
        assert_eq!(resolve(spec.clone(), &[requested]).await.manifests.len(), expected, "{requested}");
    }
}

#[tokio::test]
async fn index_of_layers_has_no_readable_manifest() {
    let layer = format!("sha256:{}", "a".repeat(64));
    let text = format!(
        r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
        {{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"{layer}","size":5}}]}}"#
    );

    let resolved = resolve(ImageSpec::raw(APP, "1", &text, None), &[]).await;

    let [manifest] = resolved.manifests.as_slice() else { panic!("{resolved:?}") };
    assert!(manifest.unreadable.as_deref().unwrap().contains("rootfs.diff.tar.gzip"), "{manifest:?}");
}

#[tokio::test]
async fn artifact_by_itself_is_no_image() {
    let subject = world_with(ImageSpec::single(APP, "0")).1;
    let artifacts = [
        ImageSpec::helm_chart(APP, "1"),
        ImageSpec::artifact(APP, "1", "application/vnd.example.sbom", "application/spdx+json"),
        ImageSpec::artifact(APP, "1", "application/vnd.buildkit.cacheconfig.v0", OCI_LAYER),
        ImageSpec::cosign_signature(APP, "1").subject(&subject),
    ];
    for artifact in artifacts {
        let resolved = resolve(artifact, &[]).await;

        assert_eq!(resolved.manifests.first().unwrap().content, Content::Artifact);
    }
}

#[tokio::test]
async fn image_with_unusual_config_is_judged_by_scan() {
    let unusual = ImageSpec::artifact(APP, "1", "application/vnd.example.config", OCI_LAYER);

    assert_eq!(resolve(unusual, &[]).await.manifests.first().unwrap().content, Content::Image);
}

#[tokio::test]
async fn every_tag_of_digest_resolves_to_it() {
    let mut world = World::new();
    let pushed = ["build-1", "prod"].map(|tag| world.push(ImageSpec::single(APP, tag).content("same")).digest);
    let harness = ecr(world).await;

    for tag in ["build-1", "prod"] {
        let resolved = harness.resolve(&format!("{APP}:{tag}")).await.unwrap();
        assert_eq!(pushed, [resolved.image.digest.as_str(), resolved.image.digest.as_str()]);
    }
}
