//! Resolves a reference to its deployable manifests. The tag is resolved once; every later request is by digest.

use std::{collections::HashSet, sync::Arc, time::Duration};

use aws_sdk_ecr::types::ImageIdentifier;
use moka::sync::Cache;
use scangate_core::{
    image::{Digest, Image, ImageReference, Repository, Tag},
    scan::{Content, Manifest},
};

use super::{
    describe_images::{ArchiveFilter, DESCRIBE_IMAGES, ImageDescription, describe, fetch_manifest},
    error::malformed,
    manifest::{self, Child, Document, ManifestKind},
    registry_client::RegistryClient,
    retry::Deadline,
};
use crate::registry::{Error, Resolved};

/// The maximum of manifests in an index, including nested indexes.
const MAX_CHILDREN: usize = 64;
/// The maximum nesting: an index may contain indexes, and those no further ones.
const MAX_DEPTH: usize = 2;
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
            Document::Single(_) => 1024,
        };
        Self(Cache::builder().max_capacity(MAX_DOCUMENT_BYTES).weigher(weigh).build())
    }
}

/// Resolves images of one repository.
#[derive(Debug)]
pub(super) struct ImageResolver<'a> {
    pub(super) client: &'a RegistryClient,
    pub(super) documents: &'a DocumentCache,
    pub(super) fresh_push: Duration,
    pub(super) repository: Repository,
}

