//! Pushes: of an image description, or of manifest bytes from `PutImage`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::World;
use super::image::{Image, ImageStatus, Scan};
use super::manifest::{self, Manifest, OCI_MANIFEST};
use super::scanning::ScanFrequency;
use super::script::{ScanScript, ScanStart};
use super::spec::{Child, ImageSpec, Shape};
use crate::clock::saturating_sub;

/// The result of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the image or index.
    pub digest: String,
    /// The children of an index, in order; empty for a single image.
    pub children: Vec<PushedChild>,
}

/// A child of a pushed index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedChild {
    /// The platform in the child's descriptor.
    pub platform: Option<String>,
    /// The child's digest.
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
    /// Pushes an image (an index with its children), and creates the repository if necessary. An existing tag moves
    /// from its old image, which stays untagged.
    pub fn push(&mut self, spec: ImageSpec) -> Pushed {
        let now = self.now();
        let push_time = push_time(&spec, now);
        let Rendered { text, media_type, children, architecture } = self.render(&spec);
        let digest = manifest::digest(&text);
        let manifest = parse_or_opaque(text, media_type, &digest);
        let scan = Scan::new(spec.scan, self.scanning.scan_type, push_time, now);
        self.insert_image(&spec.repository, manifest, &architecture, push_time, scan, spec.tag.as_deref());
        if spec.archived
            && let Some(repository) = self.find_repository_mut(&spec.repository)
            && let Some(image) = repository.image_mut(&digest)
        {
            image.archive(push_time);
        }
        if let Some((count, last_ago)) = spec.in_use
            && let Some(repository) = self.find_repository_mut(&spec.repository)
            && let Some(image) = repository.image_mut(&digest)
        {
            image.in_use = Some((count, saturating_sub(now, last_ago)));
        }
        Pushed { digest, children }
    }

    /// Stores a manifest from `PutImage`. If the repository is scanned on push, the scan starts now.
    pub(crate) fn put(&mut self, repository: &str, manifest: Manifest, tag: Option<&str>) {
        let now = self.now();
        let digest = manifest.digest.clone();
        if self.image(repository, &digest).is_none() {
            let script = self.script_on_put(repository, manifest.scannable);
            let scan = Scan::new(script, self.scanning.scan_type, now, now);
            return self.insert_image(repository, manifest, "amd64", now, scan, tag);
        }
        if let (Some(tag), Some(repository)) = (tag, self.find_repository_mut(repository)) {
            repository.set_tag(tag, &digest);
        }
    }

    fn script_on_put(&mut self, repository: &str, scannable: bool) -> ScanScript {
        let script = self.put_image_script().clone();
        self.repository(repository);
        let frequency =
            self.find_repository(repository).map(|repository| self.effective_scanning(repository).frequency);
        if scannable && frequency.is_some_and(|frequency| frequency != ScanFrequency::Manual) {
            script
        } else {
            ScanScript { start: ScanStart::OnRequest, ..script }
        }
    }

    fn insert_image(
        &mut self,
        repository: &str,
        manifest: Manifest,
        architecture: &str,
        push_time: Timestamp,
        scan: Scan,
        tag: Option<&str>,
    ) {
        let digest = manifest.digest.clone();
        let repository = self.repository(repository);
        repository.insert(Image {
            manifest,
            architecture: architecture.to_owned(),
            push_time,
            pull_time: None,
            status: ImageStatus::Active,
            archive_time: None,
            activate_time: None,
            scan,
            in_use: None,
        });
        if let Some(tag) = tag {
            repository.set_tag(tag, &digest);
        }
    }

    /// Renders the manifest, and pushes the children of an index.
    fn render(&mut self, spec: &ImageSpec) -> Rendered {
        let content = format!("{}:{}", spec.repository, spec.content);
        match &spec.shape {
            Shape::Single { platform } => {
                let architecture = platform.split('/').nth(1).unwrap_or(platform).to_owned();
                Rendered { architecture, ..Rendered::new(Manifest::image(spec.docker, platform, &content)) }
            }
            Shape::Artifact { config, layer, subject } => {
                let subject =
                    subject.as_ref().map(|digest| json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 0}));
                Rendered::new(Manifest::artifact(config, layer, &content, subject.as_ref()))
            }
            Shape::Raw { manifest, media_type } => {
                Rendered { media_type: media_type.clone(), ..Rendered::new(manifest.clone()) }
            }
            Shape::Index { children } => {
                let (descriptors, children) = self.push_children(spec, children);
                Rendered { children, ..Rendered::new(Manifest::index(spec.docker, &descriptors)) }
            }
        }
    }

    fn push_children(&mut self, index: &ImageSpec, children: &[Child]) -> (Vec<Value>, Vec<PushedChild>) {
        let mut descriptors = Vec::new();
        let mut pushed: Vec<PushedChild> = Vec::new();
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
            let previous = pushed.last().map(|child| child.digest.as_str());
            descriptors.push(descriptor(child, media_type, &digest, size, previous));
            pushed.push(PushedChild { platform: child.platform.clone(), digest });
        }
        (descriptors, pushed)
    }
}

