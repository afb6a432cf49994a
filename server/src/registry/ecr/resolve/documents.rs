//! Reads manifests by digest, through the cache of parsed documents.

use std::sync::Arc;

use scangate_core::image::{Digest, Repository};

use super::ImageResolver;
use crate::registry::{
    Error,
    ecr::{
        describe_images::{DESCRIBE_IMAGES, ImageDescription, Refusal, fetch_manifests},
        error::{malformed, sanitize},
        manifest::{self, Document},
        retry::Deadline,
    },
};

/// The reason why the content of one manifest is unknown. Reading it again changes nothing.
#[derive(Clone, Debug)]
pub(super) enum Unreadable {
    /// ECR refuses it.
    Refused(Refusal),
    /// Its bytes are no manifest, or an ambiguous one.
    Invalid(String),
}

impl Unreadable {
    /// Converts to the error about the requested image itself.
    pub(super) fn into_error(self, repository: &Repository, digest: &Digest) -> Error {
        match self {
            Self::Refused(refusal) => refusal.into_error(repository, digest),
            Self::Invalid(detail) => malformed(DESCRIBE_IMAGES, format!("{digest}: {detail}")),
        }
    }
}

/// A manifest to read: its digest, and its media type according to ECR.
pub(super) type Wanted<'a> = (&'a Digest, Option<&'a str>);

impl ImageResolver<'_> {
    /// Loads the manifest of the requested image itself.
    pub(super) async fn load_document(
        &self,
        description: &ImageDescription,
        deadline: Deadline,
    ) -> Result<Arc<Document>, Error> {
        let digest = &description.digest;
        let loaded = self.load_one((digest, description.media_type.as_deref()), deadline).await?;
        loaded.map_err(|unreadable| unreadable.into_error(&self.repository, digest))
    }

    /// Loads one manifest.
    pub(super) async fn load_one(
        &self,
        wanted: Wanted<'_>,
        deadline: Deadline,
    ) -> Result<Result<Arc<Document>, Unreadable>, Error> {
        let loaded = self.load_all(&[wanted], deadline).await?;
        loaded.into_iter().next().ok_or_else(|| malformed(DESCRIBE_IMAGES, "no manifest was read"))
    }

    /// Loads manifests of different digests, in their order. One call reads all that are not in the cache.
    pub(super) async fn load_all(
        &self,
        wanted: &[Wanted<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Result<Arc<Document>, Unreadable>>, Error> {
        let cached: Vec<_> = wanted.iter().map(|(digest, _)| self.documents.0.get(&self.key(digest))).collect();
        let unknown = wanted.iter().zip(&cached).filter(|(_, document)| document.is_none());
        let unknown: Vec<&Digest> = unknown.map(|((digest, _), _)| *digest).collect();
        let fetched = match unknown.as_slice() {
            [] => Vec::new(),
            unknown => fetch_manifests(self.client, &self.repository, unknown, deadline).await?,
        };
        let mut fetched = fetched.into_iter();
        let load = |(wanted, document): (&Wanted<'_>, Option<Arc<Document>>)| match document {
            Some(document) => Some(Ok(document)),
            None => fetched.next().map(|fetched| self.parse(*wanted, fetched)),
        };
        Ok(wanted.iter().zip(cached).filter_map(load).collect())
    }

    fn parse(
        &self,
        (digest, media_type): Wanted<'_>,
        fetched: Result<String, Refusal>,
    ) -> Result<Arc<Document>, Unreadable> {
        let text = fetched.map_err(Unreadable::Refused)?;
        let document = manifest::parse_document(&text, media_type)
            .map(Arc::new)
            .map_err(|error| Unreadable::Invalid(sanitize(&error.to_string())))?;
        self.documents.0.insert(self.key(digest), Arc::clone(&document));
        Ok(document)
    }

    pub(super) fn key(&self, digest: &Digest) -> (Repository, Digest) {
        (self.repository.clone(), digest.clone())
    }
}
