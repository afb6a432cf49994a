//! Selects the manifests of an image and reads the scan of each. Evaluation, findings and scans share it.

use std::sync::Arc;

use scangate_core::{
    decision::ManifestInput,
    image::{Platform, Repository},
    scan::{Manifest, Scan, Status},
};
use tokio::task::JoinSet;

use crate::registry::{self, Freshness, Registry, Resolved};

/// A failure to select the manifests of an image or to read their scans.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry failed or refused the request.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The image has no manifest for a requested platform.
    #[error("the image has no manifest for {missing}")]
    PlatformNotFound {
        /// The requested platform.
        missing: Platform,
        /// The platforms of the image.
        available: Vec<Platform>,
    },
    /// A task that read a scan was cancelled or panicked.
    #[error("the task that read a scan failed")]
    TaskFailed(#[source] tokio::task::JoinError),
}

/// Returns the manifests of an image that was resolved for the given platforms. Each platform must have one.
///
/// A single-platform image may state no platform. It then stands for any platform, which is never less strict.
pub fn select_manifests(resolved: &Resolved, platforms: &[Platform]) -> Result<Vec<Manifest>, Error> {
    let available = &resolved.platforms;
    let missing = platforms.iter().find(|wanted| !available.iter().any(|platform| platform.satisfies(wanted)));
    match missing {
        Some(missing) if !available.is_empty() => {
            Err(Error::PlatformNotFound { missing: missing.clone(), available: available.clone() })
        }
        Some(_) | None => Ok(resolved.manifests.clone()),
    }
}

/// Reads the scans of all manifests concurrently and returns them in the order of the manifests.
pub async fn read_scans(
    registry: &Arc<dyn Registry>,
    resolved: &Resolved,
    manifests: Vec<Manifest>,
    freshness: Freshness,
) -> Result<Vec<ManifestInput>, Error> {
    let mut reads = JoinSet::new();
    for (index, manifest) in manifests.into_iter().enumerate() {
        let registry = Arc::clone(registry);
        let repository = resolved.repository();
        reads.spawn(async move {
            let scan = registry.scan(&repository, &manifest, freshness).await?;
            let manifest = verify_content(&registry, &repository, manifest, &scan).await?;
            Ok::<_, registry::Error>((index, ManifestInput { manifest, scan, start: None, first_seen: Arc::default() }))
        });
    }
    let mut inputs = Vec::with_capacity(reads.len());
    while let Some(read) = reads.join_next().await {
        inputs.push(read.map_err(Error::TaskFailed)??);
    }
    inputs.sort_by_key(|(index, _)| *index);
    Ok(inputs.into_iter().map(|(_, input)| input).collect())
}

/// Returns the manifest with the content that its bytes show. Without a result of a scan, only they show that it is no image,
/// and no policy may then accept it. Nor may a policy accept a manifest whose bytes are invalid.
async fn verify_content(
    registry: &Arc<dyn Registry>,
    repository: &Repository,
    manifest: Manifest,
    scan: &Scan,
) -> Result<Manifest, registry::Error> {
    let is_doubtful = matches!(scan.status, Status::NotFound | Status::Failed | Status::UnsupportedImage);
    if !is_doubtful || !manifest.is_readable_image() || manifest.archived {
        return Ok(manifest);
    }
    match registry.content(repository, &manifest).await {
        Ok(content) => Ok(Manifest { content, ..manifest }),
        Err(registry::Error::MalformedResponse { detail, .. }) => {
            Ok(Manifest { unreadable: Some(format!("the manifest cannot be read: {detail}")), ..manifest })
        }
        Err(error) => Err(error),
    }
}
