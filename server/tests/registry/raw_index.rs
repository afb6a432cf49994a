//! Indexes whose descriptors differ from what the repository holds.

use std::sync::Arc;

use scangate_core::image::Platform;
use scangate_ecr_simulator::{Fault, ImageSpec, ScanScript, World};
use scangate_server::registry::{Error, Resolved};

use crate::support::{APP, IMAGE, ecr};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const UNKNOWN: &str = "application/vnd.acme+json";
const AMD64: &str = r#","platform":{"os":"linux","architecture":"amd64"}"#;

fn digest(number: usize) -> String {
    format!("sha256:{number:064x}")
}

fn descriptor(media_type: &str, digest: &str, more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}"{more}}}"#)
}

fn index_of(descriptors: &[String]) -> ImageSpec {
    let text = format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, descriptors.join(","));
    ImageSpec::raw(APP, "1", &text, None)
}

async fn resolve(mut world: World, descriptors: &[String], platforms: &[&str]) -> Resolved {
    world.push(index_of(descriptors));
    match ecr(world).await.resolve_for(IMAGE, platforms).await {
        Ok(resolved) => Arc::unwrap_or_clone(resolved),
        Err(error) => panic!("{IMAGE} cannot be resolved: {error}"),
    }
}

/// An image for linux/amd64 in a repository, with its descriptor.
fn with_amd64() -> (World, String) {
    let mut world = World::new();
    let amd64 = world.push(ImageSpec::single(APP, "amd64").scan(ScanScript::clean())).digest;
    (world, descriptor(OCI_MANIFEST, &amd64, AMD64))
}

#[tokio::test]
async fn image_of_unknown_type_cannot_be_hidden() {
    let image = format!(r#""config":{{"mediaType":"{OCI_CONFIG}"}},"layers":[{{"mediaType":"{OCI_LAYER}"}}]"#);
    for (members, is_readable) in [(image.as_str(), true), (r#""blobs":[]"#, false), (r#""fsLayers":[]"#, false)] {
        let (mut world, amd64) = with_amd64();
        let text = format!(r#"{{"mediaType":"{UNKNOWN}",{members}}}"#);
        let hidden = world.push(ImageSpec::raw(APP, "x", &text, None)).digest;

        let resolved = resolve(world, &[amd64, descriptor(OCI_MANIFEST, &hidden, AMD64)], &[]).await;

        let [_, hidden] = resolved.manifests.as_slice() else { panic!("{members}: {resolved:?}") };
        assert_eq!(hidden.is_readable_image(), is_readable, "{members}");
    }
}

#[tokio::test]
async fn long_media_type_of_child_is_cut() {
    let (world, amd64) = with_amd64();
    let long = "x".repeat(1_000_000);

    let resolved = resolve(world, &[amd64, descriptor(&long, &digest(1), "")], &[]).await;

    let reason = resolved.manifests.last().unwrap().unreadable.as_deref().unwrap();
    assert!(reason.len() < 500, "{} bytes", reason.len());
}

#[tokio::test]
async fn huge_index_is_refused_and_read_once() {
    let mut world = World::new();
    let descriptors: Vec<_> = (0..40_000).map(|number| format!(r#"{{"digest":"{}"}}"#, digest(number))).collect();
    world.push(index_of(&descriptors));
    let harness = ecr(world).await;

    for _ in 0..2 {
        let error = harness.resolve(IMAGE).await.unwrap_err();
        assert!(matches!(error, Error::TooComplex(_)), "{error:?}");
    }
    assert_eq!(harness.calls("BatchGetImage"), 1);
}

#[tokio::test]
async fn missing_children_are_remembered() {
    let (mut world, amd64) = with_amd64();
    let missing = (1..64).map(|number| {
        let platform = format!(r#","platform":{{"os":"linux","architecture":"arch{number}"}}"#);
        descriptor(OCI_MANIFEST, &digest(number), &platform)
    });
    world.push(index_of(&[amd64].into_iter().chain(missing).collect::<Vec<_>>()));
    let harness = ecr(world).await;

    let resolved = harness.resolve(IMAGE).await.unwrap();
    let first = harness.calls("DescribeImages");
    let again = harness.resolve(IMAGE).await.unwrap();

    assert_eq!(resolved, again);
    assert_eq!(resolved.manifests.iter().filter(|manifest| manifest.unreadable.is_some()).count(), 63);
    assert!(first <= 1 + 2 + 8 + 64, "{first} calls");
    assert_eq!(harness.calls("DescribeImages"), first + 2);
}

#[tokio::test]
async fn failed_lookup_of_child_is_not_remembered() {
    let (mut world, amd64) = with_amd64();
    let arm64 = r#","platform":{"os":"linux","architecture":"arm64"}"#;
    world.push(index_of(&[amd64, descriptor(OCI_MANIFEST, &digest(1), arm64)]));
    let harness = ecr(world).await;
    // The image and the whole index are described, and then each child by itself.
    harness
        .simulator
        .faults()
        .script(Fault::error("ServerException", "out of order").on("DescribeImages").skip(3).times(20));

    harness.resolve(IMAGE).await.unwrap_err();
    harness.simulator.faults().clear();
    let resolved = harness.resolve(IMAGE).await.unwrap();

    let readable: Vec<_> = resolved.manifests.iter().map(|manifest| manifest.unreadable.is_none()).collect();
    assert_eq!(readable, [true, false]);
}

#[tokio::test]
async fn missing_child_of_unknown_type_decides_nothing() {
    let unknown = descriptor(UNKNOWN, &digest(1), "");
    let image = descriptor(OCI_MANIFEST, &digest(1), "");
    for (child, platforms, expected) in
        [(&unknown, ["linux/amd64"].as_slice(), 1), (&unknown, &[], 2), (&image, &["linux/amd64"], 2)]
    {
        let (world, amd64) = with_amd64();

        let resolved = resolve(world, &[amd64, child.clone()], platforms).await;

        assert_eq!(resolved.manifests.len(), expected, "{child} for {platforms:?}");
        assert_eq!(resolved.is_complete, expected == 2);
        assert_eq!(resolved.platforms, [Platform::parse("linux/amd64").unwrap()]);
    }
}
