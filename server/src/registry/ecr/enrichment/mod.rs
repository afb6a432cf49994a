//! Enrichment of an enhanced scan's findings with data that only Inspector has: EPSS and known exploitation.
//!
//! Records are joined to ECR's findings by ARN. Only Inspector provides EPSS. Inspector can make ECR's data only
//! stricter. An exploit known to either is known. Of two statuses, the one that counts more applies, so a finding that
//! is ACTIVE in ECR counts even if it is closed in Inspector.
//!
//! An enrichment error never fails a reading: missing data is unknown, and the scan records the reason. "No exploit
//! known" also counts as missing until Inspector confirms it, because ECR reports it even of vulnerabilities that CISA
//! lists.

mod details;
mod list;
mod selection;

use std::{collections::HashMap, sync::Arc};

use scangate_core::{
    finding::{Exploit, Finding, Fix, Kev, ReportedTime, Score, Status},
    image::{Digest, Repository},
    scan::Enrichment,
};

use self::selection::DetailSelection;
use super::{registry_client::RegistryClient, retry::Deadline};
use crate::registry::Error;

/// Enriches the findings of one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enricher<'a> {
    pub(super) client: &'a RegistryClient,
    pub(super) repository: &'a Repository,
    pub(super) digest: &'a Digest,
    pub(super) deadline: Deadline,
}

/// Inspector's data about one finding.
#[derive(Debug, Default)]
struct InspectorRecord {
    /// True if Inspector lists the finding.
    listed: bool,
    epss: Option<Score>,
    exploit_known: bool,
    /// True if all of Inspector's data about exploits was read.
    exploit_checked: bool,
    status: Option<Status>,
    fix: Fix,
    kev: Option<Kev>,
}

/// Inspector's data by the ARNs of ECR's findings, and of no others.
type Records = HashMap<Arc<str>, InspectorRecord>;

/// Marks findings as not checked by Inspector, though its enrichment is enabled.
pub(super) fn mark_unchecked(findings: &mut [Finding]) {
    let unchecked = InspectorRecord::default();
    for finding in findings {
        unchecked.apply_to(finding);
    }
}

impl Enricher<'_> {
    /// Merges Inspector's data into the findings.
    pub(super) async fn enrich(self, findings: &mut [Finding]) -> Enrichment {
        if findings.is_empty() {
            return Enrichment::Complete;
        }
        if self.deadline.has_passed() {
            mark_unchecked(findings);
            return Enrichment::Missing("no time left for Inspector".to_owned());
        }
        let arns = findings.iter().filter_map(|finding| finding.arn.clone());
        let mut records: Records = arns.map(|arn| (arn, InspectorRecord::default())).collect();
        let enrichment = match self.query(findings, &mut records).await {
            Ok(enrichment) => enrichment,
            Err(error) => self.to_missing(&error),
        };
        let unchecked = InspectorRecord::default();
        for finding in findings {
            finding.arn.as_ref().and_then(|arn| records.get(arn)).unwrap_or(&unchecked).apply_to(finding);
        }
        enrichment
    }

    async fn query(self, findings: &[Finding], records: &mut Records) -> Result<Enrichment, Error> {
        let foreign = match list::load(self, records).await {
            Ok(foreign) => foreign,
            Err(error) => {
                // Inspector may list a finding more than once. The record with the higher EPSS may be on a page that
                // was not read.
                for record in records.values_mut() {
                    record.epss = None;
                }
                return Err(error);
            }
        };
        let selection = DetailSelection::new(findings, records);
        // For all other findings, the list suffices.
        for record in records.values_mut() {
            record.exploit_checked = record.listed;
        }
        for arn in &selection.unchecked {
            records.entry(Arc::clone(arn)).or_default().exploit_checked = false;
        }
        let omitted = selection.unchecked.len().saturating_sub(details::MAX_FINDINGS);
        details::load(self, &selection.requested(), records).await?;
        let unlisted = findings.iter().filter(|finding| is_unlisted(finding, records)).count();
        Ok(match (foreign, unlisted, omitted) {
            (0, 0, 0) => Enrichment::Complete,
            (0, 0, omitted) => Enrichment::Partial(format!(
                "{omitted} findings were not looked up in CISA's catalogue: this server requests details of the worst only"
            )),
            (0, unlisted, _) => Enrichment::Missing(format!("Inspector does not list {unlisted} of ECR's findings")),
            (foreign, _, _) => {
                let why = format!("Inspector lists {foreign} findings of another image or account; they were ignored");
                tracing::warn!(repository = %self.repository, digest = %self.digest, "{why}");
                Enrichment::Missing(why)
            }
        })
    }

    /// Returns the reason for missing data, and logs it with its cause.
    fn to_missing(self, error: &Error) -> Enrichment {
        let (cause, advice) = if let Error::AccessDenied { detail, .. } = error {
            (Some(detail.clone()), "; grant it to the server's role")
        } else {
            (std::error::Error::source(error).map(ToString::to_string), "")
        };
        tracing::warn!(%error, cause, repository = %self.repository, digest = %self.digest, "Inspector enrichment failed");
        Enrichment::Missing(format!("{error}{advice}"))
    }
}

