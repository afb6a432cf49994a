//! Parsing of manifests and indexes as a container runtime would. A manifest that two runtimes could read differently
//! is rejected.
//!
//! Runtimes written in Go match JSON member names case-insensitively. A member `Manifests` beside `manifests` would
//! show them other children under the same digest.

mod nature;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use scangate_core::image::{Digest, Platform};
use serde::{Deserialize, de::IgnoredAny};

pub(super) use self::nature::{Nature, is_image_config};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The maximum of characters that are kept of a text from a manifest.
const MAX_TEXT: usize = 100;

/// The maximum of manifests in an index, without attestations.
pub(super) const MAX_CHILDREN: usize = 64;

/// The accepted media types of manifests.
pub(super) const MANIFEST_TYPES: [&str; 4] = [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX];

/// Docker's first schema: an image, which scanners reject themselves.
const DOCKER_SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// The kind of manifest that a media type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ManifestKind {
    /// A list of manifests.
    Index,
    /// A single image.
    Single,
    /// An unknown kind.
    Other,
}

impl ManifestKind {
    /// Returns the kind of a media type.
    pub(super) fn from_media_type(media_type: &str) -> Self {
        match media_type {
            DOCKER_LIST | OCI_INDEX => Self::Index,
            DOCKER_MANIFEST | OCI_MANIFEST => Self::Single,
            other if DOCKER_SCHEMA_1.contains(&other) => Self::Single,
            _ => Self::Other,
        }
    }
}

/// A parsed manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// An index with its children, each once, without attestations.
    Index(Vec<Child>),
    /// An index with more than [`MAX_CHILDREN`] different children.
    OversizedIndex,
    /// A single manifest.
    Single(Nature),
}

/// A child of an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Child {
    pub(super) digest: Digest,
    pub(super) kind: ManifestKind,
    pub(super) platform: Option<Platform>,
    /// The first [`MAX_TEXT`] characters of the media type in its descriptor; empty if there is none. It is part of
    /// messages and stored decisions.
    pub(super) media_type: String,
}

impl Child {
    /// True if the index states that it runs nowhere: `unknown/unknown`. A runtime never selects such a child.
    pub(super) fn runs_nowhere(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown")
    }
}

/// An error of parsing: the bytes are no manifest, or an ambiguous one.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidManifest {
    #[error("the manifest cannot be parsed: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the manifest has the ambiguous member {0:?}")]
    AmbiguousMember(String),
    #[error("the manifest is both an index and an image")]
    IndexAndImage,
    #[error("the manifest's media type is {stated:?}, but {known:?} in ECR")]
    MediaType { stated: String, known: String },
    #[error("the manifest does not state its kind")]
    UnknownKind,
    #[error("a child of the index has an invalid digest: {0}")]
    Digest(#[from] scangate_core::image::Error),
}

/// Parses a manifest. `known` is its media type according to ECR.
pub(super) fn parse_document(text: &str, known: Option<&str>) -> Result<Document, InvalidManifest> {
    let top: RawManifest = serde_json::from_str(text)?;
    reject_similar_members(&top.others, &["mediaType", "artifactType", "manifests", "config", "layers", "subject"])?;
    if top.manifests.is_some() && (top.config.is_some() || top.layers.is_some()) {
        return Err(InvalidManifest::IndexAndImage);
    }
    if let (Some(stated), Some(known)) = (top.media_type.as_deref(), known)
        && stated != known
    {
        return Err(InvalidManifest::MediaType { stated: shortened(stated), known: known.to_owned() });
    }
    let kind = top.media_type.as_deref().or(known).map(ManifestKind::from_media_type);
    match (top.manifests, kind) {
        (Some(descriptors), None | Some(ManifestKind::Index)) => parse_children(&descriptors),
        (Some(_), Some(ManifestKind::Single | ManifestKind::Other)) => Err(InvalidManifest::IndexAndImage),
        (None, Some(ManifestKind::Index)) => Err(InvalidManifest::UnknownKind),
        (None, Some(ManifestKind::Other)) if top.config.is_none() => Ok(Document::Single(Nature::Unrecognised)),
        (None, kind) => {
            let media_type = top.media_type.as_deref().or(known);
            let nature = parse_nature(media_type, top.config, &top.layers.unwrap_or_default())?;
            // A runtime may go by the type in the descriptor of an index, so that the stated one excludes nothing.
            let is_unproven = kind == Some(ManifestKind::Other) && nature == Nature::Artifact;
            Ok(Document::Single(if is_unproven { Nature::Unrecognised } else { nature }))
        }
    }
}

