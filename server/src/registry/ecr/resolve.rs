//! Resolves a reference to its deployable manifests. The tag is resolved once; every later request is by digest.

mod children;
mod documents;
mod index;

use std::{sync::Arc, time::Duration};

use aws_sdk_ecr::types::ImageIdentifier;
use moka::sync::Cache;
use scangate_core::{
    image::{Digest, Image, ImageReference, Platform, Repository, Tag},
    scan::{Content, Manifest},
};

pub(super) use self::children::MissingChildren;
use self::{documents::Unreadable, index::Selection};
use super::{
    describe_images::{ArchiveFilter, BATCH_GET_IMAGE, DESCRIBE_IMAGES, ImageDescription, describe},
    error::malformed,
    manifest::{Document, ManifestKind, is_image_config},
    registry_client::RegistryClient,
    retry::Deadline,
};
use crate::registry::{Error, Freshness, Resolved};

/// The memory limit of cached documents, in bytes.
const MAX_DOCUMENT_BYTES: u64 = 16 * 1024 * 1024;

/// A cache of parsed documents by digest: they are immutable. Each fetch counts as a pull of the image, which extends
/// its life under lifecycle rules and the period of Inspector's scans.
#[derive(Clone, Debug)]
pub(super) struct DocumentCache(Cache<(Repository, Digest), Arc<Document>>);

impl DocumentCache {
    pub(super) fn new() -> Self {
        let weigh = |_: &(Repository, Digest), document: &Arc<Document>| match document.as_ref() {
            Document::Index(children) => 1024 + 512 * u32::try_from(children.len()).unwrap_or(u32::MAX / 1024),
            Document::OversizedIndex | Document::Single(_) => 1024,
        };
        Self(Cache::builder().max_capacity(MAX_DOCUMENT_BYTES).weigher(weigh).build())
    }
}

/// Resolves images of one repository.
#[derive(Debug)]
pub(super) struct ImageResolver<'a> {
    pub(super) client: &'a RegistryClient,
    pub(super) documents: &'a DocumentCache,
    pub(super) missing: &'a MissingChildren,
    /// The required freshness of remembered missing children.
    pub(super) freshness: Freshness,
    pub(super) fresh_push: Duration,
    pub(super) repository: Repository,
}

