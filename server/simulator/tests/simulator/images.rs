//! Images: manifests, digests, tags, listings.

use std::time::Duration;

use aws_sdk_ecr::types::{
    DescribeImagesFilter, ImageFailureCode, ImageIdentifier, ImageStatus, ImageStatusFilter, TagStatus,
    TargetStorageClass,
};
use scangate_ecr_simulator::{ImageSpec, ScanScript, ScanningConfig, TagMutability};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{code, digest, ecr, start, tag, world};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn sha256(text: &str) -> String {
    let hex: Vec<String> = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

#[tokio::test]
async fn manifest_hashes_to_its_digest() {
    let mut world = world();
    let index = world.push(
        ImageSpec::index("team/app", "1")
            .platform("linux/amd64", ScanScript::clean())
            .platform("linux/arm64/v8", ScanScript::clean())
            .attestation(),
    );
    let (_simulator, client) = start(world).await;

    let fetched =
        client.batch_get_image().repository_name("team/app").image_ids(digest(&index.digest)).send().await.unwrap();

    let manifest = fetched.images.unwrap().remove(0).image_manifest.unwrap();
    assert_eq!(sha256(&manifest), index.digest);
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["manifests"][1]["platform"], json!({"os": "linux", "architecture": "arm64", "variant": "v8"}));
    let attestation = &manifest["manifests"][2];
    assert_eq!(attestation["platform"], json!({"os": "unknown", "architecture": "unknown"}));
    assert_eq!(attestation["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(attestation["annotations"]["vnd.docker.reference.digest"], manifest["manifests"][1]["digest"]);
}

#[tokio::test]
async fn batch_get_returns_failures_beside_images() {
    let mut world = world();
    let image = world.push(ImageSpec::single("team/app", "1"));
    world.push(ImageSpec::single("team/app", "2").archived());
    let (_simulator, client) = start(world).await;
    let crossed = ImageIdentifier::builder().image_tag("2").image_digest(&image.digest).build();

    let ids = [tag("1"), tag("9"), tag("2"), digest("sha256:xyz"), crossed, ImageIdentifier::builder().build()];
    let response =
        client.batch_get_image().repository_name("team/app").set_image_ids(Some(ids.into())).send().await.unwrap();

    assert_eq!(response.images.unwrap().len(), 1);
    let codes: Vec<ImageFailureCode> =
        response.failures.unwrap().into_iter().map(|failure| failure.failure_code.unwrap()).collect();
    assert_eq!(
        codes,
        [
            ImageFailureCode::ImageNotFound,
            ImageFailureCode::ImageInaccessible,
            ImageFailureCode::InvalidImageDigest,
            ImageFailureCode::ImageTagDoesNotMatchDigest,
            ImageFailureCode::MissingDigestAndTag,
        ]
    );
}

#[tokio::test]
async fn only_pull_by_tag_translates_manifest() {
    let mut world = world();
    let image = world.push(ImageSpec::single("team/app", "1").docker());
    let (simulator, client) = start(world).await;
    let pull = |id| client.batch_get_image().repository_name("team/app").image_ids(id).accepted_media_types(OCI).send();

    let by_tag = pull(tag("1")).await.unwrap().images.unwrap().remove(0);
    let by_digest = pull(digest(&image.digest)).await.unwrap().images.unwrap().remove(0);

    assert_eq!(by_tag.image_manifest_media_type.as_deref(), Some(OCI));
    assert_ne!(sha256(by_tag.image_manifest.as_deref().unwrap()), image.digest);
    assert_eq!(sha256(by_digest.image_manifest.as_deref().unwrap()), image.digest);
    assert!(simulator.world(|world| world.image("team/app", "1").unwrap().pull_time().is_some()));
}

#[tokio::test]
async fn moved_tag_leaves_old_image_untagged() {
    let mut world = world();
    let old = world.push(ImageSpec::single("team/app", "1"));
    let new = world.push(ImageSpec::single("team/app", "1").content("second build"));
    let (_simulator, client) = start(world).await;
    let describe = || client.describe_images().repository_name("team/app");

    let tagged = describe().image_ids(tag("1")).send().await.unwrap().image_details.unwrap();
    let untagged = DescribeImagesFilter::builder().tag_status(TagStatus::Untagged).build();
    let left = describe().filter(untagged).send().await.unwrap().image_details.unwrap();

    assert_eq!(tagged[0].image_digest.as_deref(), Some(new.digest.as_str()));
    assert_eq!(left[0].image_digest.as_deref(), Some(old.digest.as_str()));
    assert_eq!((left.len(), left[0].image_tags.clone()), (1, None));
}

#[tokio::test]
async fn archived_image_is_listed_only_by_filter() {
    let mut world = world();
    world.push(ImageSpec::single("team/app", "1"));
    let (_simulator, client) = start(world).await;
    let store = |class| {
        client.update_image_storage_class().repository_name("team/app").image_id(tag("1")).target_storage_class(class)
    };
    let describe = || client.describe_images().repository_name("team/app").image_ids(tag("1"));

    let archived = store(TargetStorageClass::Archive).send().await.unwrap();
    assert_eq!(archived.image_status, Some(ImageStatus::Archived));
    assert_eq!(code(describe().send().await), "ImageNotFoundException");
    let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
    let details = describe().filter(any).send().await.unwrap().image_details.unwrap();
    assert_eq!(details[0].image_status, Some(ImageStatus::Archived));
    store(TargetStorageClass::Standard).send().await.unwrap();
    assert_eq!(code(describe().send().await), "no error");
}

#[tokio::test]
async fn described_image_has_types_and_size_but_no_scan() {
    let mut world = world();
    let image = world.push(ImageSpec::single("team/app", "1").scan(ScanScript::clean()));
    world.push(ImageSpec::helm_chart("team/app", "chart").subject(&image.digest));
    world.push(ImageSpec::index("team/app", "index").platform("linux/amd64", ScanScript::never()));
    let (_simulator, client) = start(world).await;
    let describe = |id| client.describe_images().repository_name("team/app").image_ids(id).send();

    let plain = describe(tag("1")).await.unwrap().image_details.unwrap().remove(0);
    assert_eq!(plain.artifact_media_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    assert_eq!(plain.image_size_in_bytes, Some(27_098_254 + 3_412_877));
    assert!(plain.image_scan_status.is_none() && plain.image_scan_findings_summary.is_none());
    let chart = describe(tag("chart")).await.unwrap().image_details.unwrap().remove(0);
    assert_eq!(chart.artifact_media_type.as_deref(), Some("application/vnd.cncf.helm.config.v1+json"));
    assert_eq!(chart.subject_manifest_digest, Some(image.digest));
    let index = describe(tag("index")).await.unwrap().image_details.unwrap().remove(0);
    assert_eq!(index.image_size_in_bytes, plain.image_size_in_bytes);
    assert_eq!(index.artifact_media_type, None);
}

#[tokio::test]
async fn listings_are_paged() {
    let mut world = world();
    for number in 0..7 {
        world.push(ImageSpec::single("team/app", &number.to_string()));
    }
    world.tag("team/app", "also", "3").unwrap();
    let (_simulator, client) = start(world).await;

    let rows = client.list_images().repository_name("team/app").max_results(3).into_paginator().items().send();
    assert_eq!(rows.collect::<Result<Vec<_>, _>>().await.unwrap().len(), 8);
    let images = client.describe_images().repository_name("team/app").max_results(2).into_paginator().items().send();
    assert_eq!(images.collect::<Result<Vec<_>, _>>().await.unwrap().len(), 7);
    let both = client.describe_images().repository_name("team/app").max_results(2).image_ids(tag("1")).send().await;
    assert_eq!(code(both), "InvalidParameterException");
}

#[tokio::test]
async fn pushed_image_is_scanned_if_filter_matches() {
    let mut world = world().with_scanning(ScanningConfig::basic_on_push(&["team/*"]));
    let manifest = world.push(ImageSpec::single("made/elsewhere", "1"));
    let text = world.image("made/elsewhere", &manifest.digest).unwrap().manifest().to_owned();
    world.repository("team/app");
    world.repository("other/app");
    let (simulator, client) = start(world).await;
    let put = |repository| client.put_image().repository_name(repository).image_tag("1").image_manifest(&text).send();
    let read = |name| client.describe_image_scan_findings().repository_name(name).image_id(tag("1")).send();

    let put_image = put("team/app").await.unwrap().image.unwrap();
    put("other/app").await.unwrap();

    assert_eq!(put_image.image_id.unwrap().image_digest, Some(manifest.digest));
    assert_eq!(read("team/app").await.unwrap().image_scan_status.unwrap().status.unwrap().as_str(), "IN_PROGRESS");
    simulator.clock().advance(Duration::from_mins(1));
    assert_eq!(read("team/app").await.unwrap().image_scan_status.unwrap().status.unwrap().as_str(), "COMPLETE");
    assert_eq!(code(read("other/app").await), "ScanNotFoundException");
}

#[tokio::test]
async fn refused_push_returns_specific_code() {
    let mut world = world();
    let image = world.push(ImageSpec::single("team/app", "1"));
    let text = world.image("team/app", &image.digest).unwrap().manifest().to_owned();
    world.repository("team/app").set_mutability(TagMutability::Immutable);
    let (_simulator, client) = start(world).await;
    let put = |manifest: &str| client.put_image().repository_name("team/app").image_tag("1").image_manifest(manifest);
    let dangling = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": OCI, "digest": format!("sha256:{}", "0".repeat(64)), "size": 1}],
    });

    assert_eq!(code(put(&text).send().await), "ImageAlreadyExistsException");
    assert_eq!(code(put(&format!("{text}\n")).send().await), "ImageTagAlreadyExistsException");
    assert_eq!(
        code(put(&format!("{text} ")).image_digest(&image.digest).send().await),
        "ImageDigestDoesNotMatchException"
    );
    assert_eq!(code(put(&dangling.to_string()).send().await), "ReferencedImagesNotFoundException");
    assert_eq!(code(put("no manifest").send().await), "InvalidParameterException");
}

#[tokio::test]
async fn delete_removes_tag_then_image() {
    let mut world = world();
    let image = world.push(ImageSpec::single("team/app", "1"));
    world.tag("team/app", "also", "1").unwrap();
    let index = world.push(ImageSpec::index("team/app", "index").platform("linux/amd64", ScanScript::never()));
    let (simulator, client) = start(world).await;
    let delete = |id| client.batch_delete_image().repository_name("team/app").image_ids(id).send();

    delete(tag("also")).await.unwrap();
    assert!(simulator.world(|world| world.image("team/app", &image.digest).is_some()));
    delete(tag("1")).await.unwrap();
    assert!(simulator.world(|world| world.image("team/app", &image.digest).is_none()));
    let referenced = delete(digest(index.child("linux/amd64").unwrap())).await.unwrap().failures.unwrap();
    assert_eq!(referenced[0].failure_code, Some(ImageFailureCode::ImageReferencedByManifestList));
}

#[tokio::test]
async fn wrong_member_type_is_serialization_error() {
    let (simulator, _client) = start(world()).await;

    let response = ecr(&simulator, "DescribeImages", &json!({"repositoryName": 7})).await.unwrap();
    assert_eq!(response.header("x-amzn-errortype"), Some("SerializationException"));
}
