//! `PutImage`: a manifest comes in. Layers are not kept, so whether they exist is not asked.

use serde_json::json;

use super::{Request, repository};
use crate::wire::{Answer, Error, ImageId};
use crate::world::manifest::Manifest;
use crate::world::{Repository, TagMutability, World};

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let input = request.input;
    let text = input.required_string("imageManifest")?;
    if !(1..=4_194_304).contains(&text.len()) {
        return Err(Error::parameter("imageManifest", "Member must have length between 1 and 4194304, inclusive"));
    }
    let (tag, declared) = (input.string("imageTag")?, input.string("imageManifestMediaType")?);
    let repository = repository(request.world, input)?;
    let manifest = Manifest::read(text.to_owned(), declared)
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

/// The digest is the one that was stated, and what an index refers to is there.
fn check_content(repository: &Repository, manifest: &Manifest, stated: Option<&str>) -> Result<(), Error> {
    if stated.is_some_and(|stated| stated != manifest.digest) {
        return Err(Error::refused(
            "ImageDigestDoesNotMatchException",
            "The specified image digest does not match the digest that Amazon ECR calculated for the image.",
        ));
    }
    if manifest.children.iter().any(|child| repository.image(child).is_none()) {
        return Err(Error::refused(
            "ReferencedImagesNotFoundException",
            "The manifest list is referencing an image that does not exist.",
        ));
    }
    Ok(())
}

/// The push changes something, and moves no tag that may not be moved.
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
        return Err(Error::refused("ImageAlreadyExistsException", message));
    }
    if let (Some(tag), Some(_), TagMutability::Immutable) = (tag, tagged, repository.mutability()) {
        let message = format!(
            "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the \
             repository is immutable."
        );
        return Err(Error::refused("ImageTagAlreadyExistsException", message));
    }
    Ok(())
}
