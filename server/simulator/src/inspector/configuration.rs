//! `GetConfiguration`: Inspector's re-scan durations.
#![expect(clippy::unnecessary_wraps, reason = "every operation has the same signature")]

use serde_json::json;

use crate::clock::epoch_seconds;
use crate::operations::Request;
use crate::wire::OperationResult;

pub(crate) fn handle(request: &mut Request<'_>) -> OperationResult {
    let durations = request.world.rescan_durations();
    Ok(json!({
        "ecrConfiguration": {"rescanDurationState": {
            "rescanDuration": durations.since_push, "pullDateRescanDuration": durations.since_use,
            "pullDateRescanMode": durations.mode, "status": durations.status,
            "updatedAt": epoch_seconds(request.world.now()),
        }},
    }))
}