impl ImageResolver<'_> {
    /// Resolves an image of this repository.
    pub(super) async fn resolve(&self, image: &ImageReference, platforms: &[Platform]) -> Result<Resolved, Error> {
        let permit = self.client.acquire(DESCRIBE_IMAGES).await?;
        let description = self.find(image, permit.deadline).await?;
        let selection = self.select_manifests(&description, platforms, permit.deadline).await?;
        let host = image.registry.as_ref().map_or_else(|| self.repository.registry.host(), |(host, _)| host.clone());
        let image = Image {
            registry: self.repository.registry.clone(),
            host,
            repository: self.repository.name.clone(),
            tag: image.tag.clone(),
            digest: description.digest,
            push_time: description.push_time,
        };
        let Selection { manifests, platforms, is_complete } = selection;
        Ok(Resolved { image, manifests, platforms, is_complete })
    }

    /// Returns what the bytes of a single manifest are.
    pub(super) async fn verify_content(&self, digest: &Digest) -> Result<Content, Error> {
        let permit = self.client.acquire(BATCH_GET_IMAGE).await?;
        match self.load_one((digest, None), permit.deadline).await? {
            Ok(document) => Ok(match document.as_ref() {
                Document::Single(nature) => nature.content(),
                Document::Index(_) | Document::OversizedIndex => Content::Image,
            }),
            Err(Unreadable::Refused(_)) => Ok(Content::Image),
            Err(invalid @ Unreadable::Invalid(_)) => Err(invalid.into_error(&self.repository, digest)),
        }
    }

    /// Finds an image. One that ECR does not know may be archived, or may have been pushed just now.
    async fn find(&self, image: &ImageReference, deadline: Deadline) -> Result<ImageDescription, Error> {
        let unknown = match self.describe_checked(image, ArchiveFilter::Active, deadline).await {
            Err(unknown @ Error::ImageNotFound { .. }) => unknown,
            found => return found,
        };
        let archived = self.describe_checked(image, ArchiveFilter::All, deadline).await;
        if !matches!(archived, Err(Error::ImageNotFound { .. } | Error::Rejected { .. })) {
            return archived;
        }
        for pause in [self.fresh_push, self.fresh_push.saturating_mul(2)] {
            if deadline.timeout(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
            let found = self.describe_checked(image, ArchiveFilter::Active, deadline).await;
            if !matches!(found, Err(Error::ImageNotFound { .. })) {
                return found;
            }
        }
        Err(unknown)
    }

    async fn describe_checked(
        &self,
        image: &ImageReference,
        filter: ArchiveFilter,
        deadline: Deadline,
    ) -> Result<ImageDescription, Error> {
        let (tag, digest) = (image.tag.as_ref(), image.digest.as_ref());
        match (self.describe_one(tag, digest, filter, deadline).await, tag, digest) {
            (Ok(found), Some(tag), Some(requested)) if found.digest != *requested => {
                Err(mismatch(tag, requested, &found.digest))
            }
            (Ok(found), None, Some(requested)) if found.digest != *requested => {
                Err(malformed(DESCRIBE_IMAGES, format!("the response is about {}, not {requested}", found.digest)))
            }
            // ECR knows no image with both. Ask for the tag alone to see whether they disagree.
            (Err(Error::ImageNotFound { .. }), Some(tag), Some(requested)) => {
                let found = self.describe_one(Some(tag), None, filter, deadline).await?;
                if found.digest == *requested { Ok(found) } else { Err(mismatch(tag, requested, &found.digest)) }
            }
            (found, _, _) => found,
        }
    }

    async fn describe_one(
        &self,
        tag: Option<&Tag>,
        digest: Option<&Digest>,
        filter: ArchiveFilter,
        deadline: Deadline,
    ) -> Result<ImageDescription, Error> {
        let name = [tag.map(Tag::as_str), digest.map(Digest::as_str)].into_iter().flatten().collect::<Vec<_>>();
        let name = name.join("@");
        let id = ImageIdentifier::builder()
            .set_image_tag(tag.map(Tag::to_string))
            .set_image_digest(digest.map(Digest::to_string))
            .build();
        let found = describe(self.client, &self.repository, &[id], filter, &name, deadline).await?;
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(found), None) => Ok(found),
            (None, _) => Err(self.not_found(name)),
            (Some(_), Some(_)) => Err(malformed(DESCRIBE_IMAGES, format!("more than one image matches {name}"))),
        }
    }

    fn not_found(&self, image: String) -> Error {
        Error::ImageNotFound { repository: self.repository.clone(), image }
    }

    async fn select_manifests(
        &self,
        description: &ImageDescription,
        platforms: &[Platform],
        deadline: Deadline,
    ) -> Result<Selection, Error> {
        // An archived image can be neither fetched nor deployed.
        if description.archived {
            return Ok(Selection::of_single(to_manifest(description, None)));
        }
        let kind = match description.media_type.as_deref() {
            Some(media_type) => ManifestKind::from_media_type(media_type),
            None => match self.load_document(description, deadline).await?.as_ref() {
                Document::Index(_) | Document::OversizedIndex => ManifestKind::Index,
                Document::Single(_) => ManifestKind::Single,
            },
        };
        match kind {
            ManifestKind::Index => self.select_children(description, platforms, deadline).await,
            ManifestKind::Single | ManifestKind::Other => {
                let content = self.content_of(description, kind, deadline).await?;
                Ok(Selection::of_single(Manifest { content, ..to_manifest(description, None) }))
            }
        }
    }

    /// Returns the content of a manifest that was requested by itself. The bytes are read only if ECR's description does
    /// not suggest an image: each read counts as a pull.
    async fn content_of(
        &self,
        description: &ImageDescription,
        kind: ManifestKind,
        deadline: Deadline,
    ) -> Result<Content, Error> {
        let is_ordinary = kind == ManifestKind::Single
            && !description.is_referrer
            && description.media_type.is_some()
            && description.artifact_type.as_deref().is_none_or(is_image_config);
        if is_ordinary {
            return Ok(Content::Image);
        }
        match self.load_document(description, deadline).await?.as_ref() {
            Document::Single(nature) => Ok(nature.content()),
            Document::Index(_) | Document::OversizedIndex => {
                let detail = format!("{} is declared as an image, but is an index", description.digest);
                Err(malformed(DESCRIBE_IMAGES, detail))
            }
        }
    }
}

fn to_manifest(described: &ImageDescription, platform: Option<Platform>) -> Manifest {
    Manifest {
        digest: described.digest.clone(),
        platform,
        push_time: described.push_time,
        content: Content::Image,
        archived: described.archived,
        unreadable: None,
    }
}

fn mismatch(tag: &Tag, requested: &Digest, actual: &Digest) -> Error {
    Error::TagDigestMismatch { tag: tag.to_string(), requested: requested.to_string(), actual: actual.to_string() }
}
