//! `UpdateImageStorageClass`: into the archive and back. Coming back is immediate here; in AWS it takes minutes.

use serde_json::json;

use super::{Request, answered_id, image, repository};
use crate::wire::{Answer, Error};
use crate::world::ImageStatus;

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
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
    let repository = repository(request.world, request.input)?;
    let image = image(request.world, repository, &id)?;
    let (name, digest, answered) = (repository.name().to_owned(), image.digest().to_owned(), answered_id(&id, image));
    if let Some(image) = request.world.find_repository_mut(&name).and_then(|held| held.image_mut(&digest)) {
        match status {
            ImageStatus::Archived => image.archive(now),
            ImageStatus::Active => image.activate(now),
        }
    }
    Ok(json!({
        "registryId": request.world.account(), "repositoryName": name, "imageId": answered,
        "imageStatus": status.as_str(),
    }))
}
