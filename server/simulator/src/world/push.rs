//! Pushing: from a description, or as bytes that came over the wire.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::World;
use super::image::{Image, ImageStatus, Scan};
use super::manifest::{self, Manifest, OCI_MANIFEST};
use super::scanning::ScanFrequency;
use super::script::{Begins, ScanScript};
use super::spec::{Child, ImageSpec, Shape};
use crate::clock::earlier;

/// What a push made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The image's digest; of an index, the index's.
    pub digest: String,
    /// The children of an index, in order; empty for a single image.
    pub children: Vec<PushedChild>,
}

/// A child of a pushed index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedChild {
    /// The platform its descriptor states.
    pub platform: Option<String>,
    /// Its digest.
    pub digest: String,
}

impl Pushed {
    /// The digest of the child for a platform.
    pub fn child(&self, platform: &str) -> Option<&str> {
        self.children
            .iter()
            .find(|child| child.platform.as_deref() == Some(platform))
            .map(|child| child.digest.as_str())
    }
}

impl World {
    /// Pushes an image (an index with its children), making the repository if need be. A tag that was on another image
    /// moves; the other image stays, untagged.
    pub fn push(&mut self, spec: ImageSpec) -> Pushed {
        let now = self.now();
        let pushed_at = pushed_at(&spec, now);
        let (text, declared, children, architecture) = self.render(&spec);
        let digest = manifest::digest(&text);
        // What is not a manifest is kept as bytes: a test may want to see what a client makes of it.
        let manifest = Manifest::read(text.clone(), declared.as_deref()).unwrap_or_else(|_| Manifest {
            media_type: declared.unwrap_or_else(|| OCI_MANIFEST.to_owned()),
            digest: digest.clone(),
            text,
            artifact_media_type: None,
            subject: None,
            size: 0,
            children: Vec::new(),
            scannable: false,
        });
        let scan = Scan::new(spec.scan, self.scanning.scan_type, pushed_at, now);
        self.keep(&spec.repository, manifest, &architecture, pushed_at, scan, spec.tag.as_deref());
        if spec.archived
            && let Some(image) = self.find_repository_mut(&spec.repository).and_then(|held| held.image_mut(&digest))
        {
            image.archive(pushed_at);
        }
        Pushed { digest, children }
    }

    /// Keeps a manifest that came by `PutImage`. What is scanned on push begins its scan now.
    pub(crate) fn put(&mut self, repository: &str, manifest: Manifest, tag: Option<&str>) {
        let now = self.now();
        let digest = manifest.digest.clone();
        let held = self.image(repository, &digest).is_some();
        if !held {
            let script = self.script_on_put(repository, manifest.scannable);
            let scan = Scan::new(script, self.scanning.scan_type, now, now);
            return self.keep(repository, manifest, "amd64", now, scan, tag);
        }
        if let (Some(tag), Some(repository)) = (tag, self.find_repository_mut(repository)) {
            repository.set_tag(tag, &digest);
        }
    }

    fn script_on_put(&mut self, repository: &str, scannable: bool) -> ScanScript {
        let script = self.pushed_image_script().clone();
        self.repository(repository);
        let frequency =
            self.find_repository(repository).map(|repository| self.effective_scanning(repository).frequency);
        if scannable && frequency.is_some_and(|frequency| frequency != ScanFrequency::Manual) {
            script
        } else {
            ScanScript { begins: Begins::OnRequest, ..script }
        }
    }

    fn keep(
        &mut self,
        repository: &str,
        manifest: Manifest,
        architecture: &str,
        pushed_at: Timestamp,
        scan: Scan,
        tag: Option<&str>,
    ) {
        let digest = manifest.digest.clone();
        let repository = self.repository(repository);
        repository.insert(Image {
            manifest,
            architecture: architecture.to_owned(),
            pushed_at,
            pulled_at: None,
            status: ImageStatus::Active,
            archived_at: None,
            activated_at: None,
            scan,
        });
        if let Some(tag) = tag {
            repository.set_tag(tag, &digest);
        }
    }

