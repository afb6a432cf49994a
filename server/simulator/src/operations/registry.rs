//! The read-only operations on the registry itself.
#![expect(clippy::unnecessary_wraps, reason = "every operation has the same signature")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Request;
use crate::clock::{epoch_seconds, saturating_add};
use crate::wire::{Error, OperationResult};
use crate::world::ScanningConfig;

/// `DescribeRegistry`.
pub(super) fn describe(request: &mut Request<'_>) -> OperationResult {
    Ok(json!({"registryId": request.world.account(), "replicationConfiguration": {"rules": []}}))
}

/// `GetAuthorizationToken`. The token grants nothing; it exists for tools that require one.
pub(super) fn authorization_token(request: &mut Request<'_>) -> OperationResult {
    let expires_at = saturating_add(request.world.now(), Duration::from_hours(12));
    Ok(json!({"authorizationData": [{
        "authorizationToken": STANDARD.encode("AWS:simulated"), "expiresAt": epoch_seconds(expires_at),
        "proxyEndpoint": format!("https://{}", request.world.registry_host()),
    }]}))
}

/// `GetRegistryScanningConfiguration`.
pub(super) fn scanning_configuration(request: &mut Request<'_>) -> OperationResult {
    require_scanning_rules(request)?;
    Ok(json!({
        "registryId": request.world.account(),
        "scanningConfiguration": scanning_to_json(request.world.scanning()),
    }))
}

/// Refuses an operation on scanning rules in a Region that has none.
pub(super) fn require_scanning_rules(request: &Request<'_>) -> Result<(), Error> {
    if request.world.offers_enhanced_scanning() { Ok(()) } else { Err(Error::validation("This feature is disabled")) }
}

/// The wire form of the registry's scanning configuration.
pub(super) fn scanning_to_json(scanning: &ScanningConfig) -> Value {
    let rules: Vec<Value> = scanning
        .rules
        .iter()
        .map(|rule| json!({"scanFrequency": rule.frequency.as_str(), "repositoryFilters": filters_to_json(&rule.filters)}))
        .collect();
    json!({"scanType": scanning.scan_type.as_str(), "rules": rules})
}

/// The wire form of scan filters.
pub(super) fn filters_to_json(filters: &[String]) -> Value {
    filters.iter().map(|filter| json!({"filter": filter, "filterType": "WILDCARD"})).collect()
}
