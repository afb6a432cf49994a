//! A repository: images by digest, and tags that point at them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::image::Image;

/// Whether a tag may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TagMutability {
    /// It may.
    #[default]
    Mutable,
    /// It may not.
    Immutable,
}

impl TagMutability {
    /// The wire's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutable => "MUTABLE",
            Self::Immutable => "IMMUTABLE",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Mutable, Self::Immutable].into_iter().find(|mutability| mutability.as_str() == word)
    }
}

/// A repository.
#[derive(Clone, Debug)]
pub struct Repository {
    name: String,
    created_at: Timestamp,
    mutability: TagMutability,
    scan_on_push: bool,
    images: BTreeMap<String, Image>,
    tags: BTreeMap<String, String>,
}

impl Repository {
    pub(crate) fn new(name: &str, created_at: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            created_at,
            mutability: TagMutability::default(),
            scan_on_push: false,
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Whether tags may be moved.
    pub fn mutability(&self) -> TagMutability {
        self.mutability
    }

    /// Sets whether tags may be moved by `PutImage`. (A world's own `push` and `tag` move any.)
    pub fn set_mutability(&mut self, mutability: TagMutability) -> &mut Self {
        self.mutability = mutability;
        self
    }

    /// The old flag on the repository itself.
    pub fn scans_on_push(&self) -> bool {
        self.scan_on_push
    }

    /// Sets the old flag on the repository itself.
    pub fn set_scan_on_push(&mut self, on: bool) -> &mut Self {
        self.scan_on_push = on;
        self
    }

    /// The image that a tag or digest names.
    pub fn image(&self, reference: &str) -> Option<&Image> {
        self.images.get(self.tags.get(reference).map_or(reference, String::as_str))
    }

    pub(crate) fn image_mut(&mut self, reference: &str) -> Option<&mut Image> {
        self.images.get_mut(self.tags.get(reference).map_or(reference, String::as_str))
    }

    /// Every image, by digest.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }

    /// The tags of an image, in order.
    pub fn tags_of<'a>(&'a self, digest: &'a str) -> impl Iterator<Item = &'a str> {
        self.tags.iter().filter(move |(_, target)| *target == digest).map(|(tag, _)| tag.as_str())
    }

    /// The digest a tag points at.
    pub fn digest_of_tag(&self, tag: &str) -> Option<&str> {
        self.tags.get(tag).map(String::as_str)
    }

    pub(crate) fn insert(&mut self, image: Image) {
        self.images.insert(image.digest().to_owned(), image);
    }

    pub(crate) fn set_tag(&mut self, tag: &str, digest: &str) {
        self.tags.insert(tag.to_owned(), digest.to_owned());
    }

    pub(crate) fn remove_tag(&mut self, tag: &str) {
        self.tags.remove(tag);
    }

    pub(crate) fn remove(&mut self, digest: &str) {
        self.images.remove(digest);
        self.tags.retain(|_, target| target != digest);
    }
}