    /// The manifest's text and declared media type, the children pushed for it, and the architecture.
    fn render(&mut self, spec: &ImageSpec) -> (String, Option<String>, Vec<PushedChild>, String) {
        let content = format!("{}:{}", spec.repository, spec.content);
        match &spec.shape {
            Shape::Single { platform } => {
                let architecture = platform.split('/').nth(1).unwrap_or(platform).to_owned();
                (Manifest::image(spec.docker, platform, &content), None, Vec::new(), architecture)
            }
            Shape::Artifact { config, layer, subject } => {
                let subject =
                    subject.as_ref().map(|digest| json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 0}));
                (Manifest::artifact(config, layer, &content, subject.as_ref()), None, Vec::new(), "amd64".to_owned())
            }
            Shape::Raw { manifest, media_type } => {
                (manifest.clone(), media_type.clone(), Vec::new(), "amd64".to_owned())
            }
            Shape::Index { children } => {
                let (descriptors, children) = self.push_children(spec, children);
                (Manifest::index(spec.docker, &descriptors), None, children, "amd64".to_owned())
            }
        }
    }

    fn push_children(&mut self, index: &ImageSpec, children: &[Child]) -> (Vec<Value>, Vec<PushedChild>) {
        let mut descriptors = Vec::new();
        let mut made: Vec<PushedChild> = Vec::new();
        for (position, child) in children.iter().enumerate() {
            let content = format!("{} child {position}", index.content);
            let digest = match child.spec(&index.repository, &content) {
                Some(mut spec) => {
                    spec.pushed_ago = spec.pushed_ago.or(index.pushed_ago);
                    self.push(spec).digest
                }
                None => manifest::digest(&content),
            };
            let image = self.image(&index.repository, &digest);
            let media_type = image.map_or(OCI_MANIFEST, Image::media_type);
            let size = image.map_or(1_024, |image| image.manifest().len());
            let about = made.last().map(|child| child.digest.as_str());
            descriptors.push(descriptor(child, media_type, &digest, size, about));
            made.push(PushedChild { platform: child.platform.clone(), digest });
        }
        (descriptors, made)
    }
}

/// `about` is the digest of the child before, which is what an attestation is about.
fn descriptor(child: &Child, media_type: &str, digest: &str, size: usize, about: Option<&str>) -> Value {
    let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": size});
    let Some(members) = descriptor.as_object_mut() else { return descriptor };
    if let Some(platform) = &child.platform {
        let mut parts = platform.split('/');
        let mut stated = json!({"os": parts.next(), "architecture": parts.next().unwrap_or_default()});
        if let (Some(variant), Some(stated)) = (parts.next(), stated.as_object_mut()) {
            stated.insert("variant".into(), variant.into());
        }
        members.insert("platform".into(), stated);
    }
    let mut annotations: serde_json::Map<String, Value> =
        child.annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    if let (true, Some(about)) = (annotations.contains_key("vnd.docker.reference.type"), about) {
        annotations.insert("vnd.docker.reference.digest".into(), about.into());
    }
    if !annotations.is_empty() {
        members.insert("annotations".into(), annotations.into());
    }
    descriptor
}

const SCAN_BEGINS_AFTER: Duration = Duration::from_secs(30);

/// As said; else shortly before a scan that is over, now for a scan that begins with the push, and two hours ago for
/// an image without one.
fn pushed_at(spec: &ImageSpec, now: Timestamp) -> Timestamp {
    let ago = spec.pushed_ago.unwrap_or_else(|| match spec.scan.begins {
        Begins::AfterPush(_) => Duration::ZERO,
        Begins::ToCompleteAgo(ago) => ago.saturating_add(spec.scan.takes).saturating_add(SCAN_BEGINS_AFTER),
        Begins::OnRequest => Duration::from_hours(2),
    });
    earlier(now, ago)
}
