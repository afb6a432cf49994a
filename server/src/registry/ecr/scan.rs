//! One manifest's scan, put together from its pages, the scanning configuration and what Inspector adds: more about the
//! findings, where this server asks for it, and the proof that a clean result needs.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_ecr::types::FindingSeverity;
use jiff::Timestamp;
use scangate_core::{
    finding::Finding,
    image::{Digest, Repository},
    scan::{Counts, Coverage, Enrichment, Manifest, Report, Scan, ScanType, Status},
};

use super::{
    coverage,
    diagnostics::{NAME, Notes},
    enrichment::{Asking, doubt},
    pages::{Answer, DESCRIBE_FINDINGS, List, Pages},
    registry_client::Served,
    retry::Deadline,
    scanning_config_cache::InForce,
};
use crate::registry::Error;

/// Reads a manifest's scan whole.
pub(super) async fn scan(served: &Arc<Served>, repository: &Repository, manifest: &Manifest) -> Result<Scan, Error> {
    let turn = served.turn(DESCRIBE_FINDINGS).await?;
    let read_at = Timestamp::now();
    let pages = Pages { served, repository, digest: &manifest.digest, deadline: turn.deadline };
    let (in_force, answer) = tokio::try_join!(served.in_force(&repository.name, turn.deadline), pages.read())?;
    let asked = Asked { served, repository, digest: &manifest.digest, deadline: turn.deadline };
    asked.put_together(answer, in_force, read_at).await
}

struct Asked<'a> {
    served: &'a Served,
    repository: &'a Repository,
    digest: &'a Digest,
    deadline: Deadline,
}

impl Asked<'_> {
    async fn put_together(&self, answer: Answer, in_force: InForce, read_at: Timestamp) -> Result<Scan, Error> {
        let Answer { status, description, completed_at, source_updated_at, counts, basic, enhanced, mut notes } =
            answer;
        let done = matches!(status, Status::Complete | Status::Active);
        let mut report = Report {
            completed_at: notes.time("imageScanCompletedAt", completed_at.as_ref()),
            source_updated_at: notes.time("vulnerabilitySourceUpdatedAt", source_updated_at.as_ref()),
            counts: counts.map(|counts| counted(counts, &mut notes)),
            ..Report::default()
        };
        let list = Lists { basic, enhanced }.of(in_force.scan_type, done, report.counts.as_ref());
        // A running scan sends empty lists, which say nothing yet.
        let mut enrichment = Enrichment::NotAsked;
        if let Some(mut list) = list.filter(|list| done || !list.findings.is_empty()) {
            if self.served.enriches && in_force.scan_type == ScanType::Enhanced {
                enrichment = self.enrich(done && notes.is_flawless(), &mut list.findings).await;
            }
            report.enumerated = list.enumerated;
            report = report.with_findings(list.findings);
        }
        let coverage = if needs_proof(&report, in_force, done) { self.coverage(&mut notes).await? } else { None };
        Ok(Scan {
            read_at,
            unchanged_since: read_at,
            status,
            description,
            scan_type: in_force.scan_type,
            frequency: in_force.frequency,
            report: (done || report != Report::default()).then_some(report),
            coverage,
            enrichment,
            flaws: notes.into_flaws(),
        })
    }

    async fn enrich(&self, ended_well: bool, findings: &mut [Finding]) -> Enrichment {
        let Self { served, repository, digest, deadline } = *self;
        if !ended_well {
            doubt(findings);
            return Enrichment::NotAsked;
        }
        Asking { served, repository, digest, deadline: served.before(deadline) }.enrich(findings).await
    }

    async fn coverage(&self, notes: &mut Notes) -> Result<Option<Coverage>, Error> {
        coverage::read(self.served, self.repository, self.digest, self.deadline, notes).await
    }
}

/// Without findings, an enhanced scan's own word proves nothing: it is the same before the first scan.
fn needs_proof(report: &Report, in_force: InForce, done: bool) -> bool {
    in_force.scan_type == ScanType::Enhanced && done && report.findings.as_ref().is_some_and(Vec::is_empty)
}

fn counted(counts: HashMap<FindingSeverity, i32>, notes: &mut Notes) -> Counts {
    let mut counted = Counts::new();
    for (severity, count) in counts {
        let label = notes.text(severity.as_str(), NAME);
        match u32::try_from(count) {
            Ok(count) => {
                let sum = counted.entry(label).or_default();
                *sum = sum.saturating_add(count);
            }
            Err(_) => notes.malformed(format!("{count} findings are {label}")),
        }
    }
    counted
}

struct Lists {
    basic: Option<List>,
    enhanced: Option<List>,
}

impl Lists {
    /// The findings, if the list that belongs to the scan type came; with those of the other list, if there are any.
    fn of(self, scan_type: ScanType, done: bool, counts: Option<&Counts>) -> Option<List> {
        let counts_none = counts.is_none_or(|counts| counts.values().all(|count| *count == 0));
        match (scan_type, self.basic, self.enhanced) {
            (ScanType::Basic, basic, enhanced) => Some(union(basic?, enhanced)),
            (ScanType::Enhanced, basic, Some(enhanced)) => Some(union(enhanced, basic)),
            // A clean enhanced scan sends the other list alone, empty. Whether it ran at all is for the coverage to prove.
            (ScanType::Enhanced, Some(basic), None) => {
                (done && counts_none && basic.findings.is_empty()).then_some(basic)
            }
            (ScanType::Enhanced, None, None) => None,
        }
    }
}

fn union(mut list: List, other: Option<List>) -> List {
    if let Some(other) = other {
        list.findings.extend(other.findings);
        for (label, count) in other.enumerated {
            *list.enumerated.entry(label).or_default() += count;
        }
    }
    list
}
