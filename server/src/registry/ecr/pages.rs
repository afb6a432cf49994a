//! Reads a scan page by page and checks that the pages are consistent.
//!
//! The SDK's paginator ends silently on a repeated token. Here, a page that repeats, changes or is about another image
//! is a flaw: such a scan proves nothing.

use std::collections::{HashMap, HashSet};

use aws_sdk_ecr::{
    operation::describe_image_scan_findings::DescribeImageScanFindingsOutput,
    primitives::DateTime,
    types::{FindingSeverity, ImageIdentifier},
};
use scangate_core::{
    image::{Digest, Repository},
    scan::Status,
};

use super::{
    basic,
    diagnostics::{MAX_DESCRIPTION_BYTES, ScanDiagnostics, truncate},
    enhanced::{self, Subject},
    error::{CallError, ErrorKind, sanitize},
    finding_list::FindingList,
    operation::Operation,
    registry_client::RegistryClient,
    retry::Deadline,
};
use crate::registry::Error;

pub(super) const DESCRIBE_FINDINGS: Operation = Operation::read("DescribeImageScanFindings");

const MAX_PAGES: usize = 200;
const MAX_FINDINGS: usize = 50_000;

/// The combined response of all pages.
#[derive(Debug)]
pub(super) struct ScanResponse {
    pub(super) status: Status,
    pub(super) description: Option<String>,
    pub(super) completed_at: Option<DateTime>,
    pub(super) source_updated_at: Option<DateTime>,
    pub(super) counts: Option<HashMap<FindingSeverity, i32>>,
    /// `None`: no page has the list.
    pub(super) basic: Option<FindingList>,
    pub(super) enhanced: Option<FindingList>,
    pub(super) diagnostics: ScanDiagnostics,
}

impl ScanResponse {
    fn without_findings(status: Status, description: Option<String>) -> Self {
        Self {
            status,
            description,
            completed_at: None,
            source_updated_at: None,
            counts: None,
            basic: None,
            enhanced: None,
            diagnostics: ScanDiagnostics::default(),
        }
    }

    fn from_page(page: &DescribeImageScanFindingsOutput) -> Self {
        let status = page.image_scan_status.as_ref();
        let label = status.and_then(|status| status.status.as_ref()).map_or("", |status| status.as_str());
        let description = status.and_then(|status| status.description.as_deref());
        let findings = page.image_scan_findings.as_ref();
        Self {
            completed_at: findings.and_then(|findings| findings.image_scan_completed_at),
            source_updated_at: findings.and_then(|findings| findings.vulnerability_source_updated_at),
            counts: findings.and_then(|findings| findings.finding_severity_counts.clone()),
            ..Self::without_findings(
                Status::parse(&sanitize(label)),
                description.map(|text| truncate(text, MAX_DESCRIPTION_BYTES).to_owned()),
            )
        }
    }

    /// True if another page is of the same scan: each page repeats the data of the whole scan.
    fn is_same_scan(&self, other: &Self) -> bool {
        self.status == other.status
            && self.completed_at == other.completed_at
            && self.source_updated_at == other.source_updated_at
            && self.counts == other.counts
    }

    fn len(&self) -> usize {
        [&self.basic, &self.enhanced].into_iter().flatten().map(|list| list.findings.len()).sum()
    }
}

/// The outcome of reading all pages.
enum PageWalk {
    Complete(ScanResponse),
    /// The scan changed between two pages.
    Changed(ScanResponse),
}

/// The source of the pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pages<'a> {
    pub(super) client: &'a RegistryClient,
    pub(super) repository: &'a Repository,
    pub(super) digest: &'a Digest,
    pub(super) deadline: Deadline,
}

