//! `CreateRepository`.

use serde_json::json;

use super::{Request, describe_repositories, is_own_registry};
use crate::wire::{Error, Input, OperationResult};
use crate::world::TagMutability;

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let input = request.input;
    let name = input.repository_name()?;
    if !is_own_registry(request.world, input)? {
        return Err(Error::bad_request("AccessDeniedException", "The registry belongs to another account."));
    }
    if request.world.find_repository(name).is_some() {
        return Err(Error::bad_request(
            "RepositoryAlreadyExistsException",
            format!(
                "The repository with name '{name}' already exists in the registry with id '{}'",
                request.world.account()
            ),
        ));
    }
    let mutability = match input.string("imageTagMutability")? {
        Some(word) => TagMutability::parse(word).ok_or_else(|| {
            Error::parameter("imageTagMutability", "Member must satisfy enum value set: [MUTABLE, IMMUTABLE]")
        })?,
        None => TagMutability::Mutable,
    };
    let scanning = input.object("imageScanningConfiguration")?;
    let on_push = scanning.as_ref().map(|scanning: &Input| scanning.flag("scanOnPush"));
    let on_push = on_push.transpose()?.flatten().unwrap_or(false);
    request.world.repository(name).set_mutability(mutability).set_scan_on_push(on_push);
    let created = request.world.find_repository(name).map(|created| describe_repositories::row(request.world, created));
    Ok(json!({"repository": created}))
}
