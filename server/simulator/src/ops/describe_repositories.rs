//! `DescribeRepositories`.

use serde_json::{Value, json};

use super::{Request, object, own_registry};
use crate::clock::epoch;
use crate::wire::{Answer, Error, Paging};
use crate::world::{Repository, World};

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let (world, input) = (&*request.world, request.input);
    let size = input.max_results(1..=1000, 100)?;
    let own = own_registry(world, input)?;
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
    let (range, next) = Paging::read(input, "repositories", size, request.twist)?.of(rows.len());
    let page = rows.get(range).unwrap_or_default();
    Ok(object([("repositories", Some(json!(page))), ("nextToken", next.map(Value::from))]))
}

/// A repository as answers write it.
pub(super) fn row(world: &World, repository: &Repository) -> Value {
    let name = repository.name();
    json!({
        "repositoryArn": world.repository_arn(name), "registryId": world.account(), "repositoryName": name,
        "repositoryUri": format!("{}/{name}", world.registry_host()), "createdAt": epoch(repository.created_at()),
        "imageTagMutability": repository.mutability().as_str(),
        "imageScanningConfiguration": {"scanOnPush": repository.scans_on_push()},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    })
}
