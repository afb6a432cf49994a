//! Starts scans and watches them until they end.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use scangate_core::{
    decision::ManifestInput,
    evidence::{Evidence, assess},
    image::{Digest, Image, ImageReference, Platform},
    scan::Manifest,
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    registry::{self, Freshness, Registry, Resolved, Started},
    scan_reader::{self, read_scans, select_manifests},
};

/// The maximum age of a tag's resolution when a scan is started or watched: tags move.
const MAX_RESOLUTION_AGE: Duration = Duration::from_secs(5);
/// The first delay between two reads of a watched scan; it doubles up to [`MAX_DELAY`].
const INITIAL_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// A failure to start or to watch the scans of an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be resolved, or its scan cannot be started.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The manifests cannot be selected, or their scans cannot be read.
    #[error(transparent)]
    Scans(#[from] scan_reader::Error),
    /// A task that started a scan was cancelled or panicked.
    #[error("the task that started a scan failed")]
    TaskFailed(#[source] tokio::task::JoinError),
}

/// An image with the outcome of starting a scan for each selected manifest.
pub type StartedScans = (Image, Vec<(Manifest, Started)>);

/// Starts a scan of every selected manifest, or joins a running one.
pub async fn start(
    registry: &Arc<dyn Registry>,
    image: &ImageReference,
    platforms: &[Platform],
) -> Result<StartedScans, Error> {
    let resolved = registry.resolve(image, platforms, Freshness::within(MAX_RESOLUTION_AGE)).await?;
    let mut starts = JoinSet::new();
    for manifest in select_manifests(&resolved, platforms)? {
        let registry = Arc::clone(registry);
        let repository = resolved.repository();
        starts.spawn(async move {
            let started = registry.start_scan(&repository, &manifest).await?;
            Ok::<_, registry::Error>((manifest, started))
        });
    }
    let mut outcomes = Vec::with_capacity(starts.len());
    while let Some(outcome) = starts.join_next().await {
        outcomes.push(outcome.map_err(Error::TaskFailed)??);
    }
    outcomes.sort_by(|(a, _), (b, _)| (&a.platform, &a.digest).cmp(&(&b.platform, &b.digest)));
    Ok((resolved.image.clone(), outcomes))
}

/// A report on one watched manifest.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The image.
    pub image: Image,
    /// The manifest and its scan.
    pub input: ManifestInput,
    /// True if the scan has ended: further waiting changes nothing.
    pub ended: bool,
    /// The time since the watch began.
    pub watched_for: Duration,
    /// The number of manifests whose scans have ended.
    pub ended_count: usize,
    /// The number of watched manifests.
    pub total: usize,
}

/// Watches the scans of an image until all have ended or the receiver is closed.
///
/// Each manifest is reported at once and on every change. An error is sent and ends the watch.
pub async fn watch(
    registry: Arc<dyn Registry>,
    image: ImageReference,
    platforms: Vec<Platform>,
    sender: mpsc::Sender<Result<Progress, Error>>,
) {
    let watch = Watch { registry, sender: sender.clone(), began: Instant::now(), reported: BTreeMap::new() };
    tokio::select! {
        outcome = watch.run(image, platforms) => {
            if let Err(error) = outcome {
                // A closed receiver is no error: the watch is over either way.
                sender.send(Err(error)).await.ok();
            }
        }
        () = sender.closed() => {}
    }
}

struct Watch {
    registry: Arc<dyn Registry>,
    sender: mpsc::Sender<Result<Progress, Error>>,
    began: Instant,
    /// `Scan::unchanged_since` at the last report of each manifest.
    reported: BTreeMap<Digest, Timestamp>,
}

impl Watch {
    async fn run(mut self, image: ImageReference, platforms: Vec<Platform>) -> Result<(), Error> {
        let resolved = self.registry.resolve(&image, &platforms, Freshness::within(MAX_RESOLUTION_AGE)).await?;
        let manifests = select_manifests(&resolved, &platforms)?;
        let mut delay = INITIAL_DELAY;
        loop {
            let freshness = Freshness::within(INITIAL_DELAY);
            let inputs = read_scans(&self.registry, &resolved, manifests.clone(), freshness).await?;
            if self.report(&resolved, inputs).await {
                return Ok(());
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }

    /// Reports new and changed manifests. Returns true once the watch is over.
    async fn report(&mut self, resolved: &Resolved, inputs: Vec<ManifestInput>) -> bool {
        let now = Timestamp::now();
        let total = inputs.len();
        let ended_count = inputs.iter().filter(|input| has_ended(input, now)).count();
        for input in inputs {
            let ended = has_ended(&input, now);
            if !self.is_due(&input, ended && ended_count == total) {
                continue;
            }
            self.reported.insert(input.manifest.digest.clone(), input.scan.unchanged_since);
            let watched_for = self.began.elapsed();
            let image = resolved.image.clone();
            let progress = Progress { image, input, ended, watched_for, ended_count, total };
            if self.sender.send(Ok(progress)).await.is_err() {
                return true;
            }
        }
        ended_count == total
    }

    /// True if the manifest is new, has changed, or belongs to the final report.
    fn is_due(&self, input: &ManifestInput, is_final: bool) -> bool {
        is_final || self.reported.get(&input.manifest.digest) != Some(&input.scan.unchanged_since)
    }
}

fn has_ended(input: &ManifestInput, now: Timestamp) -> bool {
    assess(&input.manifest, &input.scan, now).evidence != Evidence::ScanPending
}
