//! `scangate findings`: what the scans of an image found.

use clap::{Args, ValueEnum};
use scangate_client::v1::{
    Finding, FindingsFilter, FixAvailability, GetFindingsRequest, GetFindingsResponse, ManifestScan, Severity,
};

use crate::{
    args::{ImageArgs, Span},
    failure::Failure,
    outcome::Answer,
    page::{Page, Table},
    session::Session,
    words,
};

/// The largest page that the contract has.
const MAX_PAGE: usize = 1000;

/// The request of `scangate findings`.
#[derive(Debug, Args)]
pub(crate) struct Findings {
    #[command(flatten)]
    image: ImageArgs,
    /// At least this severity; findings that nobody has rated are always shown.
    #[arg(long, value_enum)]
    min_severity: Option<MinSeverity>,
    /// Only of this package.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    package: String,
    /// Only this vulnerability, e.g. CVE-2021-44228.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    vulnerability: String,
    /// Only findings with this fix availability.
    #[arg(long, value_enum)]
    fix: Option<Fix>,
    /// How many to show, worst first; 0 shows all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// How old the gate's knowledge of the findings may be; 0s reads ECR now.
    #[arg(long, value_name = "DURATION")]
    max_findings_age: Option<Span>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MinSeverity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl From<MinSeverity> for Severity {
    fn from(severity: MinSeverity) -> Self {
        match severity {
            MinSeverity::Informational => Self::Informational,
            MinSeverity::Low => Self::Low,
            MinSeverity::Medium => Self::Medium,
            MinSeverity::High => Self::High,
            MinSeverity::Critical => Self::Critical,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fix {
    /// Every affected package has a fixed version.
    Available,
    /// Some affected packages have one.
    Partial,
    /// None has.
    None,
}

impl From<Fix> for FixAvailability {
    fn from(fix: Fix) -> Self {
        match fix {
            Fix::Available => Self::Available,
            Fix::Partial => Self::Partial,
            Fix::None => Self::None,
        }
    }
}

impl Findings {
    pub(crate) async fn run(self, session: &Session) -> Result<Answer, Failure> {
        let limit = self.limit;
        let mut request = self.request();
        let answer = match i32::try_from(limit) {
            Ok(page_size) if (1..=MAX_PAGE).contains(&limit) => {
                request.page_size = page_size;
                session.client.findings(request).await?
            }
            Ok(_) | Err(_) => {
                let mut all = session.client.all_findings(request).await?;
                all.findings.truncate(if limit == 0 { usize::MAX } else { limit });
                all
            }
        };
        Ok(Answer::success(session.render(&answer, page)?))
    }

    fn request(self) -> GetFindingsRequest {
        let filter = FindingsFilter {
            min_severity: self.min_severity.map_or(Severity::Unspecified, Into::into).into(),
            package: self.package,
            vulnerability_id: self.vulnerability,
            fix: self.fix.map_or(FixAvailability::Unspecified, Into::into).into(),
        };
        GetFindingsRequest {
            image: self.image.image,
            platforms: self.image.platform,
            filter: Some(filter),
            max_findings_age: self.max_findings_age.map(Into::into),
            ..Default::default()
        }
    }
}

fn page(answer: &GetFindingsResponse) -> Page {
    let mut page = Page::default();
    page.table(&scans(&answer.manifests));
    page.blank();
    if !answer.findings.is_empty() {
        page.table(&findings(&answer.findings));
    }
    page.line(&format!("{} of {} findings", answer.findings.len(), answer.total_size));
    page
}

fn scans(manifests: &[ManifestScan]) -> Table {
    let mut table = Table::new(&["PLATFORM", "DIGEST", "SCAN", "STATUS", "EVIDENCE", "COMPLETED", "FINDINGS"]);
    for manifest in manifests {
        let scan = manifest.scan.clone().unwrap_or_default();
        table.row([
            words::platform(manifest.platform.as_ref()),
            words::short_digest(&manifest.digest),
            words::scan_type(scan.scan_type),
            words::scan_status(scan.status),
            words::evidence(scan.evidence),
            words::time(scan.completed_at),
            words::severity_counts(&scan.severity_counts),
        ]);
    }
    table
}

fn findings(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["SEVERITY", "VULNERABILITY", "PACKAGE", "FIXED IN", "PLATFORM", "TITLE"]);
    for finding in findings {
        table.row([
            words::severity(finding.severity),
            finding.vulnerability_id.clone(),
            words::package(finding.package.as_ref()),
            words::fixed_in(finding.package.as_ref()),
            words::platform(finding.platform.as_ref()),
            finding.title.clone(),
        ]);
    }
    table
}
