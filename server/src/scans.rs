//! Starting scans and watching them to their end.

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
    scan_reader::{Error, read_scans, select_manifests},
};

/// How old a resolution may be where a scan is started or watched: tags move.
const RESOLUTION_AGE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a manifest is reported although nothing has changed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// An image with what became of starting its scans.
pub type StartedScans = (Image, Vec<(Manifest, Started)>);

/// Starts a scan of every manifest asked for, or joins it.
pub async fn start(
    registry: &Arc<dyn Registry>,
    image: &ImageReference,
    platforms: &[Platform],
) -> Result<StartedScans, Error> {
    let resolved = registry.resolve(image, Freshness::within(RESOLUTION_AGE)).await?;
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
        outcomes.push(outcome.map_err(Error::Lost)??);
    }
    outcomes.sort_by(|(a, _), (b, _)| (&a.platform, &a.digest).cmp(&(&b.platform, &b.digest)));
    Ok((resolved.image.clone(), outcomes))
}

/// How one watched manifest stands.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The image.
    pub image: Image,
    /// The manifest and its scan.
    pub examined: ManifestInput,
    /// Whether waiting can change nothing any more.
    pub ended: bool,
    /// How long it has been watched.
    pub watched_for: Duration,
    /// How many manifests have ended.
    pub ended_count: usize,
    /// How many are watched.
    pub total: usize,
}

/// Watches the scans of an image: each manifest at once, on every change, and every 15 seconds, until all have ended or
/// nobody listens. Errors end the watch.
pub async fn watch(
    registry: Arc<dyn Registry>,
    image: ImageReference,
    platforms: Vec<Platform>,
    tell: mpsc::Sender<Result<Progress, Error>>,
) {
    let watching = Watch { registry, tell: tell.clone(), began: Instant::now(), told: BTreeMap::new() };
    tokio::select! {
        outcome = watching.run(image, platforms) => {
            if let Err(error) = outcome {
                // Nobody listening is no error: the watch is over either way.
                tell.send(Err(error)).await.ok();
            }
        }
        () = tell.closed() => {}
    }
}

struct Watch {
    registry: Arc<dyn Registry>,
    tell: mpsc::Sender<Result<Progress, Error>>,
    began: Instant,
    /// When a manifest was last told of, and since when its scan had said the same.
    told: BTreeMap<Digest, (Instant, Timestamp)>,
}

impl Watch {
    async fn run(mut self, image: ImageReference, platforms: Vec<Platform>) -> Result<(), Error> {
        let resolved = self.registry.resolve(&image, Freshness::within(RESOLUTION_AGE)).await?;
        let manifests = select_manifests(&resolved, &platforms)?;
        let mut pause = FIRST_PAUSE;
        loop {
            let examined =
                read_scans(&self.registry, &resolved, manifests.clone(), Freshness::within(FIRST_PAUSE)).await?;
            if self.report(&resolved, examined).await {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Tells what is news; true once all have ended.
    async fn report(&mut self, resolved: &Resolved, examined: Vec<ManifestInput>) -> bool {
        let now = Timestamp::now();
        let has_ended = |examined: &ManifestInput| {
            assess(&examined.manifest, &examined.scan, now).evidence != Evidence::ScanPending
        };
        let total = examined.len();
        let ended_count = examined.iter().filter(|examined| has_ended(examined)).count();
        for examined in examined {
            let digest = examined.manifest.digest.clone();
            let ended = has_ended(&examined);
            let news = self.told.get(&digest).is_none_or(|(told_at, unchanged_since)| {
                *unchanged_since != examined.scan.unchanged_since
                    || told_at.elapsed() >= HEARTBEAT
                    || (ended && ended_count == total)
            });
            if news {
                self.told.insert(digest, (Instant::now(), examined.scan.unchanged_since));
                let watched_for = self.began.elapsed();
                let image = resolved.image.clone();
                let progress = Progress { image, examined, ended, watched_for, ended_count, total };
                if self.tell.send(Ok(progress)).await.is_err() {
                    return true;
                }
            }
        }
        ended_count == total
    }
}
