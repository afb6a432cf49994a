//! Selects the children of an index: first by platform, then by what they are. Only selected children are read, so that any
//! other may be missing, archived or unreadable.

use std::{collections::HashSet, sync::Arc};

use scangate_core::{
    image::{Digest, Platform},
    scan::{Content, Manifest},
};

use super::{ImageResolver, documents::Unreadable, to_manifest};
use crate::registry::{
    Error,
    ecr::{
        describe_images::{DESCRIBE_IMAGES, ImageDescription, Refusal},
        error::malformed,
        manifest::{Child, Document, MAX_CHILDREN, ManifestKind, Nature, is_image_config},
        retry::Deadline,
    },
};

/// The maximum nesting: an index may contain indexes, and those no further ones.
const MAX_DEPTH: usize = 2;

/// The manifests of an image for the requested platforms.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) manifests: Vec<Manifest>,
    pub(super) platforms: Vec<Platform>,
    pub(super) is_complete: bool,
}

impl Selection {
    /// Selects an image that is no index.
    pub(super) fn of_single(manifest: Manifest) -> Self {
        Self { manifests: vec![manifest], platforms: Vec::new(), is_complete: true }
    }
}

/// A selected child with what ECR says about it.
struct Candidate<'a> {
    child: &'a Child,
    /// `None`: ECR does not know it.
    described: Option<&'a ImageDescription>,
}

impl Candidate<'_> {
    /// True if only the bytes show what the child is. The others are judged by their scans, which is the strictest
    /// outcome.
    fn needs_document(&self) -> bool {
        self.described.is_some_and(|described| {
            let kind = described.media_type.as_deref().map(ManifestKind::from_media_type);
            let is_ordinary = self.child.kind == ManifestKind::Single
                && kind == Some(ManifestKind::Single)
                && described.artifact_type.as_deref().is_some_and(is_image_config)
                && !described.is_referrer
                && !self.child.runs_nowhere();
            !described.archived && !is_ordinary
        })
    }

    /// True if the child can run on no requested platform: its type is unknown, it states no platform, and the repository
    /// does not hold it.
    fn is_irrelevant(&self) -> bool {
        self.described.is_none() && self.child.kind == ManifestKind::Other && self.child.platform.is_none()
    }

    /// Returns the child's manifest; `None` if its bytes show that no container runtime runs it.
    fn manifest(&self, document: Option<&Result<Arc<Document>, Unreadable>>) -> Option<Manifest> {
        let Some(described) = self.described else {
            return Some(self.unreadable(&missing()));
        };
        let (child, image) = (self.child, to_manifest(described, self.child.platform.clone()));
        let document = match document {
            None => return Some(image),
            Some(Err(unreadable)) => return Some(self.unreadable(unreadable)),
            Some(Ok(document)) => document.as_ref(),
        };
        match document {
            Document::Index(_) | Document::OversizedIndex => Some(self.unreadable(&declared_otherwise("is an index"))),
            Document::Single(Nature::Unrecognised) if child.kind == ManifestKind::Single => {
                Some(self.unreadable(&declared_otherwise("is of an unknown type")))
            }
            Document::Single(Nature::Artifact | Nature::Unrecognised) => None,
            Document::Single(Nature::ForeignLayers) if child.runs_nowhere() => None,
            Document::Single(Nature::Image | Nature::ForeignLayers) if child.kind == ManifestKind::Index => {
                Some(self.unreadable(&declared_otherwise("is no index")))
            }
            Document::Single(Nature::Image | Nature::ForeignLayers) => Some(image),
        }
    }

    fn unreadable(&self, reason: &Unreadable) -> Manifest {
        let Child { digest, platform, media_type, kind } = self.child;
        let name = match platform {
            Some(platform) => format!("{platform} ({digest})"),
            None if *kind == ManifestKind::Other => format!("{digest} of media type {media_type:?}"),
            None => format!("{digest} without a platform"),
        };
        let detail = match reason {
            Unreadable::Refused(Refusal::Missing) => {
                format!("the index lists {name}, but the repository does not hold this manifest")
            }
            Unreadable::Refused(Refusal::Code(code, message)) => {
                format!("the index lists {name}, but ECR refuses this manifest: {code}: {message}")
            }
            Unreadable::Invalid(why) => format!("the index lists {name}, but {why}"),
        };
        Manifest {
            digest: digest.clone(),
            platform: platform.clone(),
            push_time: self.described.and_then(|described| described.push_time),
            content: Content::Image,
            archived: false,
            unreadable: Some(detail),
        }
    }
}

fn missing() -> Unreadable {
    Unreadable::Refused(Refusal::Missing)
}

fn declared_otherwise(actual: &str) -> Unreadable {
    Unreadable::Invalid(format!("the manifest {actual}, although the index declares it otherwise"))
}