/// A manifest to store.
struct Rendered {
    text: String,
    /// The declared media type, for bytes that may not be a manifest.
    media_type: Option<String>,
    children: Vec<PushedChild>,
    architecture: String,
}

impl Rendered {
    fn new(text: String) -> Self {
        Self { text, media_type: None, children: Vec::new(), architecture: "amd64".to_owned() }
    }
}

/// Parses a manifest. Bytes that are not a manifest are stored too, so that a test can send them to a client.
fn parse_or_opaque(text: String, media_type: Option<String>, digest: &str) -> Manifest {
    Manifest::parse(text.clone(), media_type.as_deref()).unwrap_or_else(|_| Manifest {
        media_type: media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned()),
        digest: digest.to_owned(),
        text,
        artifact_media_type: None,
        subject: None,
        size: 0,
        children: Vec::new(),
        scannable: false,
    })
}

/// The descriptor of a child in an index. `previous` is the digest of the preceding child, the subject of an
/// attestation.
fn descriptor(child: &Child, media_type: &str, digest: &str, size: usize, previous: Option<&str>) -> Value {
    let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": size});
    let Some(members) = descriptor.as_object_mut() else { return descriptor };
    if let Some(platform) = &child.platform {
        members.insert("platform".into(), platform_members(platform));
    }
    let mut annotations: serde_json::Map<String, Value> =
        child.annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    if let (true, Some(subject)) = (annotations.contains_key("vnd.docker.reference.type"), previous) {
        annotations.insert("vnd.docker.reference.digest".into(), subject.into());
    }
    if !annotations.is_empty() {
        members.insert("annotations".into(), annotations.into());
    }
    descriptor
}

/// The members of a platform, as an index states them.
fn platform_members(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let os = parts.next().unwrap_or_default();
    let (os, version) =
        os.split_once('(').map_or((os, None), |(os, version)| (os, Some(version.trim_end_matches(')'))));
    let members = [
        ("os", Some(os)),
        ("architecture", Some(parts.next().unwrap_or_default())),
        ("variant", parts.next()),
        ("os.version", version),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect()
}

const PUSH_TO_SCAN_DELAY: Duration = Duration::from_secs(30);

/// The time of the push. The default depends on the scan: shortly before a completed scan, now for a scan that starts
/// after the push, and two hours ago for an image without a scan.
fn push_time(spec: &ImageSpec, now: Timestamp) -> Timestamp {
    let ago = spec.pushed_ago.unwrap_or_else(|| match spec.scan.start {
        ScanStart::AfterPush(_) => Duration::ZERO,
        ScanStart::CompletedAgo(ago) => ago.saturating_add(spec.scan.duration).saturating_add(PUSH_TO_SCAN_DELAY),
        ScanStart::OnRequest => Duration::from_hours(2),
    });
    saturating_sub(now, ago)
}
