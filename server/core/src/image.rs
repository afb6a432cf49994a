//! Image references and their parts: repositories, tags, digests, platforms.

mod error;
mod grammar;
mod platform;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::grammar::{is_digest, is_repository, is_tag};
pub use self::{
    error::{Error, MAX_REFERENCE},
    platform::Platform,
};
use crate::{registry::Registry, text::validated_text};

validated_text! {
    /// The name of a repository within its registry, by ECR's rules.
    RepositoryName, is_repository, Error::Repository, 300
}
validated_text! {
    /// A tag.
    Tag, is_tag, Error::Tag, 300
}
validated_text! {
    /// The content address of a manifest or index: `sha256:` and 64 hexadecimal digits.
    Digest, is_digest, Error::Digest, 300
}

/// An image reference: a repository with a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// The registry's host in lower case and without a port, and its registry; `None`: the server's default registry.
    pub registry: Option<(String, Registry)>,
    /// The repository.
    pub repository: RepositoryName,
    /// The tag. At least one of tag and digest is set.
    pub tag: Option<Tag>,
    /// The digest.
    pub digest: Option<Digest>,
}

impl ImageReference {
    /// Parses `[SCHEME][HOST/]REPOSITORY[:TAG][@DIGEST]`. The scheme is `https://`, `docker://` or `docker-pullable://`,
    /// as tools print it. White space around the reference, `:443` and capitals in the host are accepted.
    ///
    /// ```
    /// use scangate_core::image::{Error, ImageReference};
    ///
    /// let image = ImageReference::parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:2.3.0")?;
    /// let (_, registry) = image.registry.unwrap();
    /// assert_eq!(registry.to_string(), "123456789012/eu-west-1");
    /// assert_eq!(image.repository.as_str(), "team/app");
    /// assert_eq!(image.tag.unwrap().as_str(), "2.3.0");
    ///
    /// // Without a host, the server's default registry applies. There is no default tag.
    /// assert_eq!(ImageReference::parse("team/app:2.3.0")?.registry, None);
    /// assert_eq!(ImageReference::parse("team/app"), Err(Error::Unpinned));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn parse(reference: &str) -> Result<Self, Error> {
        let reference = reference.trim();
        if reference.len() > MAX_REFERENCE {
            return Err(Error::TooLong);
        }
        let (registry, rest) = split_host(reference)?;
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

/// Parses `[HOST/]REPOSITORY`, the argument of calls about a repository.
pub fn parse_repository(reference: &str) -> Result<(Option<Registry>, RepositoryName), Error> {
    let (registry, repository) = split_host(reference.trim())?;
    Ok((registry.map(|(_, registry)| registry), RepositoryName::parse(repository)?))
}

/// A repository within a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    /// The registry.
    pub registry: Registry,
    /// The repository's name.
    pub name: RepositoryName,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// A resolved image: the subject of a decision and of every later call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// The registry.
    pub registry: Registry,
    /// The registry's host as the caller wrote it, in lower case and without a port, or ECR's default for it.
    pub host: String,
    /// The repository.
    pub repository: RepositoryName,
    /// The requested tag.
    pub tag: Option<Tag>,
    /// The digest that the tag pointed to, or the requested digest.
    pub digest: Digest,
    /// The time of the push.
    pub push_time: Option<Timestamp>,
}

impl Image {
    /// Returns the reference of a manifest in this repository, pinned by digest, for a container runtime.
    pub fn pinned(&self, digest: &Digest) -> String {
        format!("{}/{}@{digest}", self.host, self.repository)
    }
}

type Host = Option<(String, Registry)>;

/// Schemes that tools write in front of a reference.
const SCHEMES: [&str; 3] = ["https://", "docker://", "docker-pullable://"];

fn split_host(reference: &str) -> Result<(Host, &str), Error> {
    if reference.is_empty() {
        return Err(Error::Empty);
    }
    let (scheme, reference) = split_scheme(reference)?;
    let host = reference.split_once('/').filter(|(first, _)| looks_like_host(first));
    match (scheme, host) {
        (_, Some((host, rest))) => Ok((Some(parse_host(host)?), rest)),
        (Some(scheme), None) => Err(Error::SchemeWithoutHost { scheme: scheme.to_owned() }),
        (None, None) => Ok((None, reference)),
    }
}

fn split_scheme(reference: &str) -> Result<(Option<&'static str>, &str), Error> {
    let Some((name, rest)) = reference.split_once("://") else { return Ok((None, reference)) };
    let is_written = |scheme: &&&str| scheme.strip_suffix("://").is_some_and(|known| known.eq_ignore_ascii_case(name));
    match SCHEMES.iter().find(is_written) {
        Some(scheme) => Ok((Some(*scheme), rest)),
        None => Err(Error::Scheme { scheme: format!("{}://", name.chars().take(100).collect::<String>()) }),
    }
}

/// Docker's rule: the first component is a host if it has a dot or a port, or is `localhost`. The reference to a
/// repository whose first component has a dot therefore needs its host.
fn looks_like_host(first: &str) -> bool {
    first == "localhost" || first.contains(':') || first.contains('.')
}

fn parse_host(written: &str) -> Result<(String, Registry), Error> {
    let lower = written.to_ascii_lowercase();
    let (host, port) = lower.split_once(':').map_or((lower.as_str(), None), |(host, port)| (host, Some(port)));
    let registry = Registry::from_host(host).map_err(|source| Error::Host { host: written.to_owned(), source })?;
    match port {
        None | Some("443") => Ok((host.to_owned(), registry)),
        Some(_) => Err(Error::Port { host: written.to_owned() }),
    }
}
