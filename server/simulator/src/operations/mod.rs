//! The operations of ECR, one file each. Each reads the parameters, reads or changes the world, and returns a result.

mod batch_delete_image;
mod batch_get_image;
mod batch_get_repository_scanning_configuration;
mod create_repository;
mod describe_image_scan_findings;
mod describe_images;
mod describe_repositories;
mod enhanced_finding;
mod list_images;
mod put_image;
mod put_image_scanning_configuration;
mod put_registry_scanning_configuration;
mod registry;
mod start_image_scan;
mod update_image_storage_class;

use serde_json::{Map, Value};

use crate::server::Protocol;
use crate::wire::{Error, ImageId, Input, OperationResult, PagingFault};
use crate::world::{Image, Repository, World};

pub(crate) use enhanced_finding::{add_use, to_json as enhanced_finding_to_json};

/// The arguments of an operation.
pub(crate) struct Request<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) input: &'a Input,
    pub(crate) paging_fault: Option<PagingFault>,
}

pub(crate) type Operation = fn(&mut Request<'_>) -> OperationResult;

/// ECR's operations, by name.
const ECR: [(&str, Operation); 16] = [
    ("BatchDeleteImage", batch_delete_image::handle),
    ("BatchGetImage", batch_get_image::handle),
    ("BatchGetRepositoryScanningConfiguration", batch_get_repository_scanning_configuration::handle),
    ("CreateRepository", create_repository::handle),
    ("DescribeImageScanFindings", describe_image_scan_findings::handle),
    ("DescribeImages", describe_images::handle),
    ("DescribeRegistry", registry::describe),
    ("DescribeRepositories", describe_repositories::handle),
    ("GetAuthorizationToken", registry::authorization_token),
    ("GetRegistryScanningConfiguration", registry::scanning_configuration),
    ("ListImages", list_images::handle),
    ("PutImage", put_image::handle),
    ("PutImageScanningConfiguration", put_image_scanning_configuration::handle),
    ("PutRegistryScanningConfiguration", put_registry_scanning_configuration::handle),
    ("StartImageScan", start_image_scan::handle),
    ("UpdateImageStorageClass", update_image_storage_class::handle),
];

/// Inspector's operations, by name.
const INSPECTOR: [(&str, Operation); 4] = [
    ("BatchGetFindingDetails", crate::inspector::batch_get_finding_details),
    ("GetConfiguration", crate::inspector::get_configuration),
    ("ListCoverage", crate::inspector::list_coverage),
    ("ListFindings", crate::inspector::list_findings),
];

/// The operation with this name, in the service with this protocol.
pub(crate) fn find(name: &str, protocol: Protocol) -> Option<Operation> {
    let operations: &[(&str, Operation)] = match protocol {
        Protocol::AwsJson => &ECR,
        Protocol::RestJson => &INSPECTOR,
    };
    operations.iter().find(|(known, _)| *known == name).map(|(_, operation)| *operation)
}

/// Returns true if the request is for this registry. The simulator has no registries of other accounts.
fn is_own_registry(world: &World, input: &Input) -> Result<bool, Error> {
    let Some(id) = input.string("registryId")? else { return Ok(true) };
    if id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::parameter("registryId", "must satisfy regular expression '[0-9]{12}'"));
    }
    Ok(id == world.account())
}

/// The requested repository, in the requested registry.
fn require_repository<'w>(world: &'w World, input: &Input) -> Result<&'w Repository, Error> {
    let name = input.repository_name()?;
    let own = is_own_registry(world, input)?;
    let registry = input.string("registryId")?.unwrap_or(world.account());
    world.find_repository(name).filter(|_| own).ok_or_else(|| Error::repository_not_found(name, registry))
}

/// The image with this id. If the id has both a tag and a digest, they must agree.
fn find_image<'r>(repository: &'r Repository, id: &ImageId) -> Option<&'r Image> {
    let image = repository.image(id.reference()?)?;
    let tag_agrees = id.tag.as_ref().is_none_or(|tag| repository.digest_of_tag(tag) == Some(image.digest()));
    // A tag may look like a digest, and a digest like a tag: each must match in its own role.
    let digest_agrees = id.digest.as_ref().is_none_or(|digest| image.digest() == digest);
    (tag_agrees && digest_agrees).then_some(image)
}

/// The image with this id, or the error of operations that fail as a whole.
fn require_image<'r>(world: &World, repository: &'r Repository, id: &ImageId) -> Result<&'r Image, Error> {
    find_image(repository, id).ok_or_else(|| Error::image_not_found(id, repository.name(), world.account()))
}

/// The image id in a response: always the digest, and the tag if the request names one.
fn response_image_id(requested: &ImageId, image: &Image) -> Value {
    ImageId { digest: Some(image.digest().to_owned()), tag: requested.tag.clone() }.to_json()
}

/// A JSON object of the members that have a value.
fn sparse_object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members: Map<String, Value> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Value::Object(members)
}
