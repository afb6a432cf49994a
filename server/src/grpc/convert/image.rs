//! Conversions of images, repositories, registries and platforms.

use scangate_core::{
    image::{self, Image, ImageReference, Platform, Repository, RepositoryName},
    registry::Registry as RegistryId,
};
use scangate_proto::v1;

use super::time::render_timestamp;
use crate::grpc::field_violations::Fields;

/// The most platforms that a request selects.
const MAX_PLATFORMS: usize = 64;

/// Parses an image reference and the platforms of an index that a request selects.
pub(crate) fn parse_selection(
    fields: &mut Fields,
    image: &str,
    platforms: &[v1::Platform],
) -> Option<(ImageReference, Vec<Platform>)> {
    let image = parse_image_reference(fields, image);
    let platforms = parse_platforms(fields, platforms);
    Some((image?, platforms))
}

/// Parses an image reference.
pub(super) fn parse_image_reference(fields: &mut Fields, image: &str) -> Option<ImageReference> {
    fields.check("image", ImageReference::parse(image))
}

/// Parses the platforms that a request selects.
pub(super) fn parse_platforms(fields: &mut Fields, platforms: &[v1::Platform]) -> Vec<Platform> {
    fields.check_length("platforms", platforms.len(), MAX_PLATFORMS);
    fields.each("platforms", platforms, parse_platform)
}

/// Parses a repository; without a host it is in the default registry.
pub(crate) fn parse_repository(
    fields: &mut Fields,
    path: &str,
    text: &str,
    default: &RegistryId,
) -> Option<Repository> {
    let (registry, name) = fields.check(path, image::parse_repository(text))?;
    Some(Repository { registry: registry.unwrap_or_else(|| default.clone()), name })
}

/// Parses a registry; empty is the default registry.
pub(crate) fn parse_registry(fields: &mut Fields, path: &str, text: &str, default: &RegistryId) -> Option<RegistryId> {
    if text.is_empty() {
        return Some(default.clone());
    }
    fields.check(path, RegistryId::parse(text))
}

/// Parses names of repositories.
pub(crate) fn parse_repository_names(fields: &mut Fields, path: &str, names: &[String]) -> Vec<RepositoryName> {
    fields.each(path, names, |fields, path, name| fields.check(path, RepositoryName::parse(name)))
}

/// Parses a platform.
pub(crate) fn parse_platform(fields: &mut Fields, path: &str, platform: &v1::Platform) -> Option<Platform> {
    fn set(text: &str) -> Option<&str> {
        Some(text).filter(|text| !text.is_empty())
    }
    let v1::Platform { os, os_version, architecture, variant } = platform;
    fields.check(path, Platform::new(os, set(os_version), architecture, set(variant)))
}

/// Renders a platform.
pub(crate) fn render_platform(platform: &Platform) -> v1::Platform {
    v1::Platform {
        os: platform.os.clone(),
        os_version: platform.os_version.clone().unwrap_or_default(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}

/// Renders a resolved image.
pub(crate) fn render_image(image: &Image) -> v1::Image {
    v1::Image {
        registry_id: image.registry.account().to_owned(),
        region: image.registry.region().to_owned(),
        repository: image.repository.to_string(),
        tag: image.tag.as_ref().map(ToString::to_string).unwrap_or_default(),
        digest: image.digest.to_string(),
        push_time: image.push_time.map(render_timestamp),
    }
}
