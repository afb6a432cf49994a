//! `BatchGetImage`: manifests. What cannot be had is listed beside what can, in one 200 answer. It counts as a pull.

use serde_json::{Value, json};

use super::{Request, repository};
use crate::wire::{Answer, Error, ImageId};
use crate::world::manifest::{self, DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::world::{Image, ImageStatus, Repository};

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let (input, now) = (request.input, request.world.now());
    let ids = input.image_ids()?.ok_or_else(|| Error::parameter("imageIds", "must not be null"))?;
    let accepted = input.strings("acceptedMediaTypes", 1..=100)?;
    let repository = repository(request.world, input)?;
    let (mut images, mut failures, mut pulled) = (Vec::new(), Vec::new(), Vec::new());
    for id in &ids {
        match find(repository, id) {
            Ok(image) => {
                let (text, media_type) = translated(image, id, accepted.as_deref());
                pulled.push(image.digest().to_owned());
                images.push(json!({
                    "registryId": request.world.account(), "repositoryName": repository.name(),
                    "imageId": ImageId { digest: Some(manifest::digest(&text)), tag: id.tag.clone() }.to_json(),
                    "imageManifest": text, "imageManifestMediaType": media_type,
                }));
            }
            Err((code, reason)) => failures.push(failure(id, code, reason)),
        }
    }
    let name = repository.name().to_owned();
    if let Some(repository) = request.world.find_repository_mut(&name) {
        for digest in pulled {
            if let Some(image) = repository.image_mut(&digest) {
                image.pulled_at = Some(now);
            }
        }
    }
    Ok(json!({"images": images, "failures": failures}))
}

/// A row of `failures`.
pub(super) fn failure(id: &ImageId, code: &str, reason: &str) -> Value {
    json!({"imageId": id.to_json(), "failureCode": code, "failureReason": reason})
}

/// The image, or the failure's code and reason.
pub(super) fn find<'r>(repository: &'r Repository, id: &ImageId) -> Result<&'r Image, (&'static str, &'static str)> {
    let named = id.reference().ok_or(("MissingDigestAndTag", "Both imageDigest and imageTag are missing"))?;
    if id.digest.as_deref().is_some_and(|digest| !is_digest(digest)) {
        return Err((
            "InvalidImageDigest",
            "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
        ));
    }
    let image = repository
        .image(named)
        .filter(|image| id.digest.is_some() || repository.digest_of_tag(named) == Some(image.digest()))
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

/// By tag, ECR translates a single image between docker's and OCI's form when the client takes only the other, and the
/// bytes then have another digest. By digest it never does.
fn translated(image: &Image, id: &ImageId, accepted: Option<&[&str]>) -> (String, String) {
    let as_it_is = (image.manifest().to_owned(), image.media_type().to_owned());
    let Some(accepted) = accepted.filter(|accepted| id.digest.is_none() && !accepted.contains(&image.media_type()))
    else {
        return as_it_is;
    };
    let to_oci = [(DOCKER_MANIFEST, OCI_MANIFEST), (DOCKER_CONFIG, OCI_CONFIG), (DOCKER_LAYER, OCI_LAYER)];
    let (pairs, to) = match image.media_type() {
        DOCKER_MANIFEST if accepted.contains(&OCI_MANIFEST) => (to_oci, OCI_MANIFEST),
        OCI_MANIFEST if accepted.contains(&DOCKER_MANIFEST) => {
            (to_oci.map(|(docker, oci)| (oci, docker)), DOCKER_MANIFEST)
        }
        _ => return as_it_is,
    };
    let text = pairs.iter().fold(image.manifest().to_owned(), |text, (from, into)| text.replace(from, into));
    (text, to.to_owned())
}
