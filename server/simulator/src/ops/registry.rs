//! The operations about the registry itself that only read.
#![expect(clippy::unnecessary_wraps, reason = "every operation has the same signature")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Request;
use crate::clock::{epoch, later};
use crate::wire::Answer;
use crate::world::ScanningConfig;

/// `DescribeRegistry`.
pub(super) fn describe(request: &mut Request<'_>) -> Answer {
    Ok(json!({"registryId": request.world.account(), "replicationConfiguration": {"rules": []}}))
}

/// `GetAuthorizationToken`. The token opens nothing; it is there for tools that insist on one.
pub(super) fn authorization_token(request: &mut Request<'_>) -> Answer {
    let expires_at = later(request.world.now(), Duration::from_hours(12));
    Ok(json!({"authorizationData": [{
        "authorizationToken": STANDARD.encode("AWS:simulated"), "expiresAt": epoch(expires_at),
        "proxyEndpoint": format!("https://{}", request.world.registry_host()),
    }]}))
}

/// `GetRegistryScanningConfiguration`.
pub(super) fn scanning_configuration(request: &mut Request<'_>) -> Answer {
    Ok(json!({
        "registryId": request.world.account(),
        "scanningConfiguration": scanning_as_json(request.world.scanning()),
    }))
}

/// The registry's scanning configuration as answers write it.
pub(super) fn scanning_as_json(scanning: &ScanningConfig) -> Value {
    let rules: Vec<Value> = scanning
        .rules
        .iter()
        .map(|rule| json!({"scanFrequency": rule.frequency.as_str(), "repositoryFilters": filters(&rule.filters)}))
        .collect();
    json!({"scanType": scanning.scan_type.as_str(), "rules": rules})
}

/// Scan filters as answers write them.
pub(super) fn filters(filters: &[String]) -> Value {
    filters.iter().map(|filter| json!({"filter": filter, "filterType": "WILDCARD"})).collect()
}
