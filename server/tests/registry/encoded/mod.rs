//! Encoded scans: decoding restores what was encoded, and memory stays within its limit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod blocking;
mod encoding;
mod memory;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use scangate_core::{
    finding::{Finding, Fix, Package, Score},
    image::{Digest, ImageReference, Platform, Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Content, Manifest, Report, Scan},
};
use scangate_server::registry::{
    Error, Freshness, Registry, RegistryScanning, RepositoryScanning, Resolved, Started,
    cache::{CachedRegistry, Config},
};
use scangate_test_fixtures::{completed_scan, digest};

use crate::support::{APP, registry_id, repository};

/// A registry with predefined scans.
#[derive(Clone, Debug)]
struct FakeRegistry {
    id: RegistryId,
    scans: Arc<Mutex<HashMap<Digest, Scan>>>,
}

#[async_trait::async_trait]
impl Registry for FakeRegistry {
    async fn resolve(&self, _: &ImageReference, _: &[Platform], _: Freshness) -> Result<Arc<Resolved>, Error> {
        unimplemented!("nothing is resolved here")
    }

    async fn content(&self, _: &Repository, manifest: &Manifest) -> Result<Content, Error> {
        Ok(manifest.content)
    }

    async fn scan(&self, _: &Repository, manifest: &Manifest, _: Freshness) -> Result<Arc<Scan>, Error> {
        Ok(Arc::new(self.scans.lock().unwrap()[&manifest.digest].clone()))
    }

    fn cached_since(&self, _: &Repository, _: &Manifest, _: Freshness) -> Option<Timestamp> {
        None
    }

    fn is_outdated(&self, _: &Repository, _: &Manifest, _: Timestamp) -> bool {
        false
    }

    async fn start_scan(&self, _: &Repository, _: &Manifest) -> Result<Started, Error> {
        unimplemented!("nothing is started here")
    }

    fn default_registry(&self) -> &RegistryId {
        &self.id
    }

    async fn registry_scanning(&self, _: &RegistryId) -> Result<RegistryScanning, Error> {
        unimplemented!("nothing is configured here")
    }

    async fn repository_scanning(
        &self,
        _: &RegistryId,
        _: &[RepositoryName],
    ) -> Result<Vec<RepositoryScanning>, Error> {
        unimplemented!("nothing is configured here")
    }

    async fn put_registry_scanning(&self, _: &RegistryId, _: &RegistryScanning) -> Result<(), Error> {
        unimplemented!("nothing is configured here")
    }

    async fn put_scan_on_push(&self, _: &Repository, _: bool) -> Result<(), Error> {
        unimplemented!("nothing is configured here")
    }
}

/// A cache over a registry with predefined scans.
pub(crate) struct Harness {
    fake: FakeRegistry,
    pub(crate) cached: CachedRegistry,
}

impl Harness {
    pub(crate) fn new(config: Config) -> Self {
        let fake = FakeRegistry { id: registry_id(), scans: Arc::default() };
        Self { cached: CachedRegistry::new(fake.clone(), config), fake }
    }

    /// Replaces the scan of an image, and reads it.
    pub(crate) async fn replace_and_read(&self, image: u64, scan: Scan) -> Arc<Scan> {
        self.fake.scans.lock().unwrap().insert(manifest(image).digest, scan);
        self.read(image, Freshness::within(Duration::ZERO)).await
    }

    pub(crate) async fn read(&self, image: u64, freshness: Freshness) -> Arc<Scan> {
        self.cached.scan(&repository(APP), &manifest(image), freshness).await.unwrap()
    }
}

pub(crate) fn manifest(image: u64) -> Manifest {
    Manifest {
        digest: digest(image),
        platform: None,
        push_time: None,
        content: Content::Image,
        archived: false,
        unreadable: None,
    }
}

pub(crate) fn scan(findings: Vec<Finding>) -> Scan {
    Scan {
        read_time: Timestamp::UNIX_EPOCH,
        unchanged_since: Timestamp::UNIX_EPOCH,
        report: Some(Report { findings: Some(findings), ..Report::default() }),
        ..completed_scan()
    }
}

fn finding(id: &str, description: &str) -> Finding {
    Finding {
        package: Package { name: "openssl".into(), version: "1.1.1".into(), ..Package::default() },
        fix: Fix::Available,
        cvss: Score::new(7.5).ok(),
        description: Some(description.into()),
        uri: Some(format!("https://example.org/{id}").into()),
        ..scangate_test_fixtures::finding(id)
    }
}

/// Returns a scan with findings that no other image has.
pub(crate) fn distinct_scan(image: u64, findings: u64) -> Scan {
    let described = |number| finding(&format!("CVE-{image}-{number}"), &format!("Flaw {number} of image {image}."));
    scan((0..findings).map(described).collect())
}
