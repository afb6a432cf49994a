//! From a reference to manifests.

use scangate_core::{
    image::Platform,
    scan::{Content, Manifest},
};
use scangate_ecr_simulator::{ACCOUNT, Child, Fault, ImageSpec, REGION, ScanScript, World};
use scangate_server::registry::{Error, Freshness, Registry, ecr::Config};

use crate::support::{APP, IMAGE, basic, config, ecr, ecr_with, reference, simulate};

const UNKNOWN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn platforms(manifests: &[Manifest]) -> Vec<Option<String>> {
    manifests.iter().map(|manifest| manifest.platform.as_ref().map(Platform::to_string)).collect()
}

fn index() -> ImageSpec {
    ImageSpec::index(APP, "1")
        .platform("linux/amd64", ScanScript::clean())
        .platform("linux/arm64/v8", ScanScript::clean())
        .attestation()
}

#[tokio::test]
async fn a_tag_is_resolved_to_its_digest_in_one_call() {
    let mut world = World::new();
    let digest = world.push(ImageSpec::single(APP, "1")).digest;
    let bench = ecr(world).await;

    let resolved = bench.resolve(IMAGE).await.unwrap();

    assert_eq!(resolved.image.digest.as_str(), digest);
    assert_eq!(resolved.image.host, format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"));
    assert!(resolved.image.pushed_at.is_some());
    let [manifest] = resolved.manifests.as_slice() else { panic!("not one manifest") };
    assert_eq!(manifest.digest.as_str(), digest);
    assert_eq!((manifest.content, manifest.archived), (Content::Image, false));
    assert_eq!(bench.simulator.calls().total(), 1);
}

#[tokio::test]
async fn the_host_stays_as_the_caller_wrote_it() {
    let host = format!("{ACCOUNT}.dkr-ecr.{REGION}.on.aws");
    let bench = ecr(basic(ScanScript::clean())).await;

    let resolved = bench.resolve(&format!("{host}/{IMAGE}")).await.unwrap();

    assert_eq!(resolved.image.host, host);
}

#[tokio::test]
async fn tag_and_digest_that_agree_are_resolved() {
    let mut world = World::new();
    let digest = world.push(ImageSpec::single(APP, "1")).digest;
    let bench = ecr(world).await;

    let resolved = bench.resolve(&format!("{IMAGE}@{digest}")).await.unwrap();

    assert_eq!(resolved.image.digest.as_str(), digest);
    assert_eq!(resolved.image.tag.as_ref().unwrap().as_str(), "1");
}

#[tokio::test]
async fn tag_and_digest_that_disagree_are_told_with_what_the_tag_points_at() {
    let mut world = World::new();
    let first = world.push(ImageSpec::single(APP, "1")).digest;
    let second = world.push(ImageSpec::single(APP, "2")).digest;
    let bench = ecr(world).await;

    for asked in [second.as_str(), UNKNOWN] {
        let error = bench.resolve(&format!("{IMAGE}@{asked}")).await.unwrap_err();

        let Error::TagDigestMismatch { tag, asked: told, actual } = error else { panic!("{error:?}") };
        assert_eq!((tag.as_str(), told.as_str(), actual.as_str()), ("1", asked, first.as_str()));
    }
}

#[tokio::test]
async fn what_does_not_exist_is_told_apart() {
    let bench = ecr(basic(ScanScript::clean())).await;

    for image in [format!("{APP}:2"), format!("{APP}@{UNKNOWN}"), format!("{APP}:2@{UNKNOWN}")] {
        let error = bench.resolve(&image).await.unwrap_err();
        assert!(matches!(error, Error::ImageNotFound { .. }), "{image}: {error:?}");
    }
    let error = bench.resolve("team/other:1").await.unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound(_)), "{error:?}");
}

#[tokio::test]
async fn an_image_pushed_this_moment_is_looked_for_again() {
    let bench = ecr(basic(ScanScript::clean())).await;
    let unknown = Fault::error("ImageNotFoundException", "The image does not exist within the repository");
    bench.simulator.faults().script(unknown.on("DescribeImages").times(2));

    let resolved = bench.resolve(IMAGE).await;

    assert!(resolved.is_ok(), "{resolved:?}");
    assert_eq!(bench.calls("DescribeImages"), 3);
}

#[tokio::test]
async fn a_filter_that_ecr_does_not_take_beside_an_image_changes_nothing() {
    let bench = ecr(basic(ScanScript::clean())).await;
    let refusal = Fault::error("InvalidParameterException", "filter cannot be used with imageIds");
    bench.simulator.faults().script(refusal.on("DescribeImages").skip(2).once());

    let found = bench.resolve(IMAGE).await;
    let unknown = bench.resolve(&format!("{APP}:2")).await;

    assert!(found.is_ok(), "{found:?}");
    assert!(matches!(unknown, Err(Error::ImageNotFound { .. })), "{unknown:?}");
}

