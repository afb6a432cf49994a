//! Reading a scan page by page, and noticing when the pages are not of one piece.
//!
//! The SDK's paginator ends silently on a repeated token. Here a page that repeats, strays or changes is a flaw: such a
//! scan proves nothing.

use std::collections::{HashMap, HashSet};

use aws_sdk_ecr::{
    operation::describe_image_scan_findings::DescribeImageScanFindingsOutput,
    primitives::DateTime,
    types::{FindingSeverity, ImageIdentifier},
};
use scangate_core::{
    finding::Finding,
    image::{Digest, Repository},
    scan::{Counts, Status},
};

use super::{
    basic,
    diagnostics::{DESCRIPTION, Notes, within},
    enhanced::{self, Subject},
    error::{Failure, Kind, cut},
    registry_client::Served,
    retry::{Deadline, Operation},
};
use crate::registry::Error;

pub(super) const DESCRIBE_FINDINGS: Operation = Operation::read("DescribeImageScanFindings");

const MOST_PAGES: usize = 200;
const MOST_FINDINGS: usize = 50_000;

/// A scan's findings of one kind.
#[derive(Debug, Default)]
pub(super) struct List {
    /// In our form, one for each vulnerable package.
    pub(super) findings: Vec<Finding>,
    /// As ECR counts: one for each record.
    pub(super) enumerated: Counts,
}

/// What the pages said together.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) description: Option<String>,
    pub(super) completed_at: Option<DateTime>,
    pub(super) source_updated_at: Option<DateTime>,
    pub(super) counts: Option<HashMap<FindingSeverity, i32>>,
    /// `None`: no page had the list.
    pub(super) basic: Option<List>,
    pub(super) enhanced: Option<List>,
    pub(super) notes: Notes,
}

impl Answer {
    fn without_findings(status: Status, description: Option<String>) -> Self {
        Self {
            status,
            description,
            completed_at: None,
            source_updated_at: None,
            counts: None,
            basic: None,
            enhanced: None,
            notes: Notes::default(),
        }
    }

    fn head(page: &DescribeImageScanFindingsOutput) -> Self {
        let status = page.image_scan_status.as_ref();
        let label = status.and_then(|status| status.status.as_ref()).map_or("", |status| status.as_str());
        let description = status.and_then(|status| status.description.as_deref());
        let findings = page.image_scan_findings.as_ref();
        Self {
            completed_at: findings.and_then(|findings| findings.image_scan_completed_at),
            source_updated_at: findings.and_then(|findings| findings.vulnerability_source_updated_at),
            counts: findings.and_then(|findings| findings.finding_severity_counts.clone()),
            ..Self::without_findings(
                Status::parse(&cut(label)),
                description.map(|text| within(text, DESCRIPTION).to_owned()),
            )
        }
    }

    /// Whether another page is of the same scan: every page repeats what is true of the whole.
    fn agrees(&self, other: &Self) -> bool {
        self.status == other.status
            && self.completed_at == other.completed_at
            && self.source_updated_at == other.source_updated_at
            && self.counts == other.counts
    }

    fn len(&self) -> usize {
        [&self.basic, &self.enhanced].into_iter().flatten().map(|list| list.findings.len()).sum()
    }
}

/// How a walk through the pages ended.
enum Walk {
    Whole(Answer),
    /// The scan changed underneath.
    Changed(Answer),
}

/// Where the pages come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pages<'a> {
    pub(super) served: &'a Served,
    pub(super) repository: &'a Repository,
    pub(super) digest: &'a Digest,
    pub(super) deadline: Deadline,
}

