//! The operations of ECR: one file each, all of the shape "read the parameters, look at the world, answer".

mod batch_delete_image;
mod batch_get_image;
mod batch_get_repository_scanning_configuration;
mod create_repository;
mod describe_image_scan_findings;
mod describe_images;
mod describe_repositories;
mod enhanced_view;
mod list_images;
mod put_image;
mod put_image_scanning_configuration;
mod put_registry_scanning_configuration;
mod registry;
mod start_image_scan;
mod update_image_storage_class;

use serde_json::{Map, Value};

use crate::server::Protocol;
use crate::wire::{Answer, Error, ImageId, Input, Twist};
use crate::world::{Image, Repository, World};

pub(crate) use enhanced_view::of_image as enhanced_finding_of_image;

/// What an operation works with.
pub(crate) struct Request<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) input: &'a Input,
    /// A fault of paging to make.
    pub(crate) twist: Option<Twist>,
}

/// An operation.
pub(crate) type Operation = fn(&mut Request<'_>) -> Answer;

/// ECR's operations, by name.
const ECR: [(&str, Operation); 16] = [
    ("BatchDeleteImage", batch_delete_image::answer),
    ("BatchGetImage", batch_get_image::answer),
    ("BatchGetRepositoryScanningConfiguration", batch_get_repository_scanning_configuration::answer),
    ("CreateRepository", create_repository::answer),
    ("DescribeImageScanFindings", describe_image_scan_findings::answer),
    ("DescribeImages", describe_images::answer),
    ("DescribeRegistry", registry::describe),
    ("DescribeRepositories", describe_repositories::answer),
    ("GetAuthorizationToken", registry::authorization_token),
    ("GetRegistryScanningConfiguration", registry::scanning_configuration),
    ("ListImages", list_images::answer),
    ("PutImage", put_image::answer),
    ("PutImageScanningConfiguration", put_image_scanning_configuration::answer),
    ("PutRegistryScanningConfiguration", put_registry_scanning_configuration::answer),
    ("StartImageScan", start_image_scan::answer),
    ("UpdateImageStorageClass", update_image_storage_class::answer),
];

/// Inspector's operations, by name.
const INSPECTOR: [(&str, Operation); 3] = [
    ("BatchGetFindingDetails", crate::inspector::batch_get_finding_details),
    ("ListCoverage", crate::inspector::list_coverage),
    ("ListFindings", crate::inspector::list_findings),
];

/// The operation of that name in the service that speaks the protocol.
pub(crate) fn find(name: &str, protocol: Protocol) -> Option<Operation> {
    let known: &[(&str, Operation)] = match protocol {
        Protocol::Json => &ECR,
        Protocol::Rest => &INSPECTOR,
    };
    known.iter().find(|(known, _)| *known == name).map(|(_, operation)| *operation)
}

/// Whether the request is for this registry. Another account's is as good as not there.
fn own_registry(world: &World, input: &Input) -> Result<bool, Error> {
    let Some(id) = input.string("registryId")? else { return Ok(true) };
    if id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::parameter("registryId", "must satisfy regular expression '[0-9]{12}'"));
    }
    Ok(id == world.account())
}

/// The repository that the request names, in the registry that it names.
fn repository<'w>(world: &'w World, input: &Input) -> Result<&'w Repository, Error> {
    let name = input.repository_name()?;
    let own = own_registry(world, input)?;
    let registry = input.string("registryId")?.unwrap_or(world.account());
    world.find_repository(name).filter(|_| own).ok_or_else(|| Error::repository_not_found(name, registry))
}

/// The image that an id names; a tag and a digest must agree.
fn find_image<'r>(repository: &'r Repository, id: &ImageId) -> Option<&'r Image> {
    let image = repository.image(id.reference()?)?;
    let agrees = id.tag.as_ref().is_none_or(|tag| repository.digest_of_tag(tag) == Some(image.digest()));
    // A tag is looked up as a tag and a digest as a digest, whatever they look like.
    let by_digest = id.digest.as_ref().is_none_or(|digest| image.digest() == digest);
    (agrees && by_digest).then_some(image)
}

/// The same, for operations that fail as a whole.
fn image<'r>(world: &World, repository: &'r Repository, id: &ImageId) -> Result<&'r Image, Error> {
    find_image(repository, id).ok_or_else(|| Error::image_not_found(id, repository.name(), world.account()))
}

/// The id as an answer writes it: asked by tag it carries both, asked by digest the digest.
fn answered_id(asked: &ImageId, image: &Image) -> Value {
    ImageId { digest: Some(image.digest().to_owned()), tag: asked.tag.clone() }.to_json()
}

/// The members of an object that are there.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let members: Map<String, Value> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Value::Object(members)
}