#[tokio::test]
async fn a_registry_that_is_not_configured_is_refused_with_those_that_are() {
    let bench = ecr(basic(ScanScript::clean())).await;

    let error = bench.resolve(&format!("999999999999.dkr.ecr.{REGION}.amazonaws.com/{IMAGE}")).await.unwrap_err();

    let Error::NotConfigured { registry, configured } = error else { panic!("{error:?}") };
    assert_eq!(registry.account(), "999999999999");
    assert_eq!(configured, [crate::support::registry_id()]);
    assert_eq!(bench.simulator.calls().total(), 0);
}

#[tokio::test]
async fn the_registry_is_the_credentials_own_where_none_is_configured() {
    let simulator = simulate(basic(ScanScript::clean())).await;
    let elsewhere = Config { registries: Vec::new(), ..config(&simulator) };

    // Whether a region is known depends on the machine: without one, that is what is told.
    match scangate_server::registry::ecr::Ecr::connect(elsewhere).await {
        Ok(ecr) => assert_eq!(ecr.default_registry().account(), ACCOUNT),
        Err(error) => assert!(matches!(error, Error::Credentials(_)), "{error:?}"),
    }
}

#[tokio::test]
async fn an_index_is_resolved_to_its_platforms_without_attestations() {
    for spec in [index(), index().docker()] {
        let mut world = World::new();
        let pushed = world.push(spec);
        let bench = ecr(world).await;

        let resolved = bench.resolve(IMAGE).await.unwrap();

        assert_eq!(resolved.image.digest.as_str(), pushed.digest);
        assert_eq!(platforms(&resolved.manifests), [Some("linux/amd64".to_owned()), Some("linux/arm64/v8".to_owned())]);
        assert!(resolved.manifests.iter().all(|manifest| manifest.pushed_at.is_some()));
        assert_eq!((bench.calls("DescribeImages"), bench.calls("BatchGetImage")), (2, 1));
    }
}

#[tokio::test]
async fn an_index_is_fetched_once_since_its_bytes_cannot_change() {
    let mut world = World::new();
    world.push(index());
    let bench = ecr(world).await;

    bench.resolve(IMAGE).await.unwrap();
    bench.resolve(IMAGE).await.unwrap();

    assert_eq!((bench.calls("DescribeImages"), bench.calls("BatchGetImage")), (4, 1));
}

