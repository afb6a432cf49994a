//! Conversion of enhanced findings: Inspector reports one finding for each vulnerability, with all its packages.

use std::{collections::BTreeSet, sync::Arc};

use aws_sdk_ecr::{
    primitives::DateTime,
    types::{AwsEcrContainerImageDetails, EnhancedImageScanFinding, PackageVulnerabilityDetails, VulnerablePackage},
};
use scangate_core::{
    finding::{Exploit, Finding, Fix, Package, ReportedTime, Score, Status},
    image::{Digest, Repository},
    scan::Usage,
    severity::{Rating, Severity},
};

use super::{
    basic::rating,
    diagnostics::{MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES, ScanDiagnostics, is_stated, timestamp},
    finding_list::FindingList,
};

/// The image that findings must be about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) repository: &'a Repository,
    pub(super) digest: &'a Digest,
}

/// An image that a finding lists, as far as it is stated.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatedImage<'a> {
    pub(super) digest: Option<&'a str>,
    pub(super) account: Option<&'a str>,
    pub(super) repository: Option<&'a str>,
}

/// Adds the findings of one page to a list: one for each vulnerable package. Counts are of ECR's records.
pub(super) fn add_findings(
    page: &[EnhancedImageScanFinding],
    subject: Subject<'_>,
    list: &mut FindingList,
    diagnostics: &mut ScanDiagnostics,
) {
    for found in page {
        subject.verify(found, diagnostics);
        list.usage = list.usage.max(subject.usage(found));
        let finding = finding(found, diagnostics);
        *list.enumerated.entry(diagnostics.intern(finding.severity.label(), MAX_NAME_BYTES)).or_default() += 1;
        for vulnerable in packages(found) {
            list.findings.push(Finding { package: package(vulnerable, diagnostics), ..finding.clone() });
        }
        // A finding about something other than a package counts, too.
        if packages(found).is_empty() {
            list.findings.push(finding);
        }
    }
}

impl Subject<'_> {
    /// Returns the use of this image according to a finding.
    fn usage(self, found: &EnhancedImageScanFinding) -> Usage {
        let own = listed_images(found).filter(|image| image.image_hash.as_deref() == Some(self.digest.as_str()));
        own.map(|image| usage(image.in_use_count, image.last_in_use_at.as_ref())).fold(Usage::default(), Usage::max)
    }

    /// Checks the images that a finding lists. One that is the image itself is enough: the others only share the finding.
    fn verify(self, found: &EnhancedImageScanFinding, diagnostics: &mut ScanDiagnostics) {
        let stated = listed_images(found).map(|image| StatedImage {
            digest: image.image_hash.as_deref(),
            account: image.registry.as_deref(),
            repository: image.repository_name.as_deref(),
        });
        if let Some((stated, expected)) = self.mismatch(stated) {
            diagnostics.mismatch(format!("a finding is about {stated} instead of {expected}"));
        }
    }

    /// Returns a value that differs, and the expected one, if a finding about these images is not about this one.
    pub(super) fn mismatch<'s>(&'s self, images: impl Iterator<Item = StatedImage<'s>>) -> Option<(&'s str, &'s str)> {
        let mut first = None;
        for image in images {
            match self.difference(&image) {
                None if image.digest.is_some() => return None,
                None => {}
                Some(difference) => first = first.or(Some(difference)),
            }
        }
        first
    }

    fn difference<'s>(&'s self, image: &StatedImage<'s>) -> Option<(&'s str, &'s str)> {
        let stated = [
            (image.digest, self.digest.as_str()),
            (image.account, self.repository.registry.account()),
            (image.repository, self.repository.name.as_str()),
        ];
        stated.into_iter().find_map(|(stated, expected)| Some((stated.filter(|stated| *stated != expected)?, expected)))
    }
}

/// Returns the images that a finding lists.
fn listed_images(found: &EnhancedImageScanFinding) -> impl Iterator<Item = &AwsEcrContainerImageDetails> {
    let resources = found.resources.iter().flatten();
    resources.filter_map(|resource| resource.details.as_ref()?.aws_ecr_container_image.as_ref())
}

fn packages(found: &EnhancedImageScanFinding) -> &[VulnerablePackage] {
    details(found).and_then(|details| details.vulnerable_packages.as_deref()).unwrap_or_default()
}

/// Converts `inUseCount` and `lastInUseAt`. An impossible value counts as unknown: no verdict rests on it.
pub(super) fn usage(in_use_count: Option<i64>, last_in_use_time: Option<&DateTime>) -> Usage {
    Usage {
        in_use_count: in_use_count.and_then(|count| u64::try_from(count).ok()),
        last_in_use_time: last_in_use_time.and_then(timestamp),
    }
}

fn details(found: &EnhancedImageScanFinding) -> Option<&PackageVulnerabilityDetails> {
    found.package_vulnerability_details.as_ref()
}

