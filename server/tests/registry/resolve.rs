//! Resolution of references to manifests.

use scangate_core::scan::Content;
use scangate_ecr_simulator::{ACCOUNT, Fault, ImageSpec, REGION, ScanScript, World};
use scangate_server::registry::{Error, Freshness, Registry, ecr::Config};

use crate::support::{APP, IMAGE, basic, config, ecr, ecr_with, reference, simulate};

const UNKNOWN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

pub(crate) fn index() -> ImageSpec {
    ImageSpec::index(APP, "1")
        .platform("linux/amd64", ScanScript::clean())
        .platform("linux/arm64/v8", ScanScript::clean())
        .attestation()
}

#[tokio::test]
async fn tag_is_resolved_to_digest_in_one_call() {
    let mut world = World::new();
    let digest = world.push(ImageSpec::single(APP, "1")).digest;
    let harness = ecr(world).await;

    let resolved = harness.resolve(IMAGE).await.unwrap();

    assert_eq!(resolved.image.digest.as_str(), digest);
    assert_eq!(resolved.image.host, format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"));
    assert!(resolved.image.push_time.is_some());
    let [manifest] = resolved.manifests.as_slice() else { panic!("not one manifest") };
    assert_eq!(manifest.digest.as_str(), digest);
    assert_eq!((manifest.content, manifest.archived), (Content::Image, false));
    assert_eq!(harness.simulator.calls().total(), 1);
}

#[tokio::test]
async fn host_stays_as_caller_wrote_it() {
    let host = format!("{ACCOUNT}.dkr-ecr.{REGION}.on.aws");
    let harness = ecr(basic(ScanScript::clean())).await;

    let resolved = harness.resolve(&format!("{host}/{IMAGE}")).await.unwrap();

    assert_eq!(resolved.image.host, host);
}

#[tokio::test]
async fn matching_tag_and_digest_are_resolved() {
    let mut world = World::new();
    let digest = world.push(ImageSpec::single(APP, "1")).digest;
    let harness = ecr(world).await;

    let resolved = harness.resolve(&format!("{IMAGE}@{digest}")).await.unwrap();

    assert_eq!(resolved.image.digest.as_str(), digest);
    assert_eq!(resolved.image.tag.as_ref().unwrap().as_str(), "1");
}

#[tokio::test]
async fn mismatch_reports_digest_of_tag() {
    let mut world = World::new();
    let first = world.push(ImageSpec::single(APP, "1")).digest;
    let second = world.push(ImageSpec::single(APP, "2")).digest;
    let harness = ecr(world).await;

    for expected in [second.as_str(), UNKNOWN] {
        let error = harness.resolve(&format!("{IMAGE}@{expected}")).await.unwrap_err();

        let Error::TagDigestMismatch { tag, requested, actual } = error else { panic!("{error:?}") };
        assert_eq!((tag.as_str(), requested.as_str(), actual.as_str()), ("1", expected, first.as_str()));
    }
}

#[tokio::test]
async fn missing_image_differs_from_missing_repository() {
    let harness = ecr(basic(ScanScript::clean())).await;

    for image in [format!("{APP}:2"), format!("{APP}@{UNKNOWN}"), format!("{APP}:2@{UNKNOWN}")] {
        let error = harness.resolve(&image).await.unwrap_err();
        assert!(matches!(error, Error::ImageNotFound { .. }), "{image}: {error:?}");
    }
    let error = harness.resolve("team/other:1").await.unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound(_)), "{error:?}");
}

#[tokio::test]
async fn unknown_image_is_looked_up_again() {
    let harness = ecr(basic(ScanScript::clean())).await;
    let unknown = Fault::error("ImageNotFoundException", "The image does not exist within the repository");
    harness.simulator.faults().script(unknown.on("DescribeImages").times(2));

    let resolved = harness.resolve(IMAGE).await;

    assert!(resolved.is_ok(), "{resolved:?}");
    assert_eq!(harness.calls("DescribeImages"), 3);
}

#[tokio::test]
async fn rejected_archive_filter_changes_nothing() {
    let harness = ecr(basic(ScanScript::clean())).await;
    let refusal = Fault::error("InvalidParameterException", "filter cannot be used with imageIds");
    harness.simulator.faults().script(refusal.on("DescribeImages").skip(2).once());

    let found = harness.resolve(IMAGE).await;
    let unknown = harness.resolve(&format!("{APP}:2")).await;

    assert!(found.is_ok(), "{found:?}");
    assert!(matches!(unknown, Err(Error::ImageNotFound { .. })), "{unknown:?}");
}

#[tokio::test]
async fn unconfigured_registry_is_refused() {
    let harness = ecr(basic(ScanScript::clean())).await;

    let error = harness.resolve(&format!("999999999999.dkr.ecr.{REGION}.amazonaws.com/{IMAGE}")).await.unwrap_err();

    let Error::NotConfigured { registry, configured } = error else { panic!("{error:?}") };
    assert_eq!(registry.account(), "999999999999");
    assert_eq!(configured, [crate::support::registry_id()]);
    assert_eq!(harness.simulator.calls().total(), 0);
}

