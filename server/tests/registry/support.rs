//! A simulated registry with the adapter over it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use scangate_core::{
    evidence::{Assessment, assess},
    image::{ImageReference, Repository, RepositoryName},
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
pub(crate) struct Bench<R> {
    /// The ECR behind it.
    pub(crate) simulator: Simulator,
    /// What is tested.
    pub(crate) registry: R,
}

pub(crate) fn registry_id() -> RegistryId {
    let Ok(registry) = RegistryId::new(ACCOUNT, REGION) else { panic!("the simulator's registry is none") };
    registry
}

/// Short budgets: no test waits for a real one.
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

/// The adapter over a world.
pub(crate) async fn ecr(world: World) -> Bench<Ecr> {
    ecr_with(world, |config| config).await
}

/// The adapter over a world, configured otherwise.
pub(crate) async fn ecr_with(world: World, configure: impl FnOnce(Config) -> Config) -> Bench<Ecr> {
    let simulator = simulate(world).await;
    match Ecr::connect(configure(config(&simulator))).await {
        Ok(registry) => Bench { simulator, registry },
        Err(error) => panic!("the adapter does not connect: {error}"),
    }
}

/// The adapter behind its cache.
pub(crate) async fn cached(world: World, config: cache::Config) -> Bench<Arc<CachedRegistry>> {
    let Bench { simulator, registry } = ecr(world).await;
    Bench { simulator, registry: Arc::new(CachedRegistry::new(registry, config)) }
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
    /// What the core makes of it.
    pub(crate) fn assessment(&self) -> Assessment {
        assess(&self.manifest, &self.scan, Timestamp::now())
    }

    pub(crate) fn report(&self) -> &Report {
        let Some(report) = &self.scan.report else { panic!("the scan has no report: {:?}", self.scan) };
        report
    }
}

impl<R> Bench<R> {
    /// How often an operation was called.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.simulator.calls().count(operation)
    }
}

impl Bench<Ecr> {
    pub(crate) async fn resolve(&self, image: &str) -> Result<Arc<Resolved>, Error> {
        self.registry.resolve(&reference(image), Freshness::default()).await
    }

    /// Resolves an image of one manifest and reads its scan.
    pub(crate) async fn scan(&self, image: &str) -> Result<Read, Error> {
        scan(&self.registry, image, Freshness::default()).await
    }

    /// The same of [`IMAGE`], where both must succeed.
    pub(crate) async fn read(&self) -> Read {
        match self.scan(IMAGE).await {
            Ok(read) => read,
            Err(error) => panic!("{IMAGE} cannot be read: {error}"),
        }
    }
}

/// Resolves an image of one manifest and reads its scan.
pub(crate) async fn scan(registry: &dyn Registry, image: &str, freshness: Freshness) -> Result<Read, Error> {
    let resolved = registry.resolve(&reference(image), freshness).await?;
    let [manifest] = resolved.manifests.as_slice() else { panic!("{image} has several manifests") };
    let scan = registry.scan(&resolved.repository(), manifest, freshness).await?;
    Ok(Read { manifest: manifest.clone(), scan })
}