/// Converts a finding, without its package.
fn finding(found: &EnhancedImageScanFinding, diagnostics: &mut ScanDiagnostics) -> Finding {
    let details = details(found);
    let title = found.title.as_deref().unwrap_or_default();
    let id = details.and_then(|details| details.vulnerability_id.as_deref()).unwrap_or(title);
    let severity = rating(found.severity.as_deref().unwrap_or_default(), diagnostics);
    Finding {
        id: diagnostics.intern(id, MAX_NAME_BYTES),
        related_ids: related_ids(details, id, diagnostics),
        package: Package { name: diagnostics.intern("", MAX_NAME_BYTES), ..Package::default() },
        cvss: score(found, id, &severity, diagnostics),
        severity,
        fix: parse_fix(
            found.fix_available.as_deref(),
            packages(found).iter().map(|vulnerable| vulnerable.fixed_in_version.as_deref()),
        ),
        epss: None,
        exploit: parse_exploit(found.exploit_available.as_deref()),
        kev: None,
        status: parse_status(found.status.as_deref()),
        title: diagnostics.non_empty(Some(title), MAX_NAME_BYTES),
        description: diagnostics.non_empty(found.description.as_deref(), MAX_DESCRIPTION_BYTES),
        uri: diagnostics.non_empty(details.and_then(|details| details.source_url.as_deref()), MAX_NAME_BYTES),
        first_observe_time: diagnostics
            .time("firstObservedAt", found.first_observed_at.as_ref())
            .map(ReportedTime::from),
        publish_time: diagnostics
            .time("vendorCreatedAt", details.and_then(|details| details.vendor_created_at.as_ref()))
            .map(ReportedTime::from),
        arn: diagnostics.non_empty(found.finding_arn.as_deref(), MAX_NAME_BYTES),
    }
}

/// Returns `relatedVulnerabilities` in order, without duplicates and without the finding's own id.
fn related_ids(
    details: Option<&PackageVulnerabilityDetails>,
    id: &str,
    diagnostics: &mut ScanDiagnostics,
) -> Box<[Arc<str>]> {
    let related = details.and_then(|details| details.related_vulnerabilities.as_deref()).unwrap_or_default();
    let related = related.iter().filter(|related| !related.is_empty() && *related != id);
    let ids: BTreeSet<Arc<str>> = related.map(|related| diagnostics.intern(related, MAX_NAME_BYTES)).collect();
    ids.into_iter().collect()
}

fn package(vulnerable: &VulnerablePackage, diagnostics: &mut ScanDiagnostics) -> Package {
    Package {
        name: diagnostics.intern(vulnerable.name.as_deref().unwrap_or_default(), MAX_NAME_BYTES),
        version: diagnostics.intern(&version(vulnerable), MAX_NAME_BYTES),
        manager: diagnostics.non_empty(vulnerable.package_manager.as_deref(), MAX_NAME_BYTES),
        path: diagnostics.non_empty(vulnerable.file_path.as_deref(), MAX_NAME_BYTES),
        fixed_version: diagnostics.non_empty(vulnerable.fixed_in_version.as_deref(), MAX_NAME_BYTES),
        source_layer: diagnostics.non_empty(vulnerable.source_layer_hash.as_deref(), MAX_NAME_BYTES),
    }
}

/// Formats `[EPOCH:]VERSION[-RELEASE]` like the package managers of Debian and Red Hat. Inspector reports the three
/// parts.
fn version(vulnerable: &VulnerablePackage) -> String {
    let epoch = vulnerable.epoch.filter(|epoch| *epoch > 0).map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let version = vulnerable.version.as_deref().unwrap_or_default();
    match vulnerable.release.as_deref() {
        None | Some("") => format!("{epoch}{version}"),
        Some(release) => format!("{epoch}{version}-{release}"),
    }
}

/// Returns the highest score. The SDK parses a missing score as 0.0, so 0.0 counts only for an informational finding.
fn score(
    found: &EnhancedImageScanFinding,
    id: &str,
    severity: &Rating,
    diagnostics: &mut ScanDiagnostics,
) -> Option<Score> {
    let adjusted = found.score_details.as_ref().and_then(|details| details.cvss.as_ref()).map(|cvss| cvss.score);
    let cvss = details(found).and_then(|details| details.cvss.as_deref()).unwrap_or_default();
    let scores = std::iter::once(found.score).chain(adjusted).chain(cvss.iter().map(|cvss| cvss.base_score));
    let informational = *severity == Rating::Rated(Severity::Informational);
    scores.filter_map(|value| diagnostics.score(id, value)).filter(|score| score.value() > 0.0 || informational).max()
}

/// Parses Inspector's `fixAvailable`. A fixed version that a package names is a fix, even beside NO or an unknown value.
pub(super) fn parse_fix<'a>(available: Option<&str>, fixed_version: impl Iterator<Item = Option<&'a str>>) -> Fix {
    let named: Vec<bool> = fixed_version.map(|version| version.is_some_and(is_stated)).collect();
    let fix = match available {
        Some("YES") => Fix::Available,
        Some("PARTIAL") => Fix::Partial,
        Some("NO") => Fix::None,
        Some(_) | None => Fix::Unknown,
    };
    match fix {
        Fix::None | Fix::Unknown if !named.is_empty() && named.iter().all(|named| *named) => Fix::Available,
        Fix::None | Fix::Unknown if named.contains(&true) => Fix::Partial,
        Fix::None | Fix::Unknown | Fix::Available | Fix::Partial => fix,
    }
}

/// Parses Inspector's `exploitAvailable`.
pub(super) fn parse_exploit(available: Option<&str>) -> Exploit {
    match available {
        Some("YES") => Exploit::Known,
        Some("NO") => Exploit::NotKnown,
        Some(_) | None => Exploit::Unknown,
    }
}

/// Parses Inspector's status of a finding. A missing status is unrecognised, and the finding counts like an active one.
pub(super) fn parse_status(text: Option<&str>) -> Status {
    match text {
        Some("ACTIVE") => Status::Active,
        Some("SUPPRESSED") => Status::Suppressed,
        Some("CLOSED") => Status::Closed,
        Some(_) | None => Status::Unrecognised,
    }
}
