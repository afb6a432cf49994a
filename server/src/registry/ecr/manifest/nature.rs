//! The nature of a single manifest: something that a container runtime runs, or an artifact.
//!
//! Runtimes go by the media types of the config and the layers; they ignore `artifactType` and `subject`. containerd
//! refuses a config of an unknown type and cannot unpack a layer of an unknown type. Docker checks both, but accepts some
//! odd configs. CRI-O and Podman check the config of OCI manifests only, and no layers. What one of them may run counts
//! as an image, so that its scan decides.

use scangate_core::scan::Content;

/// Configs that a container runtime accepts. The last four are Docker's concession to old registries.
const IMAGE_CONFIGS: [&str; 6] = [
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
];

/// Configs of artifacts that may have layers of images.
const ARTIFACT_CONFIGS: [&str; 3] = [
    "application/vnd.buildkit.cacheconfig.v0",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.amazon.soci.index.",
];

/// The nature of a single manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Nature {
    /// A runtime may run it.
    Image,
    /// An image by its config, but none of its layers is a file system: an attestation or a signature. Only a runtime
    /// that checks no layers would run it.
    ForeignLayers,
    /// No runtime runs it.
    Artifact,
    /// Neither its media type nor its config and layers are known. No runtime runs it, unless an index declares it as an
    /// image.
    Unrecognised,
}

impl Nature {
    /// Returns the content of a manifest that was requested by itself.
    pub(in super::super) fn content(self) -> Content {
        match self {
            Self::Image => Content::Image,
            Self::ForeignLayers | Self::Artifact | Self::Unrecognised => Content::Artifact,
        }
    }

    /// Returns the nature of a manifest. `is_oci`: its media type is stated, and is not Docker's.
    pub(super) fn of(is_oci: bool, config: &str, layers: &[&str]) -> Self {
        let has_file_system = layers.iter().any(|layer| is_file_system(layer));
        if !is_oci || is_accepted_config(config) {
            return if layers.is_empty() || has_file_system || layers.iter().any(|layer| is_untyped(layer)) {
                Self::Image
            } else {
                Self::ForeignLayers
            };
        }
        let is_artifact = ARTIFACT_CONFIGS.iter().any(|known| config.starts_with(known));
        if has_file_system && !is_artifact { Self::Image } else { Self::Artifact }
    }
}

/// True if a config of this media type is that of an ordinary image.
pub(in super::super) fn is_image_config(media_type: &str) -> bool {
    IMAGE_CONFIGS.iter().take(2).any(|known| *known == media_type)
}

fn is_accepted_config(media_type: &str) -> bool {
    IMAGE_CONFIGS.iter().any(|known| known.eq_ignore_ascii_case(media_type))
}

fn is_file_system(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    media_type.is_empty()
        || media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.")
        || media_type.contains("wasm")
}

fn is_untyped(media_type: &str) -> bool {
    media_type.eq_ignore_ascii_case("application/octet-stream")
}
