//! `PutImageScanningConfiguration`: the repository's own scan-on-push flag, superseded by the registry's rules.

use serde_json::json;

use super::{Request, require_repository};
use crate::wire::{Error, OperationResult};

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let scanning = request
        .input
        .object("imageScanningConfiguration")?
        .ok_or_else(|| Error::parameter("imageScanningConfiguration", "must not be null"))?;
    let on_push = scanning.flag("scanOnPush")?.unwrap_or(false);
    let name = require_repository(request.world, request.input)?.name().to_owned();
    request.world.repository(&name).set_scan_on_push(on_push);
    Ok(json!({
        "registryId": request.world.account(), "repositoryName": name,
        "imageScanningConfiguration": {"scanOnPush": on_push},
    }))
}
