//! `UpdateImageStorageClass`: archives and restores an image. Restoring is immediate here; in AWS it takes minutes.

use serde_json::json;

use super::{Request, require_image, require_repository, response_image_id};
use crate::wire::{Error, OperationResult};
use crate::world::ImageStatus;

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let now = request.world.now();
    let id = request.input.image_id()?;
    let status = match request.input.required_string("targetStorageClass")? {
        "ARCHIVE" => ImageStatus::Archived,
        "STANDARD" => ImageStatus::Active,
        _ => {
            let set = "Member must satisfy enum value set: [STANDARD, ARCHIVE]";
            return Err(Error::parameter("targetStorageClass", set));
        }
    };
    let repository = require_repository(request.world, request.input)?;
    let image = require_image(request.world, repository, &id)?;
    let (name, digest, image_id) =
        (repository.name().to_owned(), image.digest().to_owned(), response_image_id(&id, image));
    if let Some(image) = request.world.find_repository_mut(&name).and_then(|existing| existing.image_mut(&digest)) {
        match status {
            ImageStatus::Archived => image.archive(now),
            ImageStatus::Active => image.activate(now),
        }
    }
    Ok(json!({
        "registryId": request.world.account(), "repositoryName": name, "imageId": image_id,
        "imageStatus": status.as_str(),
    }))
}