#[tokio::test]
async fn default_registry_is_that_of_credentials() {
    let simulator = simulate(basic(ScanScript::clean())).await;
    let elsewhere = Config { registries: Vec::new(), ..config(&simulator) };

    // The region depends on the machine; without one, the error is about that.
    match scangate_server::registry::ecr::Ecr::connect(elsewhere).await {
        Ok(ecr) => assert_eq!(ecr.default_registry().account(), ACCOUNT),
        Err(error) => assert!(matches!(error, Error::Credentials(_)), "{error:?}"),
    }
}

#[tokio::test]
async fn manifest_with_wrong_hash_is_refused() {
    let mut world = World::new();
    world.push(index());
    let harness = ecr(world).await;
    harness.simulator.faults().script(Fault::CorruptManifest);

    let error = harness.resolve(IMAGE).await.unwrap_err();

    assert!(matches!(error, Error::MalformedResponse { .. }), "{error:?}");
}

type ErrorCheck = fn(&Error) -> bool;

#[tokio::test]
async fn failure_within_successful_response_is_error() {
    let failed = |code: &str| Fault::SetField {
        pointer: "/failures".into(),
        value: serde_json::json!([{"failureCode": code, "failureReason": "no"}]),
    };
    let cases: [(Fault, ErrorCheck); 4] = [
        (Fault::PartialFailure, |error| matches!(error, Error::ImageNotFound { .. })),
        (failed("KmsError"), |error| matches!(error, Error::Rejected { code, .. } if code == "KmsError")),
        (failed("UpstreamUnavailable"), |error| matches!(error, Error::Unavailable { .. })),
        (failed("SomethingNew"), |error| matches!(error, Error::Rejected { .. })),
    ];
    for (fault, expected) in cases {
        let mut world = World::new();
        world.push(index());
        let harness = ecr(world).await;
        harness.simulator.faults().script(fault.on("BatchGetImage"));

        let error = harness.resolve(IMAGE).await.unwrap_err();

        assert!(expected(&error), "{error:?}");
    }
}

#[tokio::test]
async fn archived_image_is_resolved_as_archived() {
    for spec in [ImageSpec::single(APP, "1"), index()] {
        let mut world = World::new();
        world.push(spec.archived());

        let resolved = ecr(world).await.resolve(IMAGE).await.unwrap();

        let [manifest] = resolved.manifests.as_slice() else { panic!("not one manifest") };
        assert!(manifest.archived);
    }
}

pub(crate) fn world_with(spec: ImageSpec) -> (World, String) {
    let mut world = World::new();
    let digest = world.push(spec).digest;
    (world, digest)
}

#[tokio::test]
async fn manifest_without_media_type_is_parsed() {
    let cases = [
        (ImageSpec::single(APP, "1"), Content::Image, 1),
        (ImageSpec::helm_chart(APP, "1"), Content::Artifact, 1),
        (index(), Content::Image, 2),
    ];
    for (spec, content, manifests) in cases {
        let (world, _) = world_with(spec);
        let harness = ecr(world).await;
        for member in ["imageManifestMediaType", "artifactMediaType"] {
            let fault = Fault::DropField(format!("/imageDetails/0/{member}"));
            harness.simulator.faults().script(fault.on("DescribeImages").once());
        }

        let resolved = harness.resolve(IMAGE).await.unwrap();

        assert_eq!(resolved.manifests.len(), manifests);
        assert!(resolved.manifests.iter().all(|manifest| manifest.content == content));
    }
}

#[tokio::test]
async fn response_about_another_image_is_refused() {
    let faults = [
        Fault::WrongRepository,
        Fault::WrongRegistry,
        Fault::EmptyObject,
        Fault::DropField("/imageDetails/0/imageDigest".into()),
        Fault::SetField { pointer: "/imageDetails/0/imageDigest".into(), value: "sha256:abc".into() },
        Fault::SetField { pointer: "/imageDetails/0/imagePushedAt".into(), value: serde_json::json!(1e300) },
    ];
    for fault in faults {
        let harness = ecr(basic(ScanScript::clean())).await;
        harness.simulator.faults().script(fault.clone().on("DescribeImages"));

        let error = harness.resolve(IMAGE).await.unwrap_err();

        assert!(matches!(error, Error::MalformedResponse { .. }), "{fault:?}: {error:?}");
    }
}

#[tokio::test]
async fn response_about_another_digest_is_refused() {
    let (world, digest) = world_with(ImageSpec::single(APP, "1"));
    let harness = ecr(world).await;
    harness.simulator.faults().script(Fault::WrongDigest.on("DescribeImages"));

    let error = harness.resolve(&format!("{APP}@{digest}")).await.unwrap_err();

    assert!(matches!(error, Error::MalformedResponse { .. }), "{error:?}");
}

#[tokio::test]
async fn waiting_for_permit_counts_towards_budget() {
    let budget = std::time::Duration::from_millis(200);
    let short = |config| Config { concurrency: 1, operation_timeout: budget, ..config };
    let harness = ecr_with(basic(ScanScript::clean()), short).await;
    harness.simulator.faults().script(Fault::Hang);

    let image = reference(IMAGE);
    let resolve = || harness.registry.resolve(&image, &[], Freshness::default());
    let (first, second) = tokio::join!(resolve(), resolve());

    assert!(matches!(first, Err(Error::Unavailable { .. })));
    assert!(matches!(second, Err(Error::Unavailable { .. })));
}
