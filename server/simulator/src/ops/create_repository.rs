//! `CreateRepository`.

use serde_json::json;

use super::{Request, describe_repositories, own_registry};
use crate::wire::{Answer, Error, Input};
use crate::world::TagMutability;

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let input = request.input;
    let name = input.repository_name()?;
    if !own_registry(request.world, input)? {
        return Err(Error::refused("AccessDeniedException", "The registry belongs to another account."));
    }
    if request.world.find_repository(name).is_some() {
        return Err(Error::refused(
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
    let scanning = input.object("imageScanningConfiguration")?.as_ref().map(|given: &Input| given.flag("scanOnPush"));
    let on_push = scanning.transpose()?.flatten().unwrap_or(false);
    request.world.repository(name).set_mutability(mutability).set_scan_on_push(on_push);
    let made = request.world.find_repository(name).map(|made| describe_repositories::row(request.world, made));
    Ok(json!({"repository": made}))
}