impl Pages<'_> {
    /// Reads the whole scan. One that changes meanwhile is read once more; after that it is flawed.
    pub(super) async fn read(self) -> Result<Answer, Error> {
        if let Walk::Whole(answer) = self.walk().await? {
            return Ok(answer);
        }
        match self.walk().await? {
            Walk::Whole(answer) => Ok(answer),
            Walk::Changed(mut answer) => {
                answer.notes.incomplete("the scan changed while its pages were read, twice");
                Ok(answer)
            }
        }
    }

    /// Reads what stands at the head of a scan, without its findings.
    pub(super) async fn read_head(self) -> Result<Answer, Error> {
        match self.page(None, 1).await {
            Ok(page) => {
                let mut answer = Answer::head(&page);
                self.check(&page, &mut answer.notes);
                Ok(answer)
            }
            Err(failure) => self.without_scan(failure),
        }
    }

    async fn walk(self) -> Result<Walk, Error> {
        let first = match self.page(None, self.served.page_size).await {
            Ok(page) => page,
            Err(failure) => return self.without_scan(failure).map(Walk::Whole),
        };
        let mut answer = Answer::head(&first);
        let mut token = self.take(first, &mut answer)?;
        let mut seen = HashSet::new();
        while let Some(next) = token {
            if !seen.insert(next.clone()) {
                answer.notes.incomplete("ECR's pages lead back to one that was read already");
                break;
            }
            if seen.len() >= MOST_PAGES {
                return Err(too_complex(self.digest, &format!("more than {MOST_PAGES} pages")));
            }
            let page = match self.page(Some(next), self.served.page_size).await {
                Ok(page) => page,
                // The token is of a scan that is no longer there.
                Err(failure) if failure.kind() == Kind::Refused => return Ok(Walk::Changed(answer)),
                Err(failure) => return Err(self.failed(failure)),
            };
            if !answer.agrees(&Answer::head(&page)) {
                return Ok(Walk::Changed(answer));
            }
            token = self.take(page, &mut answer)?;
        }
        Ok(Walk::Whole(answer))
    }

    async fn page(self, token: Option<String>, size: i32) -> Result<DescribeImageScanFindingsOutput, Failure> {
        let request = self
            .served
            .ecr
            .describe_image_scan_findings()
            .registry_id(self.repository.registry.account())
            .repository_name(self.repository.name.as_str())
            .image_id(ImageIdentifier::builder().image_digest(self.digest.as_str()).build())
            .max_results(size)
            .set_next_token(token);
        self.served.caller.call(DESCRIBE_FINDINGS, self.deadline, || request.clone().send()).await
    }

    /// Some refusals are facts about the scan.
    fn without_scan(self, failure: Failure) -> Result<Answer, Error> {
        let facts = [
            ("ScanNotFoundException", Status::NotFound),
            ("UnsupportedImageTypeException", Status::UnsupportedImage),
            ("ImageArchivedException", Status::ImageArchived),
        ];
        match facts.into_iter().find(|(code, _)| failure.is(code)) {
            Some((_, status)) => Ok(Answer::without_findings(status, Some(failure.message().to_owned()))),
            None => Err(self.failed(failure)),
        }
    }

    fn failed(self, failure: Failure) -> Error {
        failure.of_image(DESCRIBE_FINDINGS, self.repository, self.digest.as_str())
    }

    /// Takes a page's findings, and gives the token of the next. A page about something else ends the reading.
    fn take(self, page: DescribeImageScanFindingsOutput, answer: &mut Answer) -> Result<Option<String>, Error> {
        if !self.check(&page, &mut answer.notes) {
            return Ok(None);
        }
        if let Some(findings) = page.image_scan_findings {
            if let Some(found) = findings.findings {
                basic::take(&found, answer.basic.get_or_insert_default(), &mut answer.notes);
            }
            if let Some(found) = findings.enhanced_findings {
                let subject = Subject { repository: self.repository, digest: self.digest };
                enhanced::take(&found, subject, answer.enhanced.get_or_insert_default(), &mut answer.notes);
            }
        }
        if answer.len() > MOST_FINDINGS {
            return Err(too_complex(self.digest, &format!("more than {MOST_FINDINGS} findings")));
        }
        Ok(page.next_token.filter(|token| !token.is_empty()))
    }

    /// Whether the page is about what was asked, and says so.
    fn check(self, page: &DescribeImageScanFindingsOutput, notes: &mut Notes) -> bool {
        let digest = page.image_id.as_ref().and_then(|id| id.image_digest.as_deref());
        let answered = [page.registry_id.as_deref(), page.repository_name.as_deref(), digest];
        let asked = [self.repository.registry.account(), self.repository.name.as_str(), self.digest.as_str()];
        let about_it = answered == asked.map(Some);
        if !about_it {
            let [registry, repository, digest] = answered.map(|text| text.unwrap_or("(nothing)"));
            notes.mismatch(format!("{registry}/{repository}@{digest} instead of {}", asked.join("/")));
        }
        about_it
    }
}

fn too_complex(digest: &Digest, what: &str) -> Error {
    Error::TooComplex(format!("the scan of {digest} has {what}"))
}
