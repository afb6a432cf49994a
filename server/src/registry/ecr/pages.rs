//! Reads a scan page by page and checks that the pages are consistent.
//!
//! The SDK's paginator ends silently on a repeated token. Here, a page that repeats, changes or is about another image
//! is a flaw: such a scan proves nothing. The pages of an enhanced scan may differ in their counts and times if a second
//! reading finds the same pages: then they differ by page, and not by time.

use std::collections::HashSet;

use aws_sdk_ecr::{operation::describe_image_scan_findings::DescribeImageScanFindingsOutput, types::ImageIdentifier};
use scangate_core::{
    finding::Finding,
    image::{Digest, Repository},
    scan::Status,
};

use super::{
    basic,
    diagnostics::{MAX_DESCRIPTION_BYTES, ScanDiagnostics, truncate},
    enhanced::{self, Subject},
    error::{CallError, ErrorKind, sanitize},
    finding_list::{FindingList, add_counts},
    operation::Operation,
    page_facts::{Combined, PageFacts, ScanFacts, combine},
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
    pub(super) facts: ScanFacts,
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
            facts: ScanFacts::default(),
            basic: None,
            enhanced: None,
            diagnostics: ScanDiagnostics::default(),
        }
    }

    fn from_page(page: &DescribeImageScanFindingsOutput) -> Self {
        let status = page.image_scan_status.as_ref();
        let label = status.and_then(|status| status.status.as_ref()).map_or("", |status| status.as_str());
        let description = status.and_then(|status| status.description.as_deref());
        Self {
            facts: stated_facts(page),
            ..Self::without_findings(
                Status::parse(&sanitize(label)),
                description.map(|text| truncate(text, MAX_DESCRIPTION_BYTES).to_owned()),
            )
        }
    }

    fn enhanced_findings(&self) -> Option<&[Finding]> {
        self.enhanced.as_ref().map(|list| list.findings.as_slice())
    }

    fn len(&self) -> usize {
        [&self.basic, &self.enhanced].into_iter().flatten().map(|list| list.findings.len()).sum()
    }
}

fn stated_facts(page: &DescribeImageScanFindingsOutput) -> ScanFacts {
    let findings = page.image_scan_findings.as_ref();
    ScanFacts {
        complete_time: findings.and_then(|findings| findings.image_scan_completed_at),
        source_update_time: findings.and_then(|findings| findings.vulnerability_source_updated_at),
        counts: findings.and_then(|findings| findings.finding_severity_counts.clone()),
    }
}

/// The outcome of reading all pages.
enum PageWalk {
    Complete(ScanResponse),
    /// All pages, with counts or times of their own.
    PerPage(ScanResponse, Vec<PageFacts>),
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
    /// Reads the complete scan. If its pages differ, it is read once more. If they differ in another way, that is a flaw.
    pub(super) async fn read(self) -> Result<ScanResponse, Error> {
        let first = self.read_pages().await?;
        if let PageWalk::Complete(response) = first {
            return Ok(response);
        }
        match (first, self.read_pages().await?) {
            (_, PageWalk::Complete(response)) => Ok(response),
            (PageWalk::PerPage(first, before), PageWalk::PerPage(response, pages))
                if before == pages && first.enhanced_findings() == response.enhanced_findings() =>
            {
                Ok(response)
            }
            (_, PageWalk::PerPage(mut response, _) | PageWalk::Changed(mut response)) => {
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
        let mut pages = Vec::new();
        let mut token = self.add_page(first, &mut response, &mut pages)?;
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
            if response.status != ScanResponse::from_page(&page).status {
                return Ok(PageWalk::Changed(response));
            }
            token = self.add_page(page, &mut response, &mut pages)?;
            // Only enhanced pages may differ, and all of them must be known to decide.
            if response.enhanced.is_none() && !matches!(combine(&pages), Combined::Same(_)) {
                return Ok(PageWalk::Changed(response));
            }
        }
        Ok(match combine(&pages) {
            Combined::Same(facts) => PageWalk::Complete(ScanResponse { facts, ..response }),
            Combined::PerPage(facts) => PageWalk::PerPage(ScanResponse { facts, ..response }, pages),
            Combined::Contradictory => PageWalk::Changed(response),
        })
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

    /// Adds a page's findings and facts, and returns the token of the next page. A page about another image ends the
    /// reading.
    fn add_page(
        self,
        page: DescribeImageScanFindingsOutput,
        response: &mut ScanResponse,
        pages: &mut Vec<PageFacts>,
    ) -> Result<Option<String>, Error> {
        if !self.verify_image(&page, &mut response.diagnostics) {
            return Ok(None);
        }
        let mut facts = PageFacts { stated: stated_facts(&page), ..PageFacts::default() };
        if let Some(findings) = page.image_scan_findings {
            if let Some(found) = findings.findings {
                let mut list = FindingList::default();
                basic::add_findings(&found, &mut list, &mut response.diagnostics);
                add_counts(&mut facts.enumerated, &list.enumerated);
                response.basic.get_or_insert_default().append(list);
            }
            if let Some(found) = findings.enhanced_findings {
                let subject = Subject { repository: self.repository, digest: self.digest };
                let mut list = FindingList::default();
                enhanced::add_findings(&found, subject, &mut list, &mut response.diagnostics);
                add_counts(&mut facts.enumerated, &list.enumerated);
                response.enhanced.get_or_insert_default().append(list);
            }
        }
        pages.push(facts);
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
