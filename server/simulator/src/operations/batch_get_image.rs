//! `BatchGetImage`: returns manifests, and failures beside them in the same response with HTTP 200. It counts as a pull.

use serde_json::{Value, json};

use super::{Request, require_repository};
use crate::wire::{Error, ImageId, OperationResult};
use crate::world::manifest::{self, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::world::{Image, ImageStatus, Repository};

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let (input, now) = (request.input, request.world.now());
    let ids = input.image_ids()?.ok_or_else(|| Error::parameter("imageIds", "must not be null"))?;
    let accepted = input.strings("acceptedMediaTypes", 1..=100)?;
    let repository = require_repository(request.world, input)?;
    let (mut images, mut failures, mut pulled) = (Vec::new(), Vec::new(), Vec::new());
    for id in &ids {
        match resolve(repository, id) {
            Ok(image) => {
                let (text, media_type) = translate_media_type(image, id, accepted.as_deref());
                pulled.push(image.digest().to_owned());
                images.push(json!({
                    "registryId": request.world.account(), "repositoryName": repository.name(),
                    "imageId": ImageId { digest: Some(manifest::digest(&text)), tag: id.tag.clone() }.to_json(),
                    "imageManifest": text, "imageManifestMediaType": media_type,
                }));
            }
            Err(reason) => failures.push(failure_to_json(id, reason)),
        }
    }
    let name = repository.name().to_owned();
    if let Some(repository) = request.world.find_repository_mut(&name) {
        for digest in pulled {
            if let Some(image) = repository.image_mut(&digest) {
                image.pull_time = Some(now);
            }
        }
    }
    Ok(json!({"images": images, "failures": failures}))
}

/// The code and the text of a failed batch item.
pub(super) type FailureReason = (&'static str, &'static str);

/// A row of `failures`.
pub(super) fn failure_to_json(id: &ImageId, (code, text): FailureReason) -> Value {
    json!({"imageId": id.to_json(), "failureCode": code, "failureReason": text})
}

/// The image with this id, or the reason why the batch item fails.
pub(super) fn resolve<'r>(repository: &'r Repository, id: &ImageId) -> Result<&'r Image, FailureReason> {
    let reference = id.reference().ok_or(("MissingDigestAndTag", "Both imageDigest and imageTag are missing"))?;
    if id.digest.as_deref().is_some_and(|digest| !is_digest(digest)) {
        return Err((
            "InvalidImageDigest",
            "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
        ));
    }
    let image = repository
        .image(reference)
        .filter(|image| id.digest.is_some() || repository.digest_of_tag(reference) == Some(image.digest()))
        .ok_or(("ImageNotFound", "Requested image not found"))?;
    if let (Some(tag), Some(digest)) = (&id.tag, &id.digest)
        && repository.digest_of_tag(tag) != Some(digest)
    {
        return Err(("ImageTagDoesNotMatchDigest", "The image tag does not match the image digest"));
    }
    if image.status() == ImageStatus::Archived {
        return Err(("ImageInaccessible", "The image is archived"));
    }
    Ok(image)
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hash)| {
        !algorithm.is_empty() && !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Returns the manifest and its media type, translated between Docker's and OCI's form if need be.
///
/// By tag, ECR translates a single image if the client accepts only the other form; the bytes then have another digest.
/// By digest it never translates.
fn translate_media_type(image: &Image, id: &ImageId, accepted: Option<&[&str]>) -> (String, String) {
    let original = (image.manifest().to_owned(), image.media_type().to_owned());
    let Some(accepted) = accepted.filter(|accepted| id.digest.is_none() && !accepted.contains(&image.media_type()))
    else {
        return original;
    };
    let to_oci = [(DOCKER_MANIFEST, OCI_MANIFEST), (DOCKER_CONFIG, OCI_CONFIG), (DOCKER_LAYER, OCI_LAYER)];
    let (pairs, to) = match image.media_type() {
        DOCKER_MANIFEST if accepted.contains(&OCI_MANIFEST) => (to_oci, OCI_MANIFEST),
        OCI_MANIFEST if accepted.contains(&DOCKER_MANIFEST) => {
            (to_oci.map(|(docker, oci)| (oci, docker)), DOCKER_MANIFEST)
        }
        _ => return original,
    };
    let text = pairs.iter().fold(image.manifest().to_owned(), |text, (from, into)| text.replace(from, into));
    (text, to.to_owned())
}
