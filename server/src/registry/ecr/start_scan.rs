//! Starts scans. Basic scanning allows one scan of an image in 24 hours; enhanced scanning allows none on request.

use aws_sdk_ecr::types::ImageIdentifier;
use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    image::Repository,
    scan::{Manifest, ScanType, Status},
};

use super::{
    diagnostics::timestamp,
    error::{CallError, ErrorKind},
    operation::Operation,
    pages::{Pages, ScanResponse},
    registry_client::RegistryClient,
    scanning_config_cache::ScanningConfigCache,
};
use crate::registry::{Error, Started};

const START_SCAN: Operation = Operation::write("StartImageScan");

/// The period in which ECR allows one scan of an image.
const QUOTA_PERIOD: SignedDuration = SignedDuration::from_hours(24);

const ARCHIVED: &str = "the image is archived; restore it first";

/// Starts a scan, or returns the reason against it.
pub(super) async fn start(
    client: &RegistryClient,
    scanning: &ScanningConfigCache,
    repository: &Repository,
    manifest: &Manifest,
) -> Result<Started, Error> {
    if manifest.archived {
        return Ok(Started::Unsupported(ARCHIVED.to_owned()));
    }
    if let Some(detail) = &manifest.unreadable {
        return Ok(Started::Unsupported(detail.clone()));
    }
    let permit = client.acquire(START_SCAN).await?;
    if scanning.effective_scanning(&repository.name, permit.deadline).await?.scan_type == ScanType::Enhanced {
        return Ok(Started::ManagedByInspector);
    }
    let starter = ScanStarter {
        pages: Pages { client, repository, digest: &manifest.digest, deadline: permit.deadline },
        client,
    };
    let response = starter.pages.read_status().await?;
    if is_running(&response.status) {
        return Ok(Started::AlreadyInProgress);
    }
    if response.status == Status::ImageArchived {
        return Ok(Started::Unsupported(ARCHIVED.to_owned()));
    }
    starter.send().await
}

struct ScanStarter<'a> {
    pages: Pages<'a>,
    client: &'a RegistryClient,
}

impl ScanStarter<'_> {
    async fn send(&self) -> Result<Started, Error> {
        let Pages { repository, digest, deadline, .. } = self.pages;
        let request = self
            .client
            .ecr
            .start_image_scan()
            .registry_id(repository.registry.account())
            .repository_name(repository.name.as_str())
            .image_id(ImageIdentifier::builder().image_digest(digest.as_str()).build());
        match self.client.retry.call(START_SCAN, deadline, || request.clone().send()).await {
            Ok(_) => Ok(Started::Started),
            Err(error) => self.outcome_of_error(error).await,
        }
    }

    async fn outcome_of_error(&self, error: CallError) -> Result<Started, Error> {
        if error.has_code("LimitExceededException") {
            return self.outcome_of_quota().await;
        }
        if error.has_code("UnsupportedImageTypeException") {
            return Ok(Started::Unsupported(error.message().to_owned()));
        }
        if error.has_code("ImageArchivedException") {
            return Ok(Started::Unsupported(ARCHIVED.to_owned()));
        }
        // ECR's message if the registry has switched to enhanced scanning since its configuration was read.
        if error.is_feature_disabled() {
            return Ok(Started::ManagedByInspector);
        }
        // The request may have arrived although its response was lost.
        let ambiguous =
            matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unreachable | ErrorKind::Undecodable);
        if ambiguous && self.is_running().await {
            return Ok(Started::Started);
        }
        Err(error.into_image_error(START_SCAN, self.pages.repository, self.pages.digest.as_str()))
    }

    async fn outcome_of_quota(&self) -> Result<Started, Error> {
        let current = self.pages.read_status().await?;
        Ok(if is_running(&current.status) {
            Started::AlreadyInProgress
        } else {
            Started::AlreadyScanned { next_scan_time: next_scan_time(&current) }
        })
    }

    async fn is_running(&self) -> bool {
        self.pages.read_status().await.is_ok_and(|current| is_running(&current.status))
    }
}

/// True if a scan is running or queued. Every other status, a new one too, leaves it to ECR to accept or refuse a scan.
fn is_running(status: &Status) -> bool {
    matches!(status, Status::InProgress | Status::Pending)
}

/// Returns a time at which the quota period is certainly over. The period begins with the scan, but ECR reports only the
/// scan's completion, so the result is a little late. `None`: that time has passed, so the account's own quota is used
/// up, or the time is unknown.
fn next_scan_time(response: &ScanResponse) -> Option<Timestamp> {
    let at = response.facts.complete_time.as_ref().and_then(timestamp)?.checked_add(QUOTA_PERIOD).ok()?;
    (at > Timestamp::now()).then_some(at)
}
