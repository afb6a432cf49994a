//! A repository: images by digest, and tags that point to them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::image::Image;

/// The mutability of a repository's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TagMutability {
    /// `PutImage` can move a tag to another image.
    #[default]
    Mutable,
    /// `PutImage` refuses to move a tag.
    Immutable,
}

impl TagMutability {
    /// The wire value.
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

/// A repository with its images and tags.
#[derive(Clone, Debug)]
pub struct Repository {
    name: String,
    create_time: Timestamp,
    mutability: TagMutability,
    scan_on_push: bool,
    images: BTreeMap<String, Image>,
    tags: BTreeMap<String, String>,
}

impl Repository {
    pub(crate) fn new(name: &str, create_time: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            create_time,
            mutability: TagMutability::default(),
            scan_on_push: false,
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn create_time(&self) -> Timestamp {
        self.create_time
    }

    /// The mutability of the tags.
    pub fn mutability(&self) -> TagMutability {
        self.mutability
    }

    /// Sets the mutability of the tags. It limits `PutImage` only: a world's own `push` and `tag` move any tag.
    pub fn set_mutability(&mut self, mutability: TagMutability) -> &mut Self {
        self.mutability = mutability;
        self
    }

    /// The repository's own scan-on-push flag, superseded by the registry's rules.
    pub fn scans_on_push(&self) -> bool {
        self.scan_on_push
    }

    /// Sets the repository's own scan-on-push flag.
    pub fn set_scan_on_push(&mut self, on: bool) -> &mut Self {
        self.scan_on_push = on;
        self
    }

    /// The image with this tag or digest.
    pub fn image(&self, reference: &str) -> Option<&Image> {
        self.images.get(self.tags.get(reference).map_or(reference, String::as_str))
    }

    pub(crate) fn image_mut(&mut self, reference: &str) -> Option<&mut Image> {
        self.images.get_mut(self.tags.get(reference).map_or(reference, String::as_str))
    }

    /// All images, ordered by digest.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }

    /// The tags of an image, in alphabetical order.
    pub fn tags_of<'a>(&'a self, digest: &'a str) -> impl Iterator<Item = &'a str> {
        self.tags.iter().filter(move |(_, target)| *target == digest).map(|(tag, _)| tag.as_str())
    }

    /// The digest of the image that a tag points to.
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
