//! Assembles the scan of one manifest from its pages, the scanning configuration and Inspector's data: the enrichment
//! of findings, if configured, and the coverage that proves a clean result.

use jiff::Timestamp;
use scangate_core::{
    finding::Finding,
    image::Repository,
    scan::{Counts, Enrichment, Frequency, Manifest, Report, Scan, ScanType, Status, Usage},
};

use super::{
    coverage::{self, Covered},
    diagnostics::{MAX_NAME_BYTES, ScanDiagnostics},
    enrichment::{Enricher, mark_unchecked},
    finding_list::FindingList,
    page_facts::SeverityCounts,
    pages::{DESCRIBE_FINDINGS, Pages, ScanResponse},
    registry_client::RegistryClient,
    rescan::LastUse,
    retry::Deadline,
    scanning_config_cache::{EffectiveScanning, ScanningConfigCache},
};
use crate::registry::Error;

/// Reads the complete scan of a manifest.
pub(super) async fn read_scan(
    client: &RegistryClient,
    scanning: &ScanningConfigCache,
    repository: &Repository,
    manifest: &Manifest,
) -> Result<Scan, Error> {
    let permit = client.acquire(DESCRIBE_FINDINGS).await?;
    let read_time = Timestamp::now();
    if manifest.unreadable.is_some() {
        // ECR has no image to report on.
        let effective = scanning.effective_scanning(&repository.name, permit.deadline).await?;
        return Ok(unreported(effective, read_time));
    }
    let pages = Pages { client, repository, digest: &manifest.digest, deadline: permit.deadline };
    let effective = scanning.effective_scanning(&repository.name, permit.deadline);
    let (effective, response) = tokio::try_join!(effective, pages.read())?;
    let assembler = ScanAssembler { client, repository, manifest, scanning, deadline: permit.deadline };
    assembler.assemble(response, effective, read_time).await
}

/// A scan of which ECR reports nothing.
fn unreported(scanning: EffectiveScanning, read_time: Timestamp) -> Scan {
    Scan {
        read_time,
        unchanged_since: read_time,
        status: Status::NotFound,
        description: None,
        scan_type: scanning.scan_type,
        frequency: scanning.frequency,
        report: None,
        coverage: None,
        enrichment: Enrichment::NotAsked,
        flaws: Vec::new(),
        first_scan_time: None,
        eligibility_expire_time: None,
        usage: Usage::default(),
    }
}

struct ScanAssembler<'a> {
    client: &'a RegistryClient,
    repository: &'a Repository,
    manifest: &'a Manifest,
    scanning: &'a ScanningConfigCache,
    deadline: Deadline,
}

