//! A registry of prepared scans. It gives each scan away, so that the cache alone holds it afterwards.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use scangate_core::{
    image::{Digest, ImageReference, Platform, Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Content, Manifest, Scan},
};
use scangate_server::registry::{Error, Freshness, Registry, RegistryScanning, RepositoryScanning, Resolved, Started};

/// Each scan, until it is read.
#[derive(Clone, Debug)]
pub(crate) struct PreparedRegistry {
    id: RegistryId,
    scans: Arc<Mutex<HashMap<Digest, Arc<Scan>>>>,
}

impl PreparedRegistry {
    /// Creates a registry with memory for this number of scans.
    pub(crate) fn new(id: RegistryId, scans: usize) -> Self {
        Self { id, scans: Arc::new(Mutex::new(HashMap::with_capacity(scans))) }
    }

    /// Adds a copy of each scan that shares no memory with it.
    pub(crate) fn insert(&self, images: &[(Manifest, Scan)]) {
        for (manifest, scan) in images {
            let mut copy: Scan = serde_json::from_slice(&serde_json::to_vec(scan).unwrap()).unwrap();
            // The list that serde returns has room for up to twice its findings.
            copy.report.iter_mut().flat_map(|report| &mut report.findings).for_each(Vec::shrink_to_fit);
            self.scans.lock().unwrap().insert(manifest.digest.clone(), Arc::new(copy));
        }
    }
}

#[tonic::async_trait]
impl Registry for PreparedRegistry {
    async fn resolve(&self, _: &ImageReference, _: &[Platform], _: Freshness) -> Result<Arc<Resolved>, Error> {
        unimplemented!("the bench has the manifests")
    }

    async fn content(&self, _: &Repository, manifest: &Manifest) -> Result<Content, Error> {
        Ok(manifest.content)
    }

    async fn scan(&self, _: &Repository, manifest: &Manifest, _: Freshness) -> Result<Arc<Scan>, Error> {
        Ok(self.scans.lock().unwrap().remove(&manifest.digest).unwrap())
    }

    fn cached_since(&self, _: &Repository, _: &Manifest, _: Freshness) -> Option<Timestamp> {
        None
    }

    fn is_outdated(&self, _: &Repository, _: &Manifest, _: Timestamp) -> bool {
        false
    }

    async fn start_scan(&self, _: &Repository, _: &Manifest) -> Result<Started, Error> {
        unimplemented!("the bench starts no scan")
    }

    fn default_registry(&self) -> &RegistryId {
        &self.id
    }

    async fn registry_scanning(&self, _: &RegistryId) -> Result<RegistryScanning, Error> {
        unimplemented!("the bench reads no configuration")
    }

    async fn repository_scanning(
        &self,
        _: &RegistryId,
        _: &[RepositoryName],
    ) -> Result<Vec<RepositoryScanning>, Error> {
        unimplemented!("the bench reads no configuration")
    }

    async fn put_registry_scanning(&self, _: &RegistryId, _: &RegistryScanning) -> Result<(), Error> {
        unimplemented!("the bench changes no configuration")
    }

    async fn put_scan_on_push(&self, _: &Repository, _: bool) -> Result<(), Error> {
        unimplemented!("the bench changes no configuration")
    }
}
