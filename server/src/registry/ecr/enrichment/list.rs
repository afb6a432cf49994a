//! Inspector's own list of an image's findings: EPSS, exploits and status.

use std::collections::HashSet;

use aws_sdk_inspector2::{
    operation::list_findings::ListFindingsOutput,
    types::{ExploitAvailable, FilterCriteria, Finding, FixAvailable, StringComparison, StringFilter},
};

use scangate_core::finding::Exploit;

use super::{Enricher, InspectorRecord, Records, probability};
use crate::registry::{
    Error,
    ecr::{
        enhanced::{StatedImage, Subject, parse_exploit, parse_fix, parse_status},
        error::{malformed, sanitize},
        operation::Operation,
    },
};

const LIST_FINDINGS: Operation = Operation::inspector("ListFindings");

/// The maximum page size of Inspector.
const PAGE_SIZE: i32 = 100;
/// The maximum of pages: as many findings as are read from ECR.
const MAX_PAGES: usize = 500;

/// Merges every page into the records. Returns the number of findings about other images.
pub(super) async fn load(enricher: Enricher<'_>, records: &mut Records) -> Result<usize, Error> {
    let criteria = enricher.criteria()?;
    let mut foreign = 0;
    let mut token = None;
    let mut seen = HashSet::new();
    loop {
        let page = enricher.fetch_page(&criteria, token).await?;
        let found = page.findings.ok_or_else(|| malformed(LIST_FINDINGS, "findings are missing"))?;
        for finding in &found {
            if !enricher.is_about_image(finding) {
                foreign += 1;
            } else if let Some(record) = records.get_mut(finding.finding_arn.as_str()) {
                record.merge(&InspectorRecord::from_finding(finding));
            }
        }
        let Some(next) = page.next_token.filter(|token| !token.is_empty()) else { return Ok(foreign) };
        if !seen.insert(next.clone()) {
            return Err(malformed(LIST_FINDINGS, "a page token repeats"));
        }
        if seen.len() >= MAX_PAGES {
            let excess = format!("Inspector lists more than {MAX_PAGES} pages of findings for {}", enricher.digest);
            return Err(Error::TooComplex(excess));
        }
        token = Some(next);
    }
}

impl Enricher<'_> {
    /// Filters by account, too: the administrator of an organisation sees the same digest in repositories of other
    /// accounts.
    fn criteria(self) -> Result<FilterCriteria, Error> {
        Ok(FilterCriteria::builder()
            .aws_account_id(equals(self.repository.registry.account())?)
            .ecr_image_repository_name(equals(self.repository.name.as_str())?)
            .ecr_image_hash(equals(self.digest.as_str())?)
            .build())
    }

    async fn fetch_page(self, criteria: &FilterCriteria, token: Option<String>) -> Result<ListFindingsOutput, Error> {
        let request = self
            .client
            .inspector
            .list_findings()
            .max_results(PAGE_SIZE)
            .filter_criteria(criteria.clone())
            .set_next_token(token);
        let response = self.client.retry.call(LIST_FINDINGS, self.deadline, || request.clone().send()).await;
        response.map_err(|error| error.into_error(LIST_FINDINGS))
    }

    /// True unless the finding names another account, or only other images.
    fn is_about_image(self, finding: &Finding) -> bool {
        let images = finding.resources.iter().filter_map(|resource| {
            let details = resource.details.as_ref()?;
            details.aws_ecr_container_image.as_ref()
        });
        let images = images.map(|image| StatedImage {
            digest: stated(&image.image_hash),
            account: stated(&image.registry),
            repository: stated(&image.repository_name),
        });
        let account = stated(&finding.aws_account_id);
        account.is_none_or(|account| account == self.repository.registry.account())
            && Subject { repository: self.repository, digest: self.digest }.mismatch(images).is_none()
    }
}

/// The SDK parses a missing text as an empty one.
fn stated(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl InspectorRecord {
    fn from_finding(finding: &Finding) -> Self {
        let available = finding.exploit_available.as_ref().map(ExploitAvailable::as_str);
        let seen = finding.exploitability_details.as_ref().is_some_and(|seen| seen.last_known_exploit_at.is_some());
        let details = finding.package_vulnerability_details.as_ref();
        let packages = details.and_then(|details| details.vulnerable_packages.as_deref()).unwrap_or_default();
        // The SDK parses a missing score as 0.0, a probability that no vulnerability has.
        let epss = finding.epss.as_ref().map(|epss| epss.score).filter(|score| *score > 0.0);
        Self {
            listed: true,
            epss: epss.and_then(probability),
            exploit_known: seen || parse_exploit(available) == Exploit::Known,
            // Only the details complete this check.
            exploit_checked: false,
            kev: None,
            status: Some(parse_status(Some(finding.status.as_str()))),
            fix: parse_fix(
                finding.fix_available.as_ref().map(FixAvailable::as_str),
                packages.iter().map(|vulnerable| vulnerable.fixed_in_version.as_deref()),
            ),
        }
    }
}

fn equals(value: &str) -> Result<StringFilter, Error> {
    let filter = StringFilter::builder().comparison(StringComparison::Equals).value(value);
    filter.build().map_err(|error| Error::Rejected {
        operation: LIST_FINDINGS.name,
        code: "BadRequest".to_owned(),
        message: sanitize(&error.to_string()),
    })
}