impl ScanAssembler<'_> {
    async fn assemble(
        &self,
        response: ScanResponse,
        scanning: EffectiveScanning,
        read_time: Timestamp,
    ) -> Result<Scan, Error> {
        let ScanResponse { status, description, facts, basic, enhanced, mut diagnostics } = response;
        let done = matches!(status, Status::Complete | Status::Active);
        let mut report = Report {
            complete_time: diagnostics.time("imageScanCompletedAt", facts.complete_time.as_ref()),
            source_update_time: diagnostics.time("vulnerabilitySourceUpdatedAt", facts.source_update_time.as_ref()),
            counts: facts.counts.map(|counts| severity_counts(counts, &mut diagnostics)),
            ..Report::default()
        };
        let list = FindingLists { basic, enhanced }.select(scanning.scan_type, done, report.counts.as_ref());
        // A running scan returns empty lists, which prove nothing yet.
        let mut enrichment = Enrichment::NotAsked;
        let usage = list.as_ref().map_or_else(Usage::default, |list| list.usage);
        if let Some(mut list) = list.filter(|list| done || !list.findings.is_empty()) {
            if self.client.inspector_enrichment && scanning.scan_type == ScanType::Enhanced {
                enrichment = self.enrich(done && diagnostics.is_flawless(), &mut list.findings).await;
            }
            report.enumerated = list.enumerated;
            report = report.with_findings(list.findings);
        }
        let covered =
            if needs_coverage(&report, scanning, done) { self.coverage(&mut diagnostics).await? } else { None };
        let usage = usage.max(covered.as_ref().map(|covered| covered.usage).unwrap_or_default());
        let last_use = LastUse {
            pull_time: covered.as_ref().and_then(|covered| covered.pull_time),
            in_use_time: usage.last_in_use_time,
        };
        let eligibility_expire_time =
            if status == Status::Active { self.eligibility_expire_time(scanning, last_use).await } else { None };
        Ok(Scan {
            status,
            description,
            report: (done || report != Report::default()).then_some(report),
            coverage: covered.map(|covered| covered.coverage),
            enrichment,
            flaws: diagnostics.into_flaws(),
            eligibility_expire_time,
            usage,
            ..unreported(scanning, read_time)
        })
    }

    async fn enrich(&self, ended_well: bool, findings: &mut [Finding]) -> Enrichment {
        let Self { client, repository, manifest: Manifest { digest, .. }, deadline, .. } = *self;
        if !ended_well {
            mark_unchecked(findings);
            return Enrichment::NotAsked;
        }
        Enricher { client, repository, digest, deadline: client.enrichment_deadline(deadline) }.enrich(findings).await
    }

    async fn coverage(&self, diagnostics: &mut ScanDiagnostics) -> Result<Option<Covered>, Error> {
        coverage::load(self.client, self.repository, &self.manifest.digest, self.deadline, diagnostics).await
    }

    /// Returns the instant at which Inspector stops scanning the image, if it scans continuously and the instant is sure.
    async fn eligibility_expire_time(&self, scanning: EffectiveScanning, last_use: LastUse) -> Option<Timestamp> {
        let continuous = scanning.scan_type == ScanType::Enhanced && scanning.frequency == Frequency::ContinuousScan;
        if !continuous || last_use == LastUse::default() {
            return None;
        }
        let durations = self.scanning.rescan_durations(self.deadline).await?;
        durations.end(self.manifest.push_time, last_use)
    }
}

/// True if the scan needs Inspector's coverage as proof. An enhanced scan without findings looks the same before the
/// first scan.
fn needs_coverage(report: &Report, scanning: EffectiveScanning, done: bool) -> bool {
    scanning.scan_type == ScanType::Enhanced && done && report.findings.as_ref().is_some_and(Vec::is_empty)
}

fn severity_counts(counts: SeverityCounts, diagnostics: &mut ScanDiagnostics) -> Counts {
    let mut total = Counts::new();
    for (severity, count) in counts {
        let label = diagnostics.intern(severity.as_str(), MAX_NAME_BYTES);
        match u32::try_from(count) {
            Ok(count) => {
                let sum = total.entry(label).or_default();
                *sum = sum.saturating_add(count);
            }
            Err(_) => diagnostics.malformed(format!("the count of {label} findings is {count}")),
        }
    }
    total
}

struct FindingLists {
    basic: Option<FindingList>,
    enhanced: Option<FindingList>,
}

impl FindingLists {
    /// Returns the list of the scan type, if present, merged with the other list.
    fn select(self, scan_type: ScanType, done: bool, counts: Option<&Counts>) -> Option<FindingList> {
        let counts_none = counts.is_none_or(|counts| counts.values().all(|count| *count == 0));
        match (scan_type, self.basic, self.enhanced) {
            (ScanType::Basic, basic, enhanced) => Some(basic?.merge(enhanced)),
            (ScanType::Enhanced, basic, Some(enhanced)) => Some(enhanced.merge(basic)),
            // A clean enhanced scan returns only the other list, empty. Coverage must prove that it ran at all.
            (ScanType::Enhanced, Some(basic), None) => {
                (done && counts_none && basic.findings.is_empty()).then_some(basic)
            }
            (ScanType::Enhanced, None, None) => None,
        }
    }
}