impl Pages<'_> {
    /// Reads the complete scan. If it changes meanwhile, it is read once more; a second change is a flaw.
    pub(super) async fn read(self) -> Result<ScanResponse, Error> {
        if let PageWalk::Complete(response) = self.read_pages().await? {
            return Ok(response);
        }
        match self.read_pages().await? {
            PageWalk::Complete(response) => Ok(response),
            PageWalk::Changed(mut response) => {
                response.diagnostics.incomplete("the scan changed twice while its pages were read");
                Ok(response)
            }
        }
    }

    /// Reads the status of a scan, without its findings.
    pub(super) async fn read_status(self) -> Result<ScanResponse, Error> {
        match self.fetch_page(None, 1).await {
            Ok(page) => {
                let mut response = ScanResponse::from_page(&page);
                self.verify_image(&page, &mut response.diagnostics);
                Ok(response)
            }
            Err(error) => self.response_from_error(error),
        }
    }

    async fn read_pages(self) -> Result<PageWalk, Error> {
        let first = match self.fetch_page(None, self.client.page_size).await {
            Ok(page) => page,
            Err(error) => return self.response_from_error(error).map(PageWalk::Complete),
        };
        let mut response = ScanResponse::from_page(&first);
        let mut token = self.add_page(first, &mut response)?;
        let mut seen = HashSet::new();
        while let Some(next) = token {
            if !seen.insert(next.clone()) {
                response.diagnostics.incomplete("a page token of ECR repeats");
                break;
            }
            if seen.len() >= MAX_PAGES {
                return Err(too_complex(self.digest, &format!("more than {MAX_PAGES} pages")));
            }
            let page = match self.fetch_page(Some(next), self.client.page_size).await {
                Ok(page) => page,
                // The token belongs to a scan that no longer exists.
                Err(error) if error.kind() == ErrorKind::Rejected => return Ok(PageWalk::Changed(response)),
                Err(error) => return Err(self.into_error(error)),
            };
            if !response.is_same_scan(&ScanResponse::from_page(&page)) {
                return Ok(PageWalk::Changed(response));
            }
            token = self.add_page(page, &mut response)?;
        }
        Ok(PageWalk::Complete(response))
    }

    async fn fetch_page(self, token: Option<String>, size: i32) -> Result<DescribeImageScanFindingsOutput, CallError> {
        let request = self
            .client
            .ecr
            .describe_image_scan_findings()
            .registry_id(self.repository.registry.account())
            .repository_name(self.repository.name.as_str())
            .image_id(ImageIdentifier::builder().image_digest(self.digest.as_str()).build())
            .max_results(size)
            .set_next_token(token);
        self.client.retry.call(DESCRIBE_FINDINGS, self.deadline, || request.clone().send()).await
    }

    /// Converts errors that are facts about the scan.
    fn response_from_error(self, error: CallError) -> Result<ScanResponse, Error> {
        let facts = [
            ("ScanNotFoundException", Status::NotFound),
            ("UnsupportedImageTypeException", Status::UnsupportedImage),
            ("ImageArchivedException", Status::ImageArchived),
        ];
        match facts.into_iter().find(|(code, _)| error.has_code(code)) {
            Some((_, status)) => Ok(ScanResponse::without_findings(status, Some(error.message().to_owned()))),
            None => Err(self.into_error(error)),
        }
    }

    fn into_error(self, error: CallError) -> Error {
        error.into_image_error(DESCRIBE_FINDINGS, self.repository, self.digest.as_str())
    }

    /// Adds a page's findings and returns the token of the next page. A page about another image ends the reading.
    fn add_page(
        self,
        page: DescribeImageScanFindingsOutput,
        response: &mut ScanResponse,
    ) -> Result<Option<String>, Error> {
        if !self.verify_image(&page, &mut response.diagnostics) {
            return Ok(None);
        }
        if let Some(findings) = page.image_scan_findings {
            if let Some(found) = findings.findings {
                basic::add_findings(&found, response.basic.get_or_insert_default(), &mut response.diagnostics);
            }
            if let Some(found) = findings.enhanced_findings {
                let subject = Subject { repository: self.repository, digest: self.digest };
                enhanced::add_findings(
                    &found,
                    subject,
                    response.enhanced.get_or_insert_default(),
                    &mut response.diagnostics,
                );
            }
        }
        if response.len() > MAX_FINDINGS {
            return Err(too_complex(self.digest, &format!("more than {MAX_FINDINGS} findings")));
        }
        Ok(page.next_token.filter(|token| !token.is_empty()))
    }

    /// True if the page is about the requested image. Otherwise records a flaw.
    fn verify_image(self, page: &DescribeImageScanFindingsOutput, diagnostics: &mut ScanDiagnostics) -> bool {
        let digest = page.image_id.as_ref().and_then(|id| id.image_digest.as_deref());
        let actual = [page.registry_id.as_deref(), page.repository_name.as_deref(), digest];
        let expected = [self.repository.registry.account(), self.repository.name.as_str(), self.digest.as_str()];
        let matches = actual == expected.map(Some);
        if !matches {
            let [registry, repository, digest] = actual.map(|text| text.unwrap_or("(nothing)"));
            diagnostics.mismatch(format!("{registry}/{repository}@{digest} instead of {}", expected.join("/")));
        }
        matches
    }
}

fn too_complex(digest: &Digest, what: &str) -> Error {
    Error::TooComplex(format!("the scan of {digest} has {what}"))
}
