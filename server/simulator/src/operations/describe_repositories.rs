//! `DescribeRepositories`.

use serde_json::{Value, json};

use super::{Request, is_own_registry, sparse_object};
use crate::clock::epoch_seconds;
use crate::wire::{Error, OperationResult, Paging};
use crate::world::{Repository, World};

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let (world, input) = (&*request.world, request.input);
    let size = input.max_results(1..=1000, 100)?;
    let own = is_own_registry(world, input)?;
    if let Some(names) = input.strings("repositoryNames", 1..=100)? {
        let registry = input.string("registryId")?.unwrap_or(world.account());
        let rows: Vec<Value> = names
            .iter()
            .map(|name| {
                let repository = world.find_repository(name).filter(|_| own);
                repository
                    .map(|repository| row(world, repository))
                    .ok_or_else(|| Error::repository_not_found(name, registry))
            })
            .collect::<Result<_, _>>()?;
        return Ok(json!({"repositories": rows}));
    }
    let rows: Vec<Value> = world.repositories().filter(|_| own).map(|repository| row(world, repository)).collect();
    let (range, next) = Paging::from_input(input, "repositories", size, request.paging_fault)?.page(rows.len());
    let page = rows.get(range).unwrap_or_default();
    Ok(sparse_object([("repositories", Some(json!(page))), ("nextToken", next.map(Value::from))]))
}

/// The wire form of a repository.
pub(super) fn row(world: &World, repository: &Repository) -> Value {
    let name = repository.name();
    json!({
        "repositoryArn": world.repository_arn(name), "registryId": world.account(), "repositoryName": name,
        "repositoryUri": format!("{}/{name}", world.registry_host()), "createdAt": epoch_seconds(repository.create_time()),
        "imageTagMutability": repository.mutability().as_str(),
        "imageScanningConfiguration": {"scanOnPush": repository.scans_on_push()},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    })
}
