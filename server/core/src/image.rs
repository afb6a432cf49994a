//! Images as callers name them, and the names inside: repositories, tags, digests, platforms.

mod grammar;
mod platform;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::grammar::{is_digest, is_repository, is_tag};
pub use self::platform::Platform;
use crate::{
    registry::{self, Registry},
    text::text,
};

/// Longest image reference, in bytes.
pub const MAX_REFERENCE: usize = 1024;

/// Text that names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was given.
    #[error("must not be empty: name an image like team/app:2.3.0 or team/app@sha256:…")]
    Empty,
    /// Longer than any image reference can be.
    #[error("must be at most {MAX_REFERENCE} bytes long")]
    TooLong,
    /// The part before the first `/` looks like a host and is none of ECR's.
    #[error("{host:?} is no Amazon ECR registry: {source}")]
    Host {
        /// The host given.
        host: String,
        /// What is wrong with it.
        source: registry::Error,
    },
    /// The repository's name breaks ECR's rules.
    #[error(
        "repository {given:?} must be 2 to 256 characters: lower-case letters and digits, separated by `.`, `_`, `__`, `-` or `/`"
    )]
    Repository {
        /// The name given.
        given: String,
    },
    /// The tag breaks the rules of tags.
    #[error("tag {given:?} must be 1 to 128 letters, digits, `_`, `.` or `-`, and not start with `.` or `-`")]
    Tag {
        /// The tag given.
        given: String,
    },
    /// The digest is none.
    #[error("digest {given:?} must be `sha256:` and 64 lower-case hexadecimal digits")]
    Digest {
        /// The digest given.
        given: String,
    },
    /// Neither a tag nor a digest.
    #[error("must name a tag or a digest: there is no default tag, so that nobody deploys `latest` by accident")]
    Unpinned,
    /// The platform is none.
    #[error("platform {given:?} must be os/architecture or os/architecture/variant, e.g. linux/arm64/v8")]
    Platform {
        /// The platform given.
        given: String,
    },
}

text! {
    /// A repository's name within its registry, by ECR's rules.
    RepositoryName, is_repository, Error::Repository, 300
}
text! {
    /// A tag.
    Tag, is_tag, Error::Tag, 300
}
text! {
    /// The content address of a manifest or index: `sha256:` and 64 hexadecimal digits.
    Digest, is_digest, Error::Digest, 300
}

/// An image as a caller names it: a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// The registry's host as written and the registry that it means; `None`: the server's default registry.
    pub registry: Option<(String, Registry)>,
    /// The repository.
    pub repository: RepositoryName,
    /// The tag; at least one of tag and digest is there.
    pub tag: Option<Tag>,
    /// The digest.
    pub digest: Option<Digest>,
}

impl ImageReference {
    /// Reads `[HOST/]REPOSITORY[:TAG][@DIGEST]`.
    pub fn parse(given: &str) -> Result<Self, Error> {
        if given.len() > MAX_REFERENCE {
            return Err(Error::TooLong);
        }
        let (registry, rest) = split_host(given)?;
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => (named, Some(Digest::parse(digest)?)),
            None => (rest, None),
        };
        let (repository, tag) = match named.split_once(':') {
            Some((repository, tag)) => (repository, Some(Tag::parse(tag)?)),
            None => (named, None),
        };
        let repository = RepositoryName::parse(repository)?;
        if tag.is_none() && digest.is_none() {
            return Err(Error::Unpinned);
        }
        Ok(Self { registry, repository, tag, digest })
    }
}

/// Reads `[HOST/]REPOSITORY`, as calls about a repository take it.
pub fn parse_repository(given: &str) -> Result<(Option<Registry>, RepositoryName), Error> {
    let (registry, repository) = split_host(given)?;
    Ok((registry.map(|(_, registry)| registry), RepositoryName::parse(repository)?))
}

/// An image resolved: what every later call and the decision itself are about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// The registry.
    pub registry: Registry,
    /// The registry's host as the caller wrote it, or ECR's default for it.
    pub host: String,
    /// The repository.
    pub repository: RepositoryName,
    /// The tag that was asked for.
    pub tag: Option<Tag>,
    /// What the tag pointed at, or what was asked for.
    pub digest: Digest,
    /// When it was pushed.
    pub pushed_at: Option<Timestamp>,
}

impl Image {
    /// A manifest of this image's repository, pinned by digest as a container runtime takes it.
    pub fn pinned(&self, digest: &Digest) -> String {
        format!("{}/{}@{digest}", self.host, self.repository)
    }
}

type Host = Option<(String, Registry)>;

fn split_host(given: &str) -> Result<(Host, &str), Error> {
    if given.is_empty() {
        return Err(Error::Empty);
    }
    let Some((first, rest)) = given.split_once('/') else {
        return Ok((None, given));
    };
    // Docker's rule: the first component is a host where it has a dot or a port, or is `localhost`. A repository whose first
    // component has a dot must therefore be named with its host.
    let looks_like_host = first == "localhost" || first.contains(':') || first.contains('.');
    if !looks_like_host {
        return Ok((None, given));
    }
    let registry = Registry::from_host(first).map_err(|source| Error::Host { host: first.to_owned(), source })?;
    Ok((Some((first.to_owned(), registry)), rest))
}
