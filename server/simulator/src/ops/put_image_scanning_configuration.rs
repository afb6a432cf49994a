//! `PutImageScanningConfiguration`: the old flag on the repository itself.

use serde_json::json;

use super::{Request, repository};
use crate::wire::{Answer, Error};

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let given = request
        .input
        .object("imageScanningConfiguration")?
        .ok_or_else(|| Error::parameter("imageScanningConfiguration", "must not be null"))?;
    let on = given.flag("scanOnPush")?.unwrap_or(false);
    let name = repository(request.world, request.input)?.name().to_owned();
    request.world.repository(&name).set_scan_on_push(on);
    Ok(json!({
        "registryId": request.world.account(), "repositoryName": name,
        "imageScanningConfiguration": {"scanOnPush": on},
    }))
}
