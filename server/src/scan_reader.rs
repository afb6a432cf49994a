//! Reading what a question is about: which manifests of an image, and the scan of each.

use std::{collections::BTreeSet, sync::Arc};

use scangate_core::{
    decision::ManifestInput,
    image::Platform,
    name::{Environment, PolicyId},
    scan::Manifest,
};
use tokio::task::JoinSet;

use crate::{
    decisions, observations, policies,
    registry::{self, Freshness, Registry, Resolved},
};

/// Why there is no answer about an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry gave none.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The policies are not to be had as the caller needs them.
    #[error(transparent)]
    Policies(#[from] policies::Error),
    /// No such policy.
    #[error("policy {0} does not exist")]
    PolicyNotFound(PolicyId),
    /// The image has no manifest for a platform asked for.
    #[error("the image has no manifest for {missing}")]
    PlatformNotFound {
        /// The platform asked for.
        missing: Platform,
        /// Those that there are.
        available: Vec<Platform>,
    },
    /// The server knows all environments and this is none.
    #[error("environment {environment} is unknown")]
    EnvironmentUnknown {
        /// The one asked for.
        environment: Environment,
        /// Those that there are.
        known: BTreeSet<Environment>,
    },
    /// The observations are unavailable or unreadable.
    #[error(transparent)]
    Observations(#[from] observations::Error),
    /// The log of decisions did not do as asked.
    #[error(transparent)]
    Decisions(#[from] decisions::Error),
    /// The decision cannot be written down.
    #[error("the decision cannot be written down")]
    Unrecordable(#[source] serde_json::Error),
    /// The scan has changed between two pages.
    #[error("the findings have changed between two pages")]
    FindingsChanged,
    /// A task of ours died.
    #[error("a reading was lost")]
    Lost(#[source] tokio::task::JoinError),
}

/// The manifests of an image that the caller asks about: those of the platforms named, or all.
///
/// An image that is no index states no platform; it is judged whatever platform was asked for, which is never looser.
pub fn select_manifests(resolved: &Resolved, platforms: &[Platform]) -> Result<Vec<Manifest>, Error> {
    let available = || resolved.manifests.iter().filter_map(|manifest| manifest.platform.as_ref());
    if platforms.is_empty() || available().next().is_none() {
        return Ok(resolved.manifests.clone());
    }
    let missing = platforms.iter().find(|asked| !available().any(|platform| platform.satisfies(asked)));
    if let Some(missing) = missing {
        return Err(Error::PlatformNotFound { missing: missing.clone(), available: available().cloned().collect() });
    }
    let asked_for = |manifest: &&Manifest| {
        // A manifest of an index that states no platform may run anywhere, so it is always judged.
        manifest.platform.as_ref().is_none_or(|platform| platforms.iter().any(|asked| platform.satisfies(asked)))
    };
    Ok(resolved.manifests.iter().filter(asked_for).cloned().collect())
}

/// Reads the scan of each manifest, all at once, in the order of the manifests.
pub async fn read_scans(
    registry: &Arc<dyn Registry>,
    resolved: &Resolved,
    manifests: Vec<Manifest>,
    freshness: Freshness,
) -> Result<Vec<ManifestInput>, Error> {
    let mut readings = JoinSet::new();
    for (at, manifest) in manifests.into_iter().enumerate() {
        let registry = Arc::clone(registry);
        let repository = resolved.repository();
        readings.spawn(async move {
            let scan = registry.scan(&repository, &manifest, freshness).await?;
            Ok::<_, registry::Error>((at, ManifestInput { manifest, scan, start: None, first_seen: Arc::default() }))
        });
    }
    let mut examined = Vec::with_capacity(readings.len());
    while let Some(reading) = readings.join_next().await {
        examined.push(reading.map_err(Error::Lost)??);
    }
    examined.sort_by_key(|(at, _)| *at);
    Ok(examined.into_iter().map(|(_, examined)| examined).collect())
}
