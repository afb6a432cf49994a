//! `BatchGetRepositoryScanningConfiguration`: the effective scan frequency of each repository.

use serde_json::{Value, json};

use super::{Request, registry};
use crate::wire::{Error, OperationResult};
use crate::world::{Repository, ScanFrequency, World};

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    registry::require_scanning_rules(request)?;
    let world = &*request.world;
    let names = request
        .input
        .strings("repositoryNames", 1..=25)?
        .ok_or_else(|| Error::parameter("repositoryNames", "must not be null"))?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match world.find_repository(name) {
            Some(repository) => found.push(row(world, repository)),
            None => failures.push(json!({
                "repositoryName": name, "failureCode": "REPOSITORY_NOT_FOUND",
                "failureReason": format!(
                    "The repository with name '{name}' does not exist in the registry with id '{}'", world.account()
                ),
            })),
        }
    }
    Ok(json!({"scanningConfigurations": found, "failures": failures}))
}

fn row(world: &World, repository: &Repository) -> Value {
    let effective = world.effective_scanning(repository);
    json!({
        "repositoryArn": world.repository_arn(repository.name()), "repositoryName": repository.name(),
        "scanOnPush": effective.frequency != ScanFrequency::Manual,
        "scanFrequency": effective.frequency.as_str(), "appliedScanFilters": registry::filters_to_json(&effective.filters),
    })
}
