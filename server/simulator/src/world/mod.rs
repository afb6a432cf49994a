//! The simulated registry: one account in one Region, with what it holds.

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
pub use scanning::{Effective, ScanFrequency, ScanRule, ScanType, ScanningConfig, filter_matches};
pub use script::{Coverage, ScanScript};
pub use spec::{Child, ImageSpec};

/// The account that owns the simulated registry unless another is named.
pub const ACCOUNT: &str = "123456789012";
/// The Region it is in unless another is named.
pub const REGION: &str = "eu-west-1";

/// Everything the simulated registry knows.
#[derive(Clone, Debug)]
pub struct World {
    account: String,
    region: String,
    clock: Clock,
    scanning: ScanningConfig,
    repositories: BTreeMap<String, Repository>,
    pushed: ScanScript,
}

/// A reference that leads nowhere.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no image {reference} in repository {repository}")]
pub struct NoSuchImage {
    /// The repository that was named.
    pub repository: String,
    /// The tag or digest that was named.
    pub reference: String,
}

impl World {
    /// An empty registry with basic scanning and no scan rules, on the system's clock.
    pub fn new() -> Self {
        Self::at(Clock::system())
    }

    /// The same on a clock of the caller's.
    pub fn at(clock: Clock) -> Self {
        Self {
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            clock,
            scanning: ScanningConfig::default(),
            repositories: BTreeMap::new(),
            pushed: ScanScript::clean().begins_after(std::time::Duration::ZERO),
        }
    }

    /// An empty registry with enhanced scanning, continuous for every repository.
    pub fn enhanced() -> Self {
        Self::new().with_scanning(ScanningConfig::enhanced())
    }

    /// In another account and Region.
    #[must_use]
    pub fn in_account(mut self, account: &str, region: &str) -> Self {
        account.clone_into(&mut self.account);
        region.clone_into(&mut self.region);
        self
    }

    /// With this scanning configuration. It decides of which kind a scan without findings is, so set it before pushing.
    #[must_use]
    pub fn with_scanning(mut self, scanning: ScanningConfig) -> Self {
        self.scanning = scanning;
        self
    }

    /// The account that owns the registry.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The registry's Region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The clock the world lives by.
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

    /// What the scans of images do that come by `PutImage`: a clean one of a minute, unless said otherwise here.
    pub fn script_for_pushed_images(&mut self, script: ScanScript) {
        self.pushed = script;
    }

    pub(crate) fn pushed_image_script(&self) -> &ScanScript {
        &self.pushed
    }

    /// The repository of that name, made if it is not there.
    pub fn repository(&mut self, name: &str) -> &mut Repository {
        let created_at = self.now();
        self.repositories.entry(name.to_owned()).or_insert_with(|| Repository::new(name, created_at))
    }

    /// The repository of that name.
    pub fn find_repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }

    pub(crate) fn find_repository_mut(&mut self, name: &str) -> Option<&mut Repository> {
        self.repositories.get_mut(name)
    }

    /// Every repository, by name.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.repositories.values()
    }

    /// The image that a tag or digest names.
    pub fn image(&self, repository: &str, reference: &str) -> Option<&Image> {
        self.find_repository(repository)?.image(reference)
    }

    /// Gives an image other scans: a script that begins with the push begins now, and for one that is over already the
    /// push is moved back before it, where need be.
    pub fn rescan(&mut self, repository: &str, reference: &str, script: ScanScript) -> Result<(), NoSuchImage> {
        let (now, kind) = (self.now(), self.scanning.scan_type);
        let image = self.image_mut(repository, reference)?;
        let scan = Scan::new(script, kind, now, now);
        image.pushed_at = scan.started_at.map_or(image.pushed_at, |started_at| image.pushed_at.min(started_at));
        image.scan = scan;
        Ok(())
    }

    /// Archives an image.
    pub fn archive(&mut self, repository: &str, reference: &str) -> Result<(), NoSuchImage> {
        let now = self.now();
        self.image_mut(repository, reference).map(|image| image.archive(now))
    }

    /// Moves a tag, or makes it, to the image that `reference` names.
    pub fn tag(&mut self, repository: &str, tag: &str, reference: &str) -> Result<(), NoSuchImage> {
        let digest = self.image_mut(repository, reference)?.digest().to_owned();
        if let Some(repository) = self.find_repository_mut(repository) {
            repository.set_tag(tag, &digest);
        }
        Ok(())
    }

    /// Deletes an image with every tag of it.
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

    /// What applies to a repository's images. The flag on the repository itself counts only where basic scanning has
    /// no rule for it.
    pub fn effective_scanning(&self, repository: &Repository) -> Effective {
        let effective = self.scanning.effective(repository.name());
        let flagged = self.scanning.scan_type == ScanType::Basic
            && effective.frequency == ScanFrequency::Manual
            && repository.scans_on_push();
        if flagged { Effective { frequency: ScanFrequency::OnPush, filters: Vec::new() } } else { effective }
    }

    /// The ARN of a repository.
    pub fn repository_arn(&self, name: &str) -> String {
        format!("arn:aws:ecr:{}:{}:repository/{name}", self.region, self.account)
    }

    /// The registry's host name, as it would be in AWS.
    pub fn registry_host(&self) -> String {
        format!("{}.dkr.ecr.{}.amazonaws.com", self.account, self.region)
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
