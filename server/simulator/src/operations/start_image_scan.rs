//! `StartImageScan`: starts a basic scan, at most once in 24 hours for each image. Scan-on-push counts towards the limit.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{Request, require_image, require_repository, response_image_id};
use crate::clock::saturating_add;
use crate::wire::{Error, OperationResult};
use crate::world::{Image, ImageStatus, ScanType, World};

const SCAN_LIMIT_WINDOW: Duration = Duration::from_hours(24);

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let now = request.world.now();
    let id = request.input.image_id()?;
    let repository = require_repository(request.world, request.input)?;
    let image = require_image(request.world, repository, &id)?;
    check_scannable(request.world, image, now)?;
    let (name, digest, image_id) =
        (repository.name().to_owned(), image.digest().to_owned(), response_image_id(&id, image));
    if let Some(image) = request.world.find_repository_mut(&name).and_then(|existing| existing.image_mut(&digest)) {
        image.scan.started_at = Some(now);
        image.scan.kind = ScanType::Basic;
    }
    Ok(json!({
        "registryId": request.world.account(), "repositoryName": name, "imageId": image_id,
        "imageScanStatus": {"status": "IN_PROGRESS"},
    }))
}

/// Checks that the registry, the image and the daily limit permit a scan.
fn check_scannable(world: &World, image: &Image, now: Timestamp) -> Result<(), Error> {
    if world.scanning().scan_type == ScanType::Enhanced {
        return Err(Error::validation("This feature is disabled"));
    }
    if image.status() == ImageStatus::Archived {
        return Err(Error::bad_request(
            "ImageArchivedException",
            "The specified image is archived and cannot be scanned.",
        ));
    }
    if !image.manifest.scannable {
        let media_type = image.media_type();
        return Err(Error::bad_request(
            "UnsupportedImageTypeException",
            format!(
                "An artifact with media type '{media_type}' cannot be scanned. For more information, see the Amazon \
                 ECR documentation."
            ),
        ));
    }
    if image
        .scan
        .started_at
        .is_some_and(|started_at| started_at <= now && now < saturating_add(started_at, SCAN_LIMIT_WINDOW))
    {
        return Err(Error::bad_request(
            "LimitExceededException",
            "The scan quota per image has been exceeded. Wait and try again.",
        ));
    }
    Ok(())
}
