//! The simulated registry: one account in one Region, with its repositories, images and scans.

mod demo;
mod image;
pub(crate) mod manifest;
mod push;
mod repository;
mod scanning;
mod script;
mod spec;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::clock::Clock;

pub use image::{Image, ImageStatus};
pub(crate) use image::{Progress, Scan};
pub use push::{Pushed, PushedChild};
pub use repository::{Repository, TagMutability};
pub use scanning::{
    EffectiveScanning, RescanDurations, ScanFrequency, ScanRule, ScanType, ScanningConfig, filter_matches,
};
pub use script::{Coverage, ScanScript};
pub use spec::{Child, ImageSpec};

/// The default account of the simulated registry.
pub const ACCOUNT: &str = "123456789012";
/// The default Region of the simulated registry.
pub const REGION: &str = "eu-west-1";

/// The content of the simulated registry, with its scanning configuration and clock.
#[derive(Clone, Debug)]
pub struct World {
    account: String,
    region: String,
    clock: Clock,
    scanning: ScanningConfig,
    repositories: BTreeMap<String, Repository>,
    put_image_script: ScanScript,
    /// False in a Region without enhanced scanning.
    offers_enhanced_scanning: bool,
    rescan_durations: RescanDurations,
}

/// The error for a reference without an image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no image {reference} in repository {repository}")]
pub struct NoSuchImage {
    /// The requested repository.
    pub repository: String,
    /// The requested tag or digest.
    pub reference: String,
}

impl World {
    /// An empty registry with basic scanning and no scan rules, on the system's clock.
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// An empty registry with basic scanning and no scan rules, on this clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self {
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            clock,
            scanning: ScanningConfig::default(),
            repositories: BTreeMap::new(),
            put_image_script: ScanScript::clean().begins_after(std::time::Duration::ZERO),
            offers_enhanced_scanning: true,
            rescan_durations: RescanDurations::default(),
        }
    }

    /// An empty registry with enhanced scanning, continuous for every repository.
    pub fn enhanced() -> Self {
        Self::new().with_scanning(ScanningConfig::enhanced())
    }

    /// Sets the account and Region.
    #[must_use]
    pub fn in_account(mut self, account: &str, region: &str) -> Self {
        account.clone_into(&mut self.account);
        region.clone_into(&mut self.region);
        self
    }

    /// Sets the scanning configuration. Call it before pushing images, because it determines the type of scans without
    /// findings.
    #[must_use]
    pub fn with_scanning(mut self, scanning: ScanningConfig) -> Self {
        self.scanning = scanning;
        self
    }

    /// Moves the registry to a Region without enhanced scanning: ECR refuses to read and to write its scanning rules.
    #[must_use]
    pub fn without_enhanced_scanning(mut self) -> Self {
        self.offers_enhanced_scanning = false;
        self.with_scanning(ScanningConfig::default())
    }

    pub(crate) fn offers_enhanced_scanning(&self) -> bool {
        self.offers_enhanced_scanning
    }

    /// Sets the durations for which Inspector scans an image again.
    #[must_use]
    pub fn with_rescan_durations(mut self, durations: RescanDurations) -> Self {
        self.rescan_durations = durations;
        self
    }

    pub(crate) fn rescan_durations(&self) -> &RescanDurations {
        &self.rescan_durations
    }

    /// The account that owns the registry.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The registry's Region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The world's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The scanning configuration.
    pub fn scanning(&self) -> &ScanningConfig {
        &self.scanning
    }

    /// Replaces the scanning configuration.
    pub fn set_scanning(&mut self, scanning: ScanningConfig) {
        self.scanning = scanning;
    }

    /// Sets the scan script of images pushed by `PutImage`. The default is a clean scan of one minute.
    pub fn script_for_pushed_images(&mut self, script: ScanScript) {
        self.put_image_script = script;
    }

    pub(crate) fn put_image_script(&self) -> &ScanScript {
        &self.put_image_script
    }

    /// The repository with this name, created if it does not exist.
    pub fn repository(&mut self, name: &str) -> &mut Repository {
        let create_time = self.now();
        self.repositories.entry(name.to_owned()).or_insert_with(|| Repository::new(name, create_time))
    }

    /// The repository with this name, if it exists.
    pub fn find_repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }

    pub(crate) fn find_repository_mut(&mut self, name: &str) -> Option<&mut Repository> {
        self.repositories.get_mut(name)
    }

    /// All repositories, ordered by name.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.repositories.values()
    }

    /// The image with this tag or digest.
    pub fn image(&self, repository: &str, reference: &str) -> Option<&Image> {
        self.find_repository(repository)?.image(reference)
    }

    /// Replaces an image's scan script. A scan that starts after the push starts now. For a scan that is already
    /// completed, the push time is moved back to the scan's start if necessary.
    pub fn rescan(&mut self, repository: &str, reference: &str, script: ScanScript) -> Result<(), NoSuchImage> {
        let (now, kind) = (self.now(), self.scanning.scan_type);
        let image = self.image_mut(repository, reference)?;
        let scan = Scan::new(script, kind, now, now);
        image.push_time = scan.started_at.map_or(image.push_time, |started_at| image.push_time.min(started_at));
        image.scan = scan;
        Ok(())
    }

    /// Archives an image.
    pub fn archive(&mut self, repository: &str, reference: &str) -> Result<(), NoSuchImage> {
        let now = self.now();
        self.image_mut(repository, reference).map(|image| image.archive(now))
    }

    /// Moves or adds a tag to the image with this reference.
    pub fn tag(&mut self, repository: &str, tag: &str, reference: &str) -> Result<(), NoSuchImage> {
        let digest = self.image_mut(repository, reference)?.digest().to_owned();
        if let Some(repository) = self.find_repository_mut(repository) {
            repository.set_tag(tag, &digest);
        }
        Ok(())
    }

    /// Deletes an image with all its tags.
    pub fn delete(&mut self, repository: &str, reference: &str) -> Result<(), NoSuchImage> {
        let digest = self.image_mut(repository, reference)?.digest().to_owned();
        if let Some(repository) = self.find_repository_mut(repository) {
            repository.remove(&digest);
        }
        Ok(())
    }

    fn image_mut(&mut self, repository: &str, reference: &str) -> Result<&mut Image, NoSuchImage> {
        self.repositories
            .get_mut(repository)
            .and_then(|repository| repository.image_mut(reference))
            .ok_or_else(|| NoSuchImage { repository: repository.to_owned(), reference: reference.to_owned() })
    }

    /// The effective scanning of a repository's images. The repository's own flag counts only if basic scanning has no
    /// rule for the repository.
    pub fn effective_scanning(&self, repository: &Repository) -> EffectiveScanning {
        let effective = self.scanning.effective(repository.name());
        let flag_applies = self.scanning.scan_type == ScanType::Basic
            && effective.frequency == ScanFrequency::Manual
            && repository.scans_on_push();
        if flag_applies {
            return EffectiveScanning { frequency: ScanFrequency::OnPush, filters: Vec::new() };
        }
        effective
    }

    /// The ARN of a repository.
    pub fn repository_arn(&self, name: &str) -> String {
        format!("arn:aws:ecr:{}:{}:repository/{name}", self.region, self.account)
    }

    /// The registry's host name, in the form that AWS uses.
    pub fn registry_host(&self) -> String {
        format!("{}.dkr.ecr.{}.amazonaws.com", self.account, self.region)
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
