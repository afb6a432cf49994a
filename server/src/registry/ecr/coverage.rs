//! Inspector's coverage: the proof that an image without findings was scanned at all.

use std::collections::HashSet;

use aws_sdk_inspector2::types::{
    CoverageFilterCriteria, CoverageResourceType, CoverageStringComparison, CoverageStringFilter, CoveredResource,
    ScanStatusCode, ScanType,
};
use jiff::Timestamp;
use scangate_core::{
    image::{Digest, Repository},
    scan::{Coverage, Usage},
};

use super::{
    diagnostics::{ScanDiagnostics, timestamp},
    enhanced::usage,
    error::sanitize,
    operation::Operation,
    registry_client::RegistryClient,
    retry::Deadline,
};
use crate::registry::Error;

const LIST_COVERAGE: Operation = Operation::inspector("ListCoverage");

const PAGE_SIZE: i32 = 200;
/// The pages of a repository's coverage, 4,000 images, before an image counts as not listed.
const MAX_PAGES: usize = 20;

/// Inspector's coverage of an image, and the uses that it reports.
#[derive(Debug)]
pub(super) struct Covered {
    pub(super) coverage: Coverage,
    pub(super) usage: Usage,
    /// `imagePulledAt`; an impossible time is unknown.
    pub(super) pull_time: Option<Timestamp>,
}

/// Returns Inspector's coverage of an image; `None` if Inspector does not list it.
pub(super) async fn load(
    client: &RegistryClient,
    repository: &Repository,
    digest: &Digest,
    deadline: Deadline,
    diagnostics: &mut ScanDiagnostics,
) -> Result<Option<Covered>, Error> {
    let resource_path = format!("repository/{}/{digest}", repository.name);
    let arn = format!(
        "arn:{}:ecr:{}:{}:{resource_path}",
        partition(repository),
        repository.registry.region(),
        repository.registry.account()
    );
    // The image's ARN selects one row. AWS documents the form of that ARN by examples only, so search the whole
    // repository if it selects none.
    for resource in [Some(arn.as_str()), None] {
        let query = CoverageQuery { client, repository, deadline };
        if let Some(row) = query.find(resource, &resource_path).await? {
            return Ok(Some(to_covered(&row, diagnostics)));
        }
    }
    Ok(None)
}

struct CoverageQuery<'a> {
    client: &'a RegistryClient,
    repository: &'a Repository,
    deadline: Deadline,
}

impl CoverageQuery<'_> {
    /// Returns the row of an image; of several, an inactive one before an active one.
    async fn find(&self, resource: Option<&str>, resource_path: &str) -> Result<Option<CoveredResource>, Error> {
        let mut token = None;
        let mut seen = HashSet::new();
        loop {
            let request = self
                .client
                .inspector
                .list_coverage()
                .max_results(PAGE_SIZE)
                .filter_criteria(self.criteria(resource)?)
                .set_next_token(token);
            let send = || request.clone().send();
            let response = self.client.retry.call(LIST_COVERAGE, self.deadline, send).await;
            let response = response.map_err(|error| error.into_error(LIST_COVERAGE))?;
            let rows = response.covered_resources.into_iter().flatten().filter(|row| self.is_about(row, resource_path));
            if let Some(row) = rows.min_by_key(is_active) {
                return Ok(Some(row));
            }
            token = response.next_token.filter(|token| !token.is_empty());
            match &token {
                Some(next) if seen.len() < MAX_PAGES && seen.insert(next.clone()) => {}
                Some(_) | None => return Ok(None),
            }
        }
    }

    fn criteria(&self, resource: Option<&str>) -> Result<CoverageFilterCriteria, Error> {
        let mut criteria = CoverageFilterCriteria::builder()
            .resource_type(equals(CoverageResourceType::AwsEcrContainerImage.as_str())?)
            .ecr_repository_name(equals(self.repository.name.as_str())?);
        if let Some(resource) = resource {
            criteria = criteria.resource_id(equals(resource)?);
        }
        Ok(criteria.build())
    }

    fn is_about(&self, row: &CoveredResource, resource_path: &str) -> bool {
        row.resource_type == CoverageResourceType::AwsEcrContainerImage
            && row.scan_type == ScanType::Package
            && row.account_id == self.repository.registry.account()
            && row.resource_id.strip_suffix(resource_path).is_some_and(|prefix| prefix.ends_with(':'))
    }
}

fn is_active(row: &CoveredResource) -> bool {
    row.scan_status.as_ref().is_some_and(|status| status.status_code == ScanStatusCode::Active)
}

fn to_coverage(row: &CoveredResource, diagnostics: &mut ScanDiagnostics) -> Coverage {
    Coverage {
        active: is_active(row),
        reason: row.scan_status.as_ref().map(|status| sanitize(status.reason.as_str())).unwrap_or_default(),
        last_scan_time: diagnostics.time("lastScannedAt", row.last_scanned_at.as_ref()),
    }
}

fn to_covered(row: &CoveredResource, diagnostics: &mut ScanDiagnostics) -> Covered {
    let image = row.resource_metadata.as_ref().and_then(|metadata| metadata.ecr_image.as_ref());
    Covered {
        coverage: to_coverage(row, diagnostics),
        usage: image.map_or_else(Usage::default, |image| usage(image.in_use_count, image.last_in_use_at.as_ref())),
        pull_time: image.and_then(|image| image.image_pulled_at.as_ref()).and_then(timestamp),
    }
}

fn equals(value: &str) -> Result<CoverageStringFilter, Error> {
    let filter = CoverageStringFilter::builder().comparison(CoverageStringComparison::Equals).value(value);
    filter.build().map_err(|error| Error::Rejected {
        operation: LIST_COVERAGE.name,
        code: "BadRequest".to_owned(),
        message: sanitize(&error.to_string()),
    })
}

fn partition(repository: &Repository) -> &'static str {
    const PARTITIONS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    let region = repository.registry.region();
    PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}
