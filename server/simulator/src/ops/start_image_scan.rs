//! `StartImageScan`: a basic scan by hand, at most once a day for each image, scan-on-push included.

use std::time::Duration;

use serde_json::json;

use super::{Request, answered_id, image, repository};
use crate::clock::later;
use crate::wire::{Answer, Error};
use crate::world::{ImageStatus, ScanType};

const DAY: Duration = Duration::from_hours(24);

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let now = request.world.now();
    let id = request.input.image_id()?;
    let repository = repository(request.world, request.input)?;
    let image = image(request.world, repository, &id)?;
    if request.world.scanning().scan_type == ScanType::Enhanced {
        return Err(Error::validation("This feature is disabled"));
    }
    if image.status() == ImageStatus::Archived {
        return Err(Error::refused("ImageArchivedException", "The specified image is archived and cannot be scanned."));
    }
    if !image.manifest.scannable {
        let media_type = image.media_type();
        return Err(Error::refused(
            "UnsupportedImageTypeException",
            format!(
                "An artifact with media type '{media_type}' cannot be scanned. For more information, see the Amazon \
                 ECR documentation."
            ),
        ));
    }
    if image.scan.started_at.is_some_and(|started_at| started_at <= now && now < later(started_at, DAY)) {
        return Err(Error::refused(
            "LimitExceededException",
            "The scan quota per image has been exceeded. Wait and try again.",
        ));
    }
    let (name, digest, answered) = (repository.name().to_owned(), image.digest().to_owned(), answered_id(&id, image));
    if let Some(image) = request.world.find_repository_mut(&name).and_then(|held| held.image_mut(&digest)) {
        image.scan.started_at = Some(now);
        image.scan.kind = ScanType::Basic;
    }
    Ok(json!({
        "registryId": request.world.account(), "repositoryName": name, "imageId": answered,
        "imageScanStatus": {"status": "IN_PROGRESS"},
    }))
}