impl ImageResolver<'_> {
    /// Resolves an image of this repository.
    pub(super) async fn resolve(&self, image: &ImageReference) -> Result<Resolved, Error> {
        let permit = self.client.acquire(DESCRIBE_IMAGES).await?;
        let description = self.find(image, permit.deadline).await?;
        let manifests = self.list_manifests(&description, permit.deadline).await?;
        let host = image.registry.as_ref().map_or_else(|| self.repository.registry.host(), |(host, _)| host.clone());
        let image = Image {
            registry: self.repository.registry.clone(),
            host,
            repository: self.repository.name.clone(),
            tag: image.tag.clone(),
            digest: description.digest,
            pushed_at: description.pushed_at,
        };
        Ok(Resolved { image, manifests })
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

    async fn list_manifests(&self, description: &ImageDescription, deadline: Deadline) -> Result<Vec<Manifest>, Error> {
        // An archived image can be neither fetched nor deployed.
        if description.archived {
            return Ok(vec![to_manifest(description, None)]);
        }
        let kind = match description.media_type.as_deref() {
            Some(media_type) => ManifestKind::from_media_type(media_type),
            None => match self.load_document(&description.digest, None, deadline).await?.as_ref() {
                Document::Index(_) => ManifestKind::Index,
                Document::Single(Content::Image) => ManifestKind::Single,
                Document::Single(Content::Artifact) => ManifestKind::Other,
            },
        };
        match kind {
            ManifestKind::Index => self.list_children(description, deadline).await,
            ManifestKind::Single => Ok(vec![to_manifest(description, None)]),
            ManifestKind::Other => Ok(vec![Manifest { content: Content::Artifact, ..to_manifest(description, None) }]),
        }
    }

    async fn list_children(&self, description: &ImageDescription, deadline: Deadline) -> Result<Vec<Manifest>, Error> {
        let children = self.expand_index(description, deadline).await?;
        let mut seen = HashSet::new();
        let digests = children.iter().map(|child| &child.digest).filter(|digest| seen.insert(*digest));
        let ids: Vec<_> =
            digests.map(|digest| ImageIdentifier::builder().image_digest(digest.as_str()).build()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.describe_children(description, &ids, deadline).await?;
        children.iter().map(|child| self.child_manifest(child, &known)).collect()
    }

    /// Describes an index's children. If one is missing, archived images are searched, too.
    async fn describe_children(
        &self,
        description: &ImageDescription,
        ids: &[ImageIdentifier],
        deadline: Deadline,
    ) -> Result<Vec<ImageDescription>, Error> {
        let name = format!("a manifest of index {}", description.digest);
        let active = describe(self.client, &self.repository, ids, ArchiveFilter::Active, &name, deadline).await;
        let missing = match &active {
            Ok(known) => known.len() < ids.len(),
            Err(error) => matches!(error, Error::ImageNotFound { .. }),
        };
        if !missing {
            return active;
        }
        let all = describe(self.client, &self.repository, ids, ArchiveFilter::All, &name, deadline).await;
        if matches!(all, Err(Error::Rejected { .. })) { active } else { all }
    }

    fn child_manifest(&self, child: &Child, known: &[ImageDescription]) -> Result<Manifest, Error> {
        let Some(found) = known.iter().find(|known| known.digest == child.digest) else {
            return Err(self.not_found(child.digest.to_string()));
        };
        let kind = found.media_type.as_deref().map_or(child.kind, ManifestKind::from_media_type);
        if kind != child.kind {
            let detail = format!("the index declares {} as {:?}, ECR as {kind:?}", child.digest, child.kind);
            return Err(malformed(DESCRIBE_IMAGES, detail));
        }
        let manifest = to_manifest(found, child.platform.clone());
        Ok(match kind {
            ManifestKind::Single => manifest,
            ManifestKind::Index | ManifestKind::Other => Manifest { content: Content::Artifact, ..manifest },
        })
    }

    /// Returns every child that is no index itself, once for each platform.
    async fn expand_index(&self, description: &ImageDescription, deadline: Deadline) -> Result<Vec<Child>, Error> {
        let too_complex = |what: String| Error::TooComplex(format!("index {} {what}", description.digest));
        let mut indexes = vec![(description.digest.clone(), description.media_type.clone(), 1)];
        let mut children: Vec<Child> = Vec::new();
        let mut next = 0;
        while let Some((digest, media_type, depth)) = indexes.get(next).cloned() {
            next += 1;
            let document = self.load_document(&digest, media_type.as_deref(), deadline).await?;
            let Document::Index(found) = document.as_ref() else {
                return Err(malformed(DESCRIBE_IMAGES, format!("{digest} is declared as an index, but is none")));
            };
            for child in found {
                match child.kind {
                    ManifestKind::Index if depth >= MAX_DEPTH => {
                        return Err(too_complex("nests too deeply".to_owned()));
                    }
                    ManifestKind::Index if indexes.iter().any(|(known, _, _)| *known == child.digest) => {}
                    ManifestKind::Index => indexes.push((child.digest.clone(), None, depth + 1)),
                    ManifestKind::Single | ManifestKind::Other if children.contains(child) => {}
                    ManifestKind::Single | ManifestKind::Other => children.push(child.clone()),
                }
                if indexes.len() + children.len() > MAX_CHILDREN + 1 {
                    return Err(too_complex(format!("has more than {MAX_CHILDREN} manifests")));
                }
            }
        }
        Ok(children)
    }

    async fn load_document(
        &self,
        digest: &Digest,
        media_type: Option<&str>,
        deadline: Deadline,
    ) -> Result<Arc<Document>, Error> {
        let key = (self.repository.clone(), digest.clone());
        if let Some(document) = self.documents.0.get(&key) {
            return Ok(document);
        }
        let text = fetch_manifest(self.client, &self.repository, digest, deadline).await?;
        let document = manifest::parse_document(&text, media_type)
            .map_err(|error| malformed(DESCRIBE_IMAGES, format!("{digest}: {error}")))
            .map(Arc::new)?;
        self.documents.0.insert(key, Arc::clone(&document));
        Ok(document)
    }
}

fn to_manifest(described: &ImageDescription, platform: Option<scangate_core::image::Platform>) -> Manifest {
    Manifest {
        digest: described.digest.clone(),
        platform,
        pushed_at: described.pushed_at,
        content: described.content,
        archived: described.archived,
    }
}

fn mismatch(tag: &Tag, requested: &Digest, actual: &Digest) -> Error {
    Error::TagDigestMismatch { tag: tag.to_string(), requested: requested.to_string(), actual: actual.to_string() }
}