#[tokio::test]
async fn a_child_that_only_looks_like_an_attestation_is_judged() {
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
async fn an_index_of_attestations_alone_has_no_manifests() {
    let mut world = World::new();
    world.push(ImageSpec::index(APP, "1").attestation());

    let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();

    assert_eq!(resolved.manifests, []);
}

#[tokio::test]
async fn an_index_within_an_index_is_expanded_but_no_deeper() {
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
async fn an_index_of_more_than_64_manifests_is_refused() {
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
async fn a_manifest_that_does_not_hash_to_its_digest_is_refused() {
    let mut world = World::new();
    world.push(index());
    let bench = ecr(world).await;
    bench.simulator.faults().script(Fault::CorruptManifest);

    let error = bench.resolve(IMAGE).await.unwrap_err();

    assert!(matches!(error, Error::MalformedResponse { .. }), "{error:?}");
}

type Precondition = fn(&Error) -> bool;

#[tokio::test]
async fn a_failure_within_a_successful_answer_is_an_error() {
    let failed = |code: &str| Fault::SetField {
        pointer: "/failures".into(),
        value: serde_json::json!([{"failureCode": code, "failureReason": "no"}]),
    };
    let cases: [(Fault, Precondition); 4] = [
        (Fault::PartialFailure, |error| matches!(error, Error::ImageNotFound { .. })),
        (failed("KmsError"), |error| matches!(error, Error::Rejected { code, .. } if code == "KmsError")),
        (failed("UpstreamUnavailable"), |error| matches!(error, Error::Unavailable { .. })),
        (failed("SomethingNew"), |error| matches!(error, Error::Rejected { .. })),
    ];
    for (fault, expected) in cases {
        let mut world = World::new();
        world.push(index());
        let bench = ecr(world).await;
        bench.simulator.faults().script(fault.on("BatchGetImage"));

        let error = bench.resolve(IMAGE).await.unwrap_err();

        assert!(expected(&error), "{error:?}");
    }
}

#[tokio::test]
async fn an_index_whose_child_is_gone_is_not_found() {
    let mut world = World::new();
    world.push(ImageSpec::index(APP, "1").child(Child::absent("linux/amd64")));

    let error = ecr(world).await.resolve(IMAGE).await.unwrap_err();

    assert!(matches!(error, Error::ImageNotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn an_archived_image_is_archived_and_not_unknown() {
    for spec in [ImageSpec::single(APP, "1"), index()] {
        let mut world = World::new();
        world.push(spec.archived());

        let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();

        let [manifest] = resolved.manifests.as_slice() else { panic!("not one manifest") };
        assert!(manifest.archived);
    }
}

#[tokio::test]
async fn an_archived_child_is_archived() {
    let mut world = World::new();
    let child = world.push(index()).children.remove(0).digest;
    world.archive(APP, &child).unwrap();

    let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();

    let archived: Vec<_> = resolved.manifests.iter().map(|manifest| manifest.archived).collect();
    assert_eq!(archived, [true, false]);
}

#[tokio::test]
async fn artifacts_are_told_from_images() {
    let subject = world_with(ImageSpec::single(APP, "0")).1;
    let artifacts = [
        ImageSpec::helm_chart(APP, "1"),
        ImageSpec::artifact(APP, "1", "application/vnd.example.sbom", "application/spdx+json"),
        ImageSpec::cosign_signature(APP, "1").subject(&subject),
    ];
    for artifact in artifacts {
        let (world, _) = world_with(artifact);

        let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();

        assert_eq!(resolved.manifests.first().unwrap().content, Content::Artifact);
    }
}

fn world_with(spec: ImageSpec) -> (World, String) {
    let mut world = World::new();
    let digest = world.push(spec).digest;
    (world, digest)
}

#[tokio::test]
async fn without_media_types_the_manifest_itself_tells_what_it_is() {
    let cases = [
        (ImageSpec::single(APP, "1"), Content::Image, 1),
        (ImageSpec::helm_chart(APP, "1"), Content::Artifact, 1),
        (index(), Content::Image, 2),
    ];
    for (spec, content, manifests) in cases {
        let (world, _) = world_with(spec);
        let bench = ecr(world).await;
        for member in ["imageManifestMediaType", "artifactMediaType"] {
            let fault = Fault::DropField(format!("/imageDetails/0/{member}"));
            bench.simulator.faults().script(fault.on("DescribeImages").once());
        }

        let resolved = bench.resolve(IMAGE).await.unwrap();

        assert_eq!(resolved.manifests.len(), manifests);
        assert!(resolved.manifests.iter().all(|manifest| manifest.content == content));
    }
}

#[tokio::test]
async fn an_answer_about_something_else_is_refused() {
    let faults = [
        Fault::WrongRepository,
        Fault::WrongRegistry,
        Fault::EmptyObject,
        Fault::DropField("/imageDetails/0/imageDigest".into()),
        Fault::SetField { pointer: "/imageDetails/0/imageDigest".into(), value: "sha256:abc".into() },
        Fault::SetField { pointer: "/imageDetails/0/imagePushedAt".into(), value: serde_json::json!(1e300) },
    ];
    for fault in faults {
        let bench = ecr(basic(ScanScript::clean())).await;
        bench.simulator.faults().script(fault.clone().on("DescribeImages"));

        let error = bench.resolve(IMAGE).await.unwrap_err();

        assert!(matches!(error, Error::MalformedResponse { .. }), "{fault:?}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_about_another_digest_than_the_one_asked_for_is_refused() {
    let (world, digest) = world_with(ImageSpec::single(APP, "1"));
    let bench = ecr(world).await;
    bench.simulator.faults().script(Fault::WrongDigest.on("DescribeImages"));

    let error = bench.resolve(&format!("{APP}@{digest}")).await.unwrap_err();

    assert!(matches!(error, Error::MalformedResponse { .. }), "{error:?}");
}

#[tokio::test]
async fn waiting_for_a_turn_counts_towards_the_budget() {
    let budget = std::time::Duration::from_millis(200);
    let short = |config| Config { concurrency: 1, operation_timeout: budget, ..config };
    let bench = ecr_with(basic(ScanScript::clean()), short).await;
    bench.simulator.faults().script(Fault::Hang);

    let image = reference(IMAGE);
    let resolve = || bench.registry.resolve(&image, Freshness::default());
    let (first, second) = tokio::join!(resolve(), resolve());

    assert!(matches!(first, Err(Error::Unavailable { .. })));
    assert!(matches!(second, Err(Error::Unavailable { .. })));
}