impl InspectorRecord {
    /// Merges another record; of two values, the worse applies.
    fn merge(&mut self, other: &Self) {
        self.listed |= other.listed;
        self.epss = self.epss.max(other.epss);
        self.exploit_known |= other.exploit_known;
        self.exploit_checked |= other.exploit_checked;
        self.status = match (self.status, other.status) {
            (Some(ours), Some(theirs)) => Some(stricter(ours, theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.fix = with_fix(self.fix, other.fix);
        self.kev = match (self.kev, other.kev) {
            (Some(ours), Some(theirs)) => Some(earlier(ours, theirs)),
            (ours, theirs) => ours.or(theirs),
        };
    }

    fn apply_to(&self, finding: &mut Finding) {
        finding.epss = self.epss;
        if self.exploit_known {
            finding.exploit = Exploit::Known;
        } else if !self.exploit_checked && finding.exploit == Exploit::NotKnown {
            finding.exploit = Exploit::Unknown;
        }
        if let Some(status) = self.status {
            finding.status = stricter(finding.status, status);
        }
        finding.kev = self.kev.map(Box::new);
        // If ECR reports nothing about a fix, rules already count one as available. Taking "no fix" from Inspector
        // would make the result less strict, so only Available and Partial are taken.
        if matches!(self.fix, Fix::Available | Fix::Partial) {
            finding.fix = with_fix(finding.fix, self.fix);
        }
    }
}

/// Returns the status that counts more; in a tie the first, which is ECR's.
fn stricter(first: Status, second: Status) -> Status {
    let counts = |status| match status {
        Status::Closed => 0,
        Status::Suppressed => 1,
        Status::Active | Status::Unrecognised => 2,
    };
    if counts(second) > counts(first) { second } else { first }
}

/// Returns the first unless only the second knows a fix, or anything at all.
fn with_fix(first: Fix, second: Fix) -> Fix {
    match (first, second) {
        (Fix::None | Fix::Unknown, Fix::Available | Fix::Partial) | (Fix::Unknown, Fix::None) => second,
        (first, _) => first,
    }
}

/// Returns the earlier dates of two entries in CISA's catalogue.
fn earlier(first: Kev, second: Kev) -> Kev {
    let min = |a: Option<ReportedTime>, b: Option<ReportedTime>| a.into_iter().chain(b).min();
    Kev { add_time: min(first.add_time, second.add_time), due_time: min(first.due_time, second.due_time) }
}

/// Converts Inspector's EPSS; an impossible probability is unknown.
fn probability(value: f64) -> Option<Score> {
    (0.0..=1.0).contains(&value).then(|| Score::new(value).ok()).flatten()
}

/// True if a finding may count and Inspector does not list it.
fn is_unlisted(finding: &Finding, records: &Records) -> bool {
    let listed = finding.arn.as_ref().and_then(|arn| records.get(arn)).is_some_and(|record| record.listed);
    !listed && finding.status != Status::Closed
}
