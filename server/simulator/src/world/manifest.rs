//! Manifests, created for an [`super::ImageSpec`] or parsed from a push. The digest is the SHA-256 of the bytes.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A manifest with the facts that ECR derives from its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) text: String,
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) artifact_media_type: Option<String>,
    pub(crate) subject: Option<String>,
    /// The sum of the layers in bytes.
    pub(crate) size: u64,
    /// The digests that an index references.
    pub(crate) children: Vec<String>,
    pub(crate) scannable: bool,
}

/// The reason why ECR would reject a manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the manifest is not a JSON object")]
    NotJson,
    #[error("the manifest has no media type")]
    NoMediaType,
}

impl Manifest {
    /// Parses a manifest. `declared` is the media type from the request; the manifest's own media type overrides it.
    pub(crate) fn parse(text: String, declared: Option<&str>) -> Result<Self, Error> {
        let body: Value = serde_json::from_str(&text).map_err(|_| Error::NotJson)?;
        let members = body.as_object().ok_or(Error::NotJson)?;
        let media_type = string_at(&body, "/mediaType")
            .or_else(|| declared.map(str::to_owned))
            .or_else(|| members.contains_key("manifests").then(|| OCI_INDEX.to_owned()))
            .or_else(|| members.contains_key("config").then(|| OCI_MANIFEST.to_owned()))
            .ok_or(Error::NoMediaType)?;
        let config = string_at(&body, "/config/mediaType");
        let layers = list_member(&body, "layers");
        let index = is_index(&media_type);
        Ok(Self {
            digest: digest(&text),
            artifact_media_type: string_at(&body, "/artifactType").or_else(|| config.clone()),
            subject: string_at(&body, "/subject/digest"),
            size: layers.iter().filter_map(|layer| layer.get("size").and_then(Value::as_u64)).sum(),
            children: list_member(&body, "manifests").iter().filter_map(|child| string_at(child, "/digest")).collect(),
            scannable: !index
                && config.is_some_and(|config| config == DOCKER_CONFIG || config == OCI_CONFIG)
                && layers.iter().all(is_file_system),
            media_type,
            text,
        })
    }

    /// The text of a single image's manifest.
    pub(crate) fn image(docker: bool, platform: &str, content: &str) -> String {
        let (manifest, config, layer) =
            if docker { (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER) } else { (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER) };
        pretty(&json!({
            "schemaVersion": 2, "mediaType": manifest,
            "config": descriptor(config, &format!("config of {content} for {platform}"), 1_469),
            "layers": [
                descriptor(layer, "base layer", 27_098_254),
                descriptor(layer, &format!("layer of {content} for {platform}"), 3_412_877),
            ],
        }))
    }

    /// The manifest text of an artifact that is not a runnable image: one layer of `layer_type`.
    pub(crate) fn artifact(config_type: &str, layer_type: &str, content: &str, subject: Option<&Value>) -> String {
        let mut body = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(config_type, &format!("config of {content}"), 233),
            "layers": [descriptor(layer_type, &format!("payload of {content}"), 4_096)],
        });
        if let (Some(subject), Some(members)) = (subject, body.as_object_mut()) {
            members.insert("subject".into(), subject.clone());
        }
        pretty(&body)
    }

    /// The text of an index over `children`, each a descriptor.
    pub(crate) fn index(docker: bool, children: &[Value]) -> String {
        let media_type = if docker { DOCKER_LIST } else { OCI_INDEX };
        pretty(&json!({"schemaVersion": 2, "mediaType": media_type, "manifests": children}))
    }
}

/// True if the media type is that of an index (a manifest list).
pub(crate) fn is_index(media_type: &str) -> bool {
    media_type == OCI_INDEX || media_type == DOCKER_LIST
}

/// The SHA-256 digest of a text, in the registry form `sha256:…`.
pub(crate) fn digest(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

fn descriptor(media_type: &str, content: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": size})
}

fn is_file_system(layer: &Value) -> bool {
    layer.get("mediaType").and_then(Value::as_str).is_some_and(|layer| {
        layer.starts_with("application/vnd.oci.image.layer.")
            || layer.starts_with("application/vnd.docker.image.rootfs.")
    })
}

fn string_at(body: &Value, pointer: &str) -> Option<String> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn list_member<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Indented JSON, as push tools write it, with sorted members. Otherwise the digest would depend on `serde_json`'s
/// `preserve_order` feature, which any crate of the build can enable.
fn pretty(body: &Value) -> String {
    let mut body = body.clone();
    body.sort_all_objects();
    format!("{body:#}")
}