fn parse_children(descriptors: &[RawDescriptor]) -> Result<Document, InvalidManifest> {
    let mut seen = HashSet::new();
    let mut children = Vec::new();
    for descriptor in descriptors {
        let Some(child) = parse_child(descriptor)? else { continue };
        if seen.insert(child.clone()) {
            children.push(child);
        }
        if children.len() > MAX_CHILDREN {
            return Ok(Document::OversizedIndex);
        }
    }
    Ok(Document::Index(children))
}

fn parse_nature(
    media_type: Option<&str>,
    config: Option<RawDescriptor>,
    layers: &[RawDescriptor],
) -> Result<Nature, InvalidManifest> {
    // Docker's first schema has no config.
    if media_type.is_some_and(|media_type| DOCKER_SCHEMA_1.contains(&media_type)) {
        return Ok(Nature::Image);
    }
    let config = config.ok_or(InvalidManifest::UnknownKind)?;
    for descriptor in layers.iter().chain([&config]) {
        reject_similar_members(&descriptor.others, &DESCRIPTOR_MEMBERS)?;
    }
    let layers: Vec<&str> = layers.iter().map(|layer| layer.media_type.as_deref().unwrap_or_default()).collect();
    let is_oci = media_type.is_some_and(|media_type| media_type != DOCKER_MANIFEST);
    Ok(Nature::of(is_oci, config.media_type.as_deref().unwrap_or_default(), &layers))
}

const DESCRIPTOR_MEMBERS: [&str; 5] = ["mediaType", "digest", "platform", "annotations", "artifactType"];

fn parse_child(descriptor: &RawDescriptor) -> Result<Option<Child>, InvalidManifest> {
    reject_similar_members(&descriptor.others, &DESCRIPTOR_MEMBERS)?;
    if let Some(platform) = &descriptor.platform {
        reject_similar_members(&platform.others, &["os", "os.version", "architecture", "variant"])?;
    }
    if descriptor.is_attestation() {
        return Ok(None);
    }
    Ok(Some(Child {
        digest: Digest::parse(descriptor.digest.as_deref().unwrap_or_default())?,
        kind: ManifestKind::from_media_type(descriptor.media_type.as_deref().unwrap_or_default()),
        media_type: shortened(descriptor.media_type.as_deref().unwrap_or_default()),
        // An invalid platform cannot be selected; the child is evaluated all the same.
        platform: descriptor.platform.as_ref().and_then(RawPlatform::parse),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    media_type: Option<String>,
    #[serde(rename = "artifactType")]
    _artifact_type: Option<IgnoredAny>,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    #[serde(rename = "subject")]
    _subject: Option<IgnoredAny>,
    #[serde(flatten)]
    others: OtherMembers,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: Option<String>,
    platform: Option<RawPlatform>,
    annotations: Option<BTreeMap<String, Option<String>>>,
    #[serde(rename = "artifactType")]
    _artifact_type: Option<IgnoredAny>,
    #[serde(flatten)]
    others: OtherMembers,
}

impl RawDescriptor {
    /// Requires the platform *and* the annotation: by the platform alone, an image's author could hide any child.
    fn is_attestation(&self) -> bool {
        let reference = self.annotations.as_ref().and_then(|all| all.get("vnd.docker.reference.type"));
        let nowhere = self.platform.as_ref().is_some_and(|platform| {
            platform.os.as_deref() == Some("unknown") && platform.architecture.as_deref() == Some("unknown")
        });
        nowhere && reference.and_then(Option::as_deref) == Some("attestation-manifest")
    }
}

#[derive(Deserialize)]
struct RawPlatform {
    os: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(flatten)]
    others: OtherMembers,
}

impl RawPlatform {
    fn parse(&self) -> Option<Platform> {
        fn set(text: Option<&String>) -> Option<&str> {
            text.map(String::as_str).filter(|text| !text.is_empty())
        }
        let (os, architecture) = (self.os.as_deref()?, self.architecture.as_deref()?);
        Platform::new(os, set(self.os_version.as_ref()), architecture, set(self.variant.as_ref()))
            .ok()
            .map(Platform::into_stated)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

type OtherMembers = BTreeMap<String, Option<IgnoredAny>>;

/// Rejects a member whose name differs from a known one only in case.
fn reject_similar_members(others: &OtherMembers, known: &[&str]) -> Result<(), InvalidManifest> {
    // Upper-case before lower-case, because Go's folding also matches `ſ` with `s` and the Kelvin sign with `k`.
    let folded = |name: &str| name.to_uppercase().to_lowercase();
    match others.keys().find(|name| known.iter().any(|known| folded(known) == folded(name))) {
        Some(name) => Err(InvalidManifest::AmbiguousMember(shortened(name))),
        None => Ok(()),
    }
}
