//! A simulated registry with the adapter over it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use scangate_core::{
    evidence::{Assessment, assess},
    image::{ImageReference, Platform, Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Manifest, Report, Scan},
};
use scangate_ecr_simulator::{ACCOUNT, ImageSpec, REGION, ScanScript, Simulator, World};
use scangate_server::registry::{
    Error, Freshness, Registry, Resolved,
    cache::{self, CachedRegistry},
    ecr::{Config, Credentials, Ecr},
};

/// The repository of most tests.
pub(crate) const APP: &str = "team/app";
/// The image of most tests.
pub(crate) const IMAGE: &str = "team/app:1";

/// A registry under test.
pub(crate) struct Harness<R> {
    /// The ECR behind it.
    pub(crate) simulator: Simulator,
    /// The registry under test.
    pub(crate) registry: R,
}

pub(crate) fn registry_id() -> RegistryId {
    let Ok(registry) = RegistryId::new(ACCOUNT, REGION) else { panic!("the simulator's registry is none") };
    registry
}

/// Configures short budgets: no test waits for a real one.
pub(crate) fn config(simulator: &Simulator) -> Config {
    Config {
        registries: vec![registry_id()],
        endpoint: Some(simulator.endpoint()),
        credentials: Credentials::Placeholder,
        attempt_timeout: Duration::from_secs(5),
        operation_timeout: Duration::from_secs(20),
        backoff: Duration::from_millis(1),
        fresh_push: Duration::from_millis(1),
        ..Config::default()
    }
}

pub(crate) async fn simulate(world: World) -> Simulator {
    match Simulator::start_local(world).await {
        Ok(simulator) => simulator,
        Err(error) => panic!("the simulator does not start: {error}"),
    }
}

/// Connects the adapter to a world.
pub(crate) async fn ecr(world: World) -> Harness<Ecr> {
    ecr_with(world, |config| config).await
}

/// Connects the adapter to a world, with another configuration.
pub(crate) async fn ecr_with(world: World, configure: impl FnOnce(Config) -> Config) -> Harness<Ecr> {
    let simulator = simulate(world).await;
    match Ecr::connect(configure(config(&simulator))).await {
        Ok(registry) => Harness { simulator, registry },
        Err(error) => panic!("the adapter does not connect: {error}"),
    }
}

/// Connects the adapter behind its cache.
pub(crate) async fn cached(world: World, config: cache::Config) -> Harness<Arc<CachedRegistry>> {
    let Harness { simulator, registry } = ecr(world).await;
    Harness { simulator, registry: Arc::new(CachedRegistry::new(registry, config)) }
}

/// The image of most tests, in a registry with basic scanning on push.
pub(crate) fn basic(scan: ScanScript) -> World {
    let on_push = scangate_ecr_simulator::ScanningConfig::basic_on_push(&["*"]);
    with_image(World::new().with_scanning(on_push), scan)
}

/// The image of most tests, in a registry with enhanced scanning.
pub(crate) fn enhanced(scan: ScanScript) -> World {
    with_image(World::enhanced(), scan)
}

fn with_image(mut world: World, scan: ScanScript) -> World {
    world.push(ImageSpec::single(APP, "1").scan(scan));
    world
}

pub(crate) fn reference(image: &str) -> ImageReference {
    match ImageReference::parse(image) {
        Ok(reference) => reference,
        Err(error) => panic!("{image}: {error}"),
    }
}

pub(crate) fn repository(name: &str) -> Repository {
    let Ok(name) = RepositoryName::parse(name) else { panic!("{name} is no repository") };
    Repository { registry: registry_id(), name }
}

/// A manifest with its scan.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) manifest: Manifest,
    pub(crate) scan: Arc<Scan>,
}

impl Read {
    /// Returns the core's assessment of the scan.
    pub(crate) fn assessment(&self) -> Assessment {
        assess(&self.manifest, &self.scan, Timestamp::now())
    }

    pub(crate) fn report(&self) -> &Report {
        let Some(report) = &self.scan.report else { panic!("the scan has no report: {:?}", self.scan) };
        report
    }
}

impl<R> Harness<R> {
    /// Returns the number of calls of an operation.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.simulator.calls().count(operation)
    }
}

impl Harness<Ecr> {
    pub(crate) async fn resolve(&self, image: &str) -> Result<Arc<Resolved>, Error> {
        self.registry.resolve(&reference(image), &[], Freshness::default()).await
    }

    /// Resolves an image for platforms.
    pub(crate) async fn resolve_for(&self, image: &str, platforms: &[&str]) -> Result<Arc<Resolved>, Error> {
        let platforms: Vec<Platform> = platforms.iter().filter_map(|platform| Platform::parse(platform).ok()).collect();
        self.registry.resolve(&reference(image), &platforms, Freshness::default()).await
    }

    /// Resolves an image of one manifest and reads its scan.
    pub(crate) async fn scan(&self, image: &str) -> Result<Read, Error> {
        scan(&self.registry, image, Freshness::default()).await
    }

    /// Resolves [`IMAGE`] and reads its scan; both must succeed.
    pub(crate) async fn read(&self) -> Read {
        match self.scan(IMAGE).await {
            Ok(read) => read,
            Err(error) => panic!("{IMAGE} cannot be read: {error}"),
        }
    }
}

/// Resolves an image of one manifest and reads its scan.
pub(crate) async fn scan(registry: &dyn Registry, image: &str, freshness: Freshness) -> Result<Read, Error> {
    let resolved = registry.resolve(&reference(image), &[], freshness).await?;
    let [manifest] = resolved.manifests.as_slice() else { panic!("{image} has several manifests") };
    let scan = registry.scan(&resolved.repository(), manifest, freshness).await?;
    Ok(Read { manifest: manifest.clone(), scan })
}
