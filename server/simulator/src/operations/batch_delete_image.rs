//! `BatchDeleteImage`: by tag it deletes the tag (and the image with its last tag), by digest the image.

use serde_json::json;

use super::batch_get_image::{FailureReason, failure_to_json, resolve};
use super::{Request, require_repository};
use crate::wire::{Error, ImageId, OperationResult};
use crate::world::Repository;

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let input = request.input;
    let ids = input.image_ids()?.ok_or_else(|| Error::parameter("imageIds", "must not be null"))?;
    let name = require_repository(request.world, input)?.name().to_owned();
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for id in &ids {
        let Some(repository) = request.world.find_repository_mut(&name) else { break };
        match delete(repository, id) {
            Ok(digest) => deleted.push(ImageId { digest: Some(digest), tag: id.tag.clone() }.to_json()),
            Err(reason) => failures.push(failure_to_json(id, reason)),
        }
    }
    Ok(json!({"imageIds": deleted, "failures": failures}))
}

/// Deletes the image or its tag, and returns the image's digest.
fn delete(repository: &mut Repository, id: &ImageId) -> Result<String, FailureReason> {
    // An archived image cannot be pulled, but it can be deleted.
    let digest = match resolve(repository, id) {
        Ok(image) => image.digest().to_owned(),
        Err(("ImageInaccessible", _)) => id
            .reference()
            .and_then(|reference| repository.image(reference))
            .map(|image| image.digest().to_owned())
            .unwrap_or_default(),
        Err(reason) => return Err(reason),
    };
    if repository.images().any(|image| image.manifest.children.contains(&digest)) {
        return Err(("ImageReferencedByManifestList", "Requested image referenced by manifest list"));
    }
    let is_last_tag = repository.tags_of(&digest).count() <= 1;
    match &id.tag {
        Some(tag) if id.digest.is_none() && !is_last_tag => repository.remove_tag(tag),
        Some(_) | None => repository.remove(&digest),
    }
    Ok(digest)
}
