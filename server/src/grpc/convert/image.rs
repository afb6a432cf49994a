//! Images, repositories, registries and platforms.

use scangate_core::{
    image::{self, Image, ImageReference, Platform, Repository, RepositoryName},
    registry::Registry as RegistryId,
};
use scangate_proto::v1;

use super::time::render_timestamp;
use crate::grpc::field_violations::Fields;

/// The most platforms that a call names.
const MAX_PLATFORMS: usize = 64;

/// An image reference.
pub(crate) fn parse_image_reference(fields: &mut Fields, path: &str, given: &str) -> Option<ImageReference> {
    fields.check(path, ImageReference::parse(given))
}

/// A repository, in the default registry where no host is named.
pub(crate) fn parse_repository(
    fields: &mut Fields,
    path: &str,
    given: &str,
    default: &RegistryId,
) -> Option<Repository> {
    let (registry, name) = fields.check(path, image::parse_repository(given))?;
    Some(Repository { registry: registry.unwrap_or_else(|| default.clone()), name })
}

/// A registry, the default where none is named.
pub(crate) fn parse_registry(fields: &mut Fields, path: &str, given: &str, default: &RegistryId) -> Option<RegistryId> {
    if given.is_empty() {
        return Some(default.clone());
    }
    fields.check(path, RegistryId::parse(given))
}

/// Names of repositories.
pub(crate) fn parse_repository_names(fields: &mut Fields, path: &str, given: &[String]) -> Vec<RepositoryName> {
    fields.each(path, given, |fields, path, name| fields.check(path, RepositoryName::parse(name)))
}

/// Platforms that a caller narrows an index to.
pub(crate) fn parse_platforms(fields: &mut Fields, given: &[v1::Platform]) -> Vec<Platform> {
    fields.check_length("platforms", given.len(), MAX_PLATFORMS);
    fields.each("platforms", given, parse_platform)
}

/// A platform.
pub(crate) fn parse_platform(fields: &mut Fields, path: &str, given: &v1::Platform) -> Option<Platform> {
    let variant = if given.variant.is_empty() { String::new() } else { format!("/{}", given.variant) };
    fields.check(path, Platform::parse(&format!("{}/{}{variant}", given.os, given.architecture)))
}

/// A platform for the wire.
pub(crate) fn render_platform(platform: &Platform) -> v1::Platform {
    v1::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}

/// A resolved image for the wire.
pub(crate) fn render_image(image: &Image) -> v1::Image {
    v1::Image {
        registry_id: image.registry.account().to_owned(),
        region: image.registry.region().to_owned(),
        repository: image.repository.to_string(),
        tag: image.tag.as_ref().map(ToString::to_string).unwrap_or_default(),
        digest: image.digest.to_string(),
        pushed_at: image.pushed_at.map(render_timestamp),
    }
}
