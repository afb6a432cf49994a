//! Descriptions of the images that a test pushes.

use std::time::Duration;

use super::manifest::OCI_CONFIG;
use super::script::ScanScript;

/// An image to push. The default is an OCI image for linux/amd64 that is never scanned.
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
    pub(crate) in_use: Option<(u64, Duration)>,
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
            in_use: None,
        }
    }

    /// A single image for linux/amd64.
    pub fn single(repository: &str, tag: &str) -> Self {
        Self::new(repository, Some(tag), Shape::Single { platform: "linux/amd64".to_owned() })
    }

    /// An index without children. [`ImageSpec::platform`], [`ImageSpec::child`] and [`ImageSpec::attestation`] add them.
    pub fn index(repository: &str, tag: &str) -> Self {
        Self::new(repository, Some(tag), Shape::Index { children: Vec::new() })
    }

    /// An artifact with its own config and layer media types, such as an SBOM.
    pub fn artifact(repository: &str, tag: &str, config_type: &str, layer_type: &str) -> Self {
        let shape = Shape::Artifact { config: config_type.to_owned(), layer: layer_type.to_owned(), subject: None };
        Self::new(repository, Some(tag), shape)
    }

    /// A cosign signature. Its config is that of an image; only its layer's media type differs.
    pub fn cosign_signature(repository: &str, tag: &str) -> Self {
        Self::artifact(repository, tag, OCI_CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json")
    }

    /// A Helm chart.
    pub fn helm_chart(repository: &str, tag: &str) -> Self {
        let layer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        Self::artifact(repository, tag, "application/vnd.cncf.helm.config.v1+json", layer)
    }

    /// A manifest with exactly these bytes.
    pub fn raw(repository: &str, tag: &str, manifest: &str, media_type: Option<&str>) -> Self {
        let shape = Shape::Raw { manifest: manifest.to_owned(), media_type: media_type.map(str::to_owned) };
        Self::new(repository, Some(tag), shape)
    }

    /// An attestation in the form that buildx creates.
    fn in_toto() -> Self {
        let (config, layer) = (OCI_CONFIG.to_owned(), "application/vnd.in-toto+json".to_owned());
        Self::new("", None, Shape::Artifact { config, layer, subject: None })
    }

    /// Sets the scan script.
    #[must_use]
    pub fn scan(mut self, script: ScanScript) -> Self {
        self.scan = script;
        self
    }

    /// Sets a text that represents the files in the image: other content, other digest.
    #[must_use]
    pub fn content(mut self, content: &str) -> Self {
        content.clone_into(&mut self.content);
        self
    }

    /// Removes the tag.
    #[must_use]
    pub fn untagged(mut self) -> Self {
        self.tag = None;
        self
    }

    /// Sets the time since the push. The default is shortly before the scan, or two hours for an image without one.
    #[must_use]
    pub fn pushed_ago(mut self, ago: Duration) -> Self {
        self.pushed_ago = Some(ago);
        self
    }

    /// Uses Docker's media types instead of OCI's, for an index also in the children added so far.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        match &mut self.shape {
            Shape::Index { children } => children.iter_mut().for_each(Child::make_docker),
            Shape::Single { .. } | Shape::Artifact { .. } | Shape::Raw { .. } => {}
        }
        self
    }

    /// Archives the image after the push: it can no longer be scanned or pulled.
    #[must_use]
    pub fn archived(mut self) -> Self {
        self.archived = true;
        self
    }

    /// Sets the number of tasks and pods that run the image, and the time since one last did. Enhanced findings and
    /// coverage report both.
    #[must_use]
    pub fn in_use(mut self, count: u64, last_ago: Duration) -> Self {
        self.in_use = Some((count, last_ago));
        self
    }

    /// Sets the digest of an artifact's subject image.
    #[must_use]
    pub fn subject(mut self, digest: &str) -> Self {
        if let Shape::Artifact { subject, .. } = &mut self.shape {
            *subject = Some(digest.to_owned());
        }
        self
    }

    /// Sets the platform and scan script of a single image, or adds such a child to an index. The platform is
    /// `os[(os version)]/architecture[/variant]`.
    #[must_use]
    pub fn platform(self, platform: &str, scan: ScanScript) -> Self {
        match self.shape {
            Shape::Single { .. } => Self { shape: Shape::Single { platform: platform.to_owned() }, scan, ..self },
            Shape::Index { .. } | Shape::Artifact { .. } | Shape::Raw { .. } => {
                self.child(Child::platform(platform, scan))
            }
        }
    }

    /// Adds a child to an index.
    #[must_use]
    pub fn child(mut self, child: Child) -> Self {
        if let Shape::Index { children } = &mut self.shape {
            children.push(child);
        }
        self
    }

    /// Adds a provenance child in the form that buildx creates: platform unknown/unknown, marked by an annotation.
    #[must_use]
    pub fn attestation(self) -> Self {
        self.child(Child::attestation())
    }
}

/// A child of an index: its descriptor and its image.
#[derive(Clone, Debug)]
pub struct Child {
    pub(crate) platform: Option<String>,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) image: ChildImage,
}

#[derive(Clone, Debug)]
pub(crate) enum ChildImage {
    Present(Box<ImageSpec>),
    Absent,
}

impl Child {
    fn new(platform: Option<&str>, image: ChildImage) -> Self {
        Self { platform: platform.map(str::to_owned), annotations: Vec::new(), image }
    }

    fn present(platform: Option<&str>, spec: ImageSpec) -> Self {
        Self::new(platform, ChildImage::Present(Box::new(spec)))
    }

    /// An image for a platform.
    pub fn platform(platform: &str, scan: ScanScript) -> Self {
        let shape = Shape::Single { platform: platform.to_owned() };
        Self::present(Some(platform), ImageSpec::new("", None, shape).scan(scan))
    }

    /// A provenance attestation in the form that buildx creates.
    pub fn attestation() -> Self {
        Self::present(Some("unknown/unknown"), ImageSpec::in_toto())
            .annotate("vnd.docker.reference.type", "attestation-manifest")
    }

    /// Any image, such as a nested index or an artifact. It is pushed to the index's repository without a tag.
    pub fn image(spec: ImageSpec) -> Self {
        Self::present(None, spec.untagged())
    }

    /// A descriptor without an image in the repository.
    pub fn absent(platform: &str) -> Self {
        Self::new(Some(platform), ChildImage::Absent)
    }

    /// Overrides the platform in the descriptor.
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
        if let ChildImage::Present(spec) = &mut self.image {
            spec.docker = true;
        }
    }

    /// The image to push for this child; `None` for an absent one. `content` is the default content.
    pub(crate) fn spec(&self, repository: &str, content: &str) -> Option<ImageSpec> {
        let ChildImage::Present(spec) = &self.image else { return None };
        let mut spec = spec.as_ref().clone();
        repository.clone_into(&mut spec.repository);
        if spec.content.is_empty() {
            content.clone_into(&mut spec.content);
        }
        Some(spec)
    }
}
