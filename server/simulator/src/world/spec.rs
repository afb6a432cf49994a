//! Descriptions of images to push: what a test writes down.

use std::time::Duration;

use super::manifest::OCI_CONFIG;
use super::script::ScanScript;

/// An image to push. What is not said has a plain default: an OCI image for linux/amd64, never scanned.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) content: String,
    pub(crate) shape: Shape,
    pub(crate) docker: bool,
    pub(crate) scan: ScanScript,
    pub(crate) pushed_ago: Option<Duration>,
    pub(crate) archived: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Single { platform: String },
    Index { children: Vec<Child> },
    Artifact { config: String, layer: String, subject: Option<String> },
    Raw { manifest: String, media_type: Option<String> },
}

impl ImageSpec {
    fn new(repository: &str, tag: Option<&str>, shape: Shape) -> Self {
        Self {
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            content: tag.unwrap_or_default().to_owned(),
            shape,
            docker: false,
            scan: ScanScript::never(),
            pushed_ago: None,
            archived: false,
        }
    }

    /// A single image for linux/amd64.
    pub fn single(repository: &str, tag: &str) -> Self {
        Self::new(repository, Some(tag), Shape::Single { platform: "linux/amd64".to_owned() })
    }

    /// An index; its children follow by [`ImageSpec::platform`] and its siblings.
    pub fn index(repository: &str, tag: &str) -> Self {
        Self::new(repository, Some(tag), Shape::Index { children: Vec::new() })
    }

    /// An artifact of an own config and layer media type, such as an SBOM.
    pub fn artifact(repository: &str, tag: &str, config_type: &str, layer_type: &str) -> Self {
        let shape = Shape::Artifact { config: config_type.to_owned(), layer: layer_type.to_owned(), subject: None };
        Self::new(repository, Some(tag), shape)
    }

    /// A cosign signature: by its config an image, and only by its layer not.
    pub fn cosign_signature(repository: &str, tag: &str) -> Self {
        Self::artifact(repository, tag, OCI_CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json")
    }

    /// A Helm chart.
    pub fn helm_chart(repository: &str, tag: &str) -> Self {
        let layer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        Self::artifact(repository, tag, "application/vnd.cncf.helm.config.v1+json", layer)
    }

    /// A manifest of exactly these bytes.
    pub fn raw(repository: &str, tag: &str, manifest: &str, media_type: Option<&str>) -> Self {
        let shape = Shape::Raw { manifest: manifest.to_owned(), media_type: media_type.map(str::to_owned) };
        Self::new(repository, Some(tag), shape)
    }

    /// An attestation as buildx makes it.
    fn in_toto() -> Self {
        let (config, layer) = (OCI_CONFIG.to_owned(), "application/vnd.in-toto+json".to_owned());
        Self::new("", None, Shape::Artifact { config, layer, subject: None })
    }

    /// What its scans do.
    #[must_use]
    pub fn scan(mut self, script: ScanScript) -> Self {
        self.scan = script;
        self
    }

    /// Stands for the files in the image: other content, other digest.
    #[must_use]
    pub fn content(mut self, content: &str) -> Self {
        content.clone_into(&mut self.content);
        self
    }

    /// Pushed without a tag.
    #[must_use]
    pub fn untagged(mut self) -> Self {
        self.tag = None;
        self
    }

    /// How long ago it was pushed. Unless said: shortly before its scan, or two hours ago.
    #[must_use]
    pub fn pushed_ago(mut self, ago: Duration) -> Self {
        self.pushed_ago = Some(ago);
        self
    }

    /// In docker's media types instead of OCI's; for an index with the children named so far.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        match &mut self.shape {
            Shape::Index { children } => children.iter_mut().for_each(Child::make_docker),
            Shape::Single { .. } | Shape::Artifact { .. } | Shape::Raw { .. } => {}
        }
        self
    }

    /// Archived after the push: not scanned and not pulled any more.
    #[must_use]
    pub fn archived(mut self) -> Self {
        self.archived = true;
        self
    }

    /// The digest of the image that an artifact is about.
    #[must_use]
    pub fn subject(mut self, digest: &str) -> Self {
        if let Shape::Artifact { subject, .. } = &mut self.shape {
            *subject = Some(digest.to_owned());
        }
        self
    }

    /// A single image's platform (`os/architecture` or `os/architecture/variant`), or a further child of an index with
    /// its scans.
    #[must_use]
    pub fn platform(self, platform: &str, scan: ScanScript) -> Self {
        match self.shape {
            Shape::Single { .. } => Self { shape: Shape::Single { platform: platform.to_owned() }, scan, ..self },
            Shape::Index { .. } | Shape::Artifact { .. } | Shape::Raw { .. } => {
                self.child(Child::platform(platform, scan))
            }
        }
    }

    /// A further child of an index.
    #[must_use]
    pub fn child(mut self, child: Child) -> Self {
        if let Shape::Index { children } = &mut self.shape {
            children.push(child);
        }
        self
    }

    /// A further child as buildx adds for provenance: platform unknown/unknown, marked by an annotation.
    #[must_use]
    pub fn attestation(self) -> Self {
        self.child(Child::attestation())
    }
}

/// A child of an index: what its descriptor says, and the image behind it.
#[derive(Clone, Debug)]
pub struct Child {
    pub(crate) platform: Option<String>,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) image: ChildImage,
}

#[derive(Clone, Debug)]
pub(crate) enum ChildImage {
    Held(Box<ImageSpec>),
    Absent,
}

impl Child {
    fn new(platform: Option<&str>, image: ChildImage) -> Self {
        Self { platform: platform.map(str::to_owned), annotations: Vec::new(), image }
    }

    fn held(platform: Option<&str>, spec: ImageSpec) -> Self {
        Self::new(platform, ChildImage::Held(Box::new(spec)))
    }

    /// An image for a platform.
    pub fn platform(platform: &str, scan: ScanScript) -> Self {
        let shape = Shape::Single { platform: platform.to_owned() };
        Self::held(Some(platform), ImageSpec::new("", None, shape).scan(scan))
    }

    /// A provenance attestation as buildx adds it.
    pub fn attestation() -> Self {
        Self::held(Some("unknown/unknown"), ImageSpec::in_toto())
            .annotate("vnd.docker.reference.type", "attestation-manifest")
    }

    /// Any image, such as a nested index or an artifact. It is pushed untagged into the index's repository.
    pub fn image(spec: ImageSpec) -> Self {
        Self::held(None, spec.untagged())
    }

    /// A descriptor whose image is not in the repository.
    pub fn absent(platform: &str) -> Self {
        Self::new(Some(platform), ChildImage::Absent)
    }

    /// Overrides the platform that the descriptor states.
    #[must_use]
    pub fn stated_platform(mut self, platform: Option<&str>) -> Self {
        self.platform = platform.map(str::to_owned);
        self
    }

    /// Adds an annotation to the descriptor.
    #[must_use]
    pub fn annotate(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    fn make_docker(&mut self) {
        if let ChildImage::Held(spec) = &mut self.image {
            spec.docker = true;
        }
    }

    /// The image to push for this child, `None` if it is to be absent. `content` is for one that has none of its own.
    pub(crate) fn spec(&self, repository: &str, content: &str) -> Option<ImageSpec> {
        let ChildImage::Held(spec) = &self.image else { return None };
        let mut spec = spec.as_ref().clone();
        repository.clone_into(&mut spec.repository);
        if spec.content.is_empty() {
            content.clone_into(&mut spec.content);
        }
        Some(spec)
    }
}
