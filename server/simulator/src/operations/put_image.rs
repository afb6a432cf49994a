//! `PutImage`: stores a manifest. Layers are not stored, and their existence is not checked.

use serde_json::json;

use super::{Request, require_repository};
use crate::wire::{Error, ImageId, OperationResult};
use crate::world::manifest::Manifest;
use crate::world::{Repository, TagMutability, World};

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let input = request.input;
    let text = input.required_string("imageManifest")?;
    if !(1..=4_194_304).contains(&text.len()) {
        return Err(Error::parameter("imageManifest", "Member must have length between 1 and 4194304, inclusive"));
    }
    let (tag, declared) = (input.string("imageTag")?, input.string("imageManifestMediaType")?);
    let repository = require_repository(request.world, input)?;
    let manifest = Manifest::parse(text.to_owned(), declared)
        .map_err(|error| Error::parameter("ImageManifest", &error.to_string()))?;
    check_content(repository, &manifest, input.string("imageDigest")?)?;
    check_tag(request.world, repository, &manifest.digest, tag)?;
    let name = repository.name().to_owned();
    let id = ImageId { digest: Some(manifest.digest.clone()), tag: tag.map(str::to_owned) };
    let media_type = manifest.media_type.clone();
    request.world.put(&name, manifest, tag);
    Ok(json!({"image": {
        "registryId": request.world.account(), "repositoryName": name, "imageId": id.to_json(),
        "imageManifest": text, "imageManifestMediaType": media_type,
    }}))
}

/// Checks that the digest equals the stated one, and that all images that an index references exist.
fn check_content(repository: &Repository, manifest: &Manifest, stated: Option<&str>) -> Result<(), Error> {
    if stated.is_some_and(|stated| stated != manifest.digest) {
        return Err(Error::bad_request(
            "ImageDigestDoesNotMatchException",
            "The specified image digest does not match the digest that Amazon ECR calculated for the image.",
        ));
    }
    if manifest.children.iter().any(|child| repository.image(child).is_none()) {
        return Err(Error::bad_request(
            "ReferencedImagesNotFoundException",
            "The manifest list is referencing an image that does not exist.",
        ));
    }
    Ok(())
}

/// Checks that the push changes something and does not move an immutable tag.
fn check_tag(world: &World, repository: &Repository, digest: &str, tag: Option<&str>) -> Result<(), Error> {
    let name = repository.name();
    let tagged = tag.and_then(|tag| repository.digest_of_tag(tag));
    if repository.image(digest).is_some() && (tag.is_none() || tagged == Some(digest)) {
        let tag = tag.unwrap_or("null");
        let message = format!(
            "Image with digest '{digest}' and tag '{tag}' already exists in the repository with name '{name}' in \
             registry with id '{}'",
            world.account()
        );
        return Err(Error::bad_request("ImageAlreadyExistsException", message));
    }
    if let (Some(tag), Some(_), TagMutability::Immutable) = (tag, tagged, repository.mutability()) {
        let message = format!(
            "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the \
             repository is immutable."
        );
        return Err(Error::bad_request("ImageTagAlreadyExistsException", message));
    }
    Ok(())
}
