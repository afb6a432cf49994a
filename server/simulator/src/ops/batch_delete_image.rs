//! `BatchDeleteImage`: by tag the tag goes (and the image with its last tag), by digest the image goes.

use serde_json::json;

use super::batch_get_image::{failure, find};
use super::{Request, repository};
use crate::wire::{Answer, Error, ImageId};

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let input = request.input;
    let ids = input.image_ids()?.ok_or_else(|| Error::parameter("imageIds", "must not be null"))?;
    let name = repository(request.world, input)?.name().to_owned();
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for id in &ids {
        let Some(repository) = request.world.find_repository_mut(&name) else { break };
        // An archived image cannot be pulled, but it can be deleted.
        let digest = match find(repository, id) {
            Ok(image) => image.digest().to_owned(),
            Err(("ImageInaccessible", _)) => id
                .reference()
                .and_then(|named| repository.image(named))
                .map(|image| image.digest().to_owned())
                .unwrap_or_default(),
            Err((code, reason)) => {
                failures.push(failure(id, code, reason));
                continue;
            }
        };
        if repository.images().any(|image| image.manifest.children.contains(&digest)) {
            let reason = "Requested image referenced by manifest list";
            failures.push(failure(id, "ImageReferencedByManifestList", reason));
            continue;
        }
        let last_tag = repository.tags_of(&digest).count() <= 1;
        match &id.tag {
            Some(tag) if id.digest.is_none() && !last_tag => repository.remove_tag(tag),
            Some(_) | None => repository.remove(&digest),
        }
        deleted.push(ImageId { digest: Some(digest), tag: id.tag.clone() }.to_json());
    }
    Ok(json!({"imageIds": deleted, "failures": failures}))
}
