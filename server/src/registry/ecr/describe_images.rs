//! Two reads of ECR: descriptions of images, and the bytes of a manifest.

use aws_sdk_ecr::types::{
    DescribeImagesFilter, Image, ImageDetail, ImageFailure, ImageIdentifier, ImageStatus, ImageStatusFilter,
};
use jiff::Timestamp;
use scangate_core::{
    image::{Digest, Repository},
    scan::Content,
};
use sha2::{Digest as _, Sha256};

use super::{
    diagnostics::timestamp,
    error::{malformed, sanitize},
    manifest::{self, MANIFEST_TYPES},
    operation::Operation,
    registry_client::RegistryClient,
    retry::Deadline,
};
use crate::registry::{Error, Source};

pub(super) const DESCRIBE_IMAGES: Operation = Operation::read("DescribeImages");
const BATCH_GET_IMAGE: Operation = Operation::read("BatchGetImage");

/// The size limit of manifests in ECR.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// ECR's description of an image.
#[derive(Clone, Debug)]
pub(super) struct ImageDescription {
    pub(super) digest: Digest,
    pub(super) pushed_at: Option<Timestamp>,
    /// The media type of the manifest.
    pub(super) media_type: Option<String>,
    pub(super) content: Content,
    /// True if the image cannot be pulled now: it is archived or being restored.
    pub(super) archived: bool,
}

/// The images to search.
///
/// Active images are requested without a filter. AWS does not document whether a filter works together with image ids,
/// so the lookup of active images must not rely on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArchiveFilter {
    /// Images that can be pulled.
    Active,
    /// Archived images, too.
    All,
}

/// Describes images. If one of them is unknown, ECR fails the whole request; the error reports `image` as not found.
pub(super) async fn describe(
    client: &RegistryClient,
    repository: &Repository,
    ids: &[ImageIdentifier],
    filter: ArchiveFilter,
    image: &str,
    deadline: Deadline,
) -> Result<Vec<ImageDescription>, Error> {
    let any_status = || DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
    let request = client
        .ecr
        .describe_images()
        .registry_id(repository.registry.account())
        .repository_name(repository.name.as_str())
        .set_image_ids(Some(ids.to_vec()))
        .set_filter((filter == ArchiveFilter::All).then(any_status));
    let response = client
        .retry
        .call(DESCRIBE_IMAGES, deadline, || request.clone().send())
        .await
        .map_err(|error| error.into_image_error(DESCRIBE_IMAGES, repository, image))?;
    let details = response.image_details.ok_or_else(|| malformed(DESCRIBE_IMAGES, "imageDetails are missing"))?;
    details.into_iter().map(|detail| to_description(detail, repository)).collect()
}

fn to_description(detail: ImageDetail, repository: &Repository) -> Result<ImageDescription, Error> {
    verify_repository(DESCRIBE_IMAGES, repository, detail.registry_id.as_deref(), detail.repository_name.as_deref())?;
    let digest = detail.image_digest.unwrap_or_default();
    let digest = Digest::parse(&digest).map_err(|error| malformed(DESCRIBE_IMAGES, error.to_string()))?;
    let pushed_at = match &detail.image_pushed_at {
        Some(time) => Some(timestamp(time).ok_or_else(|| malformed(DESCRIBE_IMAGES, "imagePushedAt is out of range"))?),
        None => None,
    };
    let is_image = detail.artifact_media_type.as_deref().is_none_or(manifest::is_image_config);
    let content = if is_image && detail.subject_manifest_digest.is_none() { Content::Image } else { Content::Artifact };
    let archived = detail.image_status.is_some_and(|status| status != ImageStatus::Active);
    Ok(ImageDescription { digest, pushed_at, media_type: detail.image_manifest_media_type, content, archived })
}

/// Fetches a manifest's bytes by digest, and verifies them against the digest.
pub(super) async fn fetch_manifest(
    client: &RegistryClient,
    repository: &Repository,
    digest: &Digest,
    deadline: Deadline,
) -> Result<String, Error> {
    let request = client
        .ecr
        .batch_get_image()
        .registry_id(repository.registry.account())
        .repository_name(repository.name.as_str())
        .image_ids(ImageIdentifier::builder().image_digest(digest.as_str()).build())
        .set_accepted_media_types(Some(MANIFEST_TYPES.map(str::to_owned).to_vec()));
    let response = client
        .retry
        .call(BATCH_GET_IMAGE, deadline, || request.clone().send())
        .await
        .map_err(|error| error.into_image_error(BATCH_GET_IMAGE, repository, digest.as_str()))?;
    if let Some(error) = response.failures.into_iter().flatten().next() {
        return Err(fetch_error(&error, repository, digest));
    }
    let mut images = response.images.into_iter().flatten();
    let (Some(image), None) = (images.next(), images.next()) else {
        return Err(malformed(BATCH_GET_IMAGE, "the response must have exactly one image"));
    };
    verify_manifest(image, repository, digest)
}

fn verify_manifest(image: Image, repository: &Repository, digest: &Digest) -> Result<String, Error> {
    verify_repository(BATCH_GET_IMAGE, repository, image.registry_id.as_deref(), image.repository_name.as_deref())?;
    let manifest = image.image_manifest.unwrap_or_default();
    if manifest.len() > MAX_MANIFEST_BYTES {
        return Err(Error::TooComplex(format!("manifest {digest} has more than {MAX_MANIFEST_BYTES} bytes")));
    }
    if sha256_digest(manifest.as_bytes()) != digest.as_str() {
        return Err(malformed(BATCH_GET_IMAGE, format!("the manifest's bytes do not hash to {digest}")));
    }
    Ok(manifest)
}

fn sha256_digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut digest, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digest, "{byte:02x}");
        digest
    })
}

/// Converts a failure entry of a successful response.
fn fetch_error(error: &ImageFailure, repository: &Repository, digest: &Digest) -> Error {
    let operation = BATCH_GET_IMAGE.name;
    let code = error.failure_code.as_ref().map_or("", |code| code.as_str());
    let message = sanitize(error.failure_reason.as_deref().unwrap_or_default());
    match code {
        "ImageNotFound" => Error::ImageNotFound { repository: repository.clone(), image: digest.to_string() },
        "UpstreamUnavailable" | "UpstreamTooManyRequests" => {
            Error::Unavailable { operation, source: Source::new(format!("{code}: {message}")) }
        }
        _ => Error::Rejected { operation, code: sanitize(code), message },
    }
}

/// Rejects a response about another repository.
fn verify_repository(
    operation: Operation,
    repository: &Repository,
    registry_id: Option<&str>,
    name: Option<&str>,
) -> Result<(), Error> {
    if registry_id == Some(repository.registry.account()) && name == Some(repository.name.as_str()) {
        return Ok(());
    }
    let (registry_id, name) = (registry_id.unwrap_or_default(), name.unwrap_or_default());
    Err(malformed(operation, format!("the response is about {registry_id:?}/{name:?}, not {repository}")))
}
