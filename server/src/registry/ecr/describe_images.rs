//! Two reads of ECR: descriptions of images, and the bytes of a manifest.

use std::collections::HashMap;

use aws_sdk_ecr::types::{
    DescribeImagesFilter, Image, ImageDetail, ImageFailure, ImageIdentifier, ImageStatus, ImageStatusFilter,
};
use jiff::Timestamp;
use scangate_core::image::{Digest, Repository};
use sha2::{Digest as _, Sha256};

use super::{
    diagnostics::timestamp,
    error::{malformed, sanitize},
    manifest::MANIFEST_TYPES,
    operation::Operation,
    registry_client::RegistryClient,
    retry::Deadline,
};
use crate::registry::{Error, Source};

pub(super) const DESCRIBE_IMAGES: Operation = Operation::read("DescribeImages");
pub(super) const BATCH_GET_IMAGE: Operation = Operation::read("BatchGetImage");

/// The size limit of manifests in ECR.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// ECR's description of an image.
#[derive(Clone, Debug)]
pub(super) struct ImageDescription {
    pub(super) digest: Digest,
    pub(super) push_time: Option<Timestamp>,
    /// The media type of the manifest.
    pub(super) media_type: Option<String>,
    /// The media type of the config, or the artifact type that the manifest states.
    pub(super) artifact_type: Option<String>,
    /// True if the manifest states a subject, as signatures and SBOMs do.
    pub(super) is_referrer: bool,
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
    let push_time = match &detail.image_pushed_at {
        Some(time) => Some(timestamp(time).ok_or_else(|| malformed(DESCRIBE_IMAGES, "imagePushedAt is out of range"))?),
        None => None,
    };
    Ok(ImageDescription {
        digest,
        push_time,
        media_type: detail.image_manifest_media_type,
        artifact_type: detail.artifact_media_type,
        is_referrer: detail.subject_manifest_digest.is_some(),
        archived: detail.image_status.is_some_and(|status| status != ImageStatus::Active),
    })
}

/// Fetches the bytes of manifests by digest, and verifies them against the digests. Returns one result per digest, in
/// their order: the bytes, or ECR's refusal of this manifest.
pub(super) async fn fetch_manifests(
    client: &RegistryClient,
    repository: &Repository,
    digests: &[&Digest],
    deadline: Deadline,
) -> Result<Vec<Result<String, Refusal>>, Error> {
    let ids = digests.iter().map(|digest| ImageIdentifier::builder().image_digest(digest.as_str()).build());
    let request = client
        .ecr
        .batch_get_image()
        .registry_id(repository.registry.account())
        .repository_name(repository.name.as_str())
        .set_image_ids(Some(ids.collect()))
        .set_accepted_media_types(Some(MANIFEST_TYPES.map(str::to_owned).to_vec()));
    let name = digests.first().map_or("", |digest| digest.as_str());
    let response = client
        .retry
        .call(BATCH_GET_IMAGE, deadline, || request.clone().send())
        .await
        .map_err(|error| error.into_image_error(BATCH_GET_IMAGE, repository, name))?;
    let mut manifests = HashMap::new();
    for image in response.images.into_iter().flatten() {
        let manifest = image_manifest(image, repository)?;
        manifests.insert(sha256_digest(manifest.as_bytes()), manifest);
    }
    let failures = response.failures.unwrap_or_default();
    let of = |digest: &&Digest| match (manifests.remove(digest.as_str()), failure_of(&failures, digest)) {
        // A failure counts even beside the bytes.
        (_, Some(failure)) => to_refusal(failure).map(Err),
        (Some(manifest), None) => Ok(Ok(manifest)),
        (None, None) => Err(malformed(BATCH_GET_IMAGE, format!("no manifest's bytes hash to {digest}"))),
    };
    digests.iter().map(of).collect()
}

/// ECR's refusal to return one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The repository does not hold the manifest.
    Missing,
    /// Another failure code, with its message.
    Code(String, String),
}

impl Refusal {
    /// Converts to the error about the requested image itself.
    pub(super) fn into_error(self, repository: &Repository, digest: &Digest) -> Error {
        match self {
            Self::Missing => Error::ImageNotFound { repository: repository.clone(), image: digest.to_string() },
            Self::Code(code, message) => Error::Rejected { operation: BATCH_GET_IMAGE.name, code, message },
        }
    }
}

fn image_manifest(image: Image, repository: &Repository) -> Result<String, Error> {
    verify_repository(BATCH_GET_IMAGE, repository, image.registry_id.as_deref(), image.repository_name.as_deref())?;
    let manifest = image.image_manifest.unwrap_or_default();
    if manifest.len() > MAX_MANIFEST_BYTES {
        return Err(Error::TooComplex(format!("a manifest has more than {MAX_MANIFEST_BYTES} bytes")));
    }
    Ok(manifest)
}

/// Returns the failure that is about a digest, or one that names no image.
fn failure_of<'a>(failures: &'a [ImageFailure], digest: &Digest) -> Option<&'a ImageFailure> {
    let named = |failure: &'a ImageFailure| failure.image_id.as_ref().and_then(|id| id.image_digest.as_deref());
    failures.iter().find(|failure| named(failure).is_none_or(|named| named == digest.as_str()))
}

/// Converts a failure entry of a successful response. An outage is an error of the whole read.
fn to_refusal(failure: &ImageFailure) -> Result<Refusal, Error> {
    let code = failure.failure_code.as_ref().map_or("", |code| code.as_str());
    let message = sanitize(failure.failure_reason.as_deref().unwrap_or_default());
    match code {
        "ImageNotFound" => Ok(Refusal::Missing),
        "UpstreamUnavailable" | "UpstreamTooManyRequests" => {
            let operation = BATCH_GET_IMAGE.name;
            Err(Error::Unavailable { operation, source: Source::new(format!("{code}: {message}")) })
        }
        _ => Ok(Refusal::Code(sanitize(code), message)),
    }
}

fn sha256_digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
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