impl ImageResolver<'_> {
    /// Selects the children of an index for the requested platforms; an empty list selects all.
    pub(super) async fn select_children(
        &self,
        index: &ImageDescription,
        requested: &[Platform],
        deadline: Deadline,
    ) -> Result<Selection, Error> {
        let children = self.expand_index(index, deadline).await?;
        let selected: Vec<&Child> = children.iter().filter(|child| is_requested(child, requested)).collect();
        let described = self.describe_children(&selected, deadline).await?;
        let of = |child: &Child| described.iter().find(|described| described.digest == child.digest);
        let candidates = selected.iter().map(|child| Candidate { child, described: of(child) });
        let candidates: Vec<_> =
            candidates.filter(|candidate| requested.is_empty() || !candidate.is_irrelevant()).collect();
        let mut doubtful: Vec<(&Digest, Option<&str>)> = Vec::new();
        for candidate in candidates.iter().filter(|candidate| candidate.needs_document()) {
            let media_type = candidate.described.and_then(|described| described.media_type.as_deref());
            if !doubtful.iter().any(|(digest, _)| *digest == &candidate.child.digest) {
                doubtful.push((&candidate.child.digest, media_type));
            }
        }
        let documents = self.load_all(&doubtful, deadline).await?;
        let document = |candidate: &Candidate<'_>| {
            let position = doubtful.iter().position(|(digest, _)| **digest == candidate.child.digest)?;
            documents.get(position).filter(|_| candidate.needs_document())
        };
        let mut manifests = Vec::with_capacity(candidates.len());
        let mut platforms: Vec<_> = children.iter().filter(|child| !is_requested(child, requested)).collect();
        for candidate in &candidates {
            if let Some(manifest) = candidate.manifest(document(candidate)) {
                manifests.push(manifest);
                platforms.push(candidate.child);
            }
        }
        Ok(Selection { manifests, platforms: stated(&platforms), is_complete: candidates.len() == children.len() })
    }

    /// Returns every child that is no index itself, once for each platform, and each nested index that cannot be read.
    /// All of them, nested indexes included, are at most [`MAX_CHILDREN`].
    async fn expand_index(&self, index: &ImageDescription, deadline: Deadline) -> Result<Vec<Child>, Error> {
        let mut children = self.load_index(index, deadline).await?;
        let mut expanded = HashSet::from([index.digest.clone()]);
        let mut leaves: Vec<Child> = Vec::new();
        for depth in 1..=MAX_DEPTH {
            let (nested, found): (Vec<_>, Vec<_>) =
                children.into_iter().partition(|child| child.kind == ManifestKind::Index);
            for child in found {
                push_once(&mut leaves, child);
            }
            children = Vec::new();
            for child in nested.into_iter().filter(|child| expanded.insert(child.digest.clone())) {
                if depth == MAX_DEPTH {
                    return Err(Error::TooComplex(format!("index {} nests too deeply", index.digest)));
                }
                match self.load_one((&child.digest, None), deadline).await?.as_deref() {
                    Ok(Document::Index(found)) => children.extend_from_slice(found),
                    Ok(Document::OversizedIndex) => return Err(has_too_many(index)),
                    Ok(Document::Single(_)) | Err(_) => push_once(&mut leaves, child),
                }
                if children.len() > MAX_CHILDREN {
                    return Err(has_too_many(index));
                }
            }
            if leaves.len() + children.len() + expanded.len() > MAX_CHILDREN + 1 {
                return Err(has_too_many(index));
            }
        }
        Ok(leaves)
    }

    async fn load_index(&self, index: &ImageDescription, deadline: Deadline) -> Result<Vec<Child>, Error> {
        match self.load_document(index, deadline).await?.as_ref() {
            Document::Index(children) => Ok(children.clone()),
            Document::OversizedIndex => Err(has_too_many(index)),
            Document::Single(_) => {
                let detail = format!("{} is declared as an index, but is none", index.digest);
                Err(malformed(DESCRIBE_IMAGES, detail))
            }
        }
    }
}

fn has_too_many(index: &ImageDescription) -> Error {
    Error::TooComplex(format!("index {} has more than {MAX_CHILDREN} manifests", index.digest))
}

fn push_once(children: &mut Vec<Child>, child: Child) {
    if !children.contains(&child) {
        children.push(child);
    }
}

/// True if a child is selected. One without a platform may run anywhere, so it always is.
fn is_requested(child: &Child, requested: &[Platform]) -> bool {
    requested.is_empty()
        || child.platform.as_ref().is_none_or(|platform| requested.iter().any(|wanted| platform.satisfies(wanted)))
}

/// Returns the platforms of children, in their order, each once.
fn stated(children: &[&Child]) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    for child in children.iter().filter(|child| !child.runs_nowhere()) {
        if let Some(platform) = child.platform.as_ref().filter(|platform| !platforms.contains(platform)) {
            platforms.push(platform.clone());
        }
    }
    platforms
}
