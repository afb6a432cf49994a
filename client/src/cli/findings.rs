//! `scangate findings`: lists the findings of an image's scans.

use clap::{Args, ValueEnum};
use scangate_client::v1::{
    Finding, FindingCondition, FixFilter, GetFindingsRequest, GetFindingsResponse, ManifestScan, Severity,
};

use crate::{
    args::{DurationArg, ImageArgs},
    error::CliError,
    format,
    outcome::CommandOutput,
    report::{Report, Table},
    session::Session,
};

/// The largest page that the contract allows.
const MAX_PAGE_SIZE: usize = 1000;

/// The arguments of `scangate findings`.
#[derive(Debug, Args)]
pub(crate) struct FindingsArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// Minimum severity. Findings without a rating rank as HIGH. Default: all severities.
    #[arg(long, value_enum)]
    min_severity: Option<MinSeverityArg>,
    /// Package to select, e.g. openssl; `*` is any run of characters. May be repeated. Default: all packages.
    #[arg(long, value_name = "GLOB")]
    package: Vec<String>,
    /// Vulnerability to select, e.g. CVE-2021-44228; `*` is any run of characters. May be repeated. Default: all vulnerabilities.
    #[arg(long, value_name = "GLOB")]
    vulnerability: Vec<String>,
    /// Fix availability to select. Default: all findings.
    #[arg(long, value_enum)]
    fix: Option<FixArg>,
    /// Maximum number of findings to show, worst first; 0 shows all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Maximum age of cached findings, e.g. 10m; 0s reads ECR now. Default: the setting of the server.
    #[arg(long, value_name = "DURATION")]
    max_findings_age: Option<DurationArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MinSeverityArg {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl From<MinSeverityArg> for Severity {
    fn from(severity: MinSeverityArg) -> Self {
        match severity {
            MinSeverityArg::Informational => Self::Informational,
            MinSeverityArg::Low => Self::Low,
            MinSeverityArg::Medium => Self::Medium,
            MinSeverityArg::High => Self::High,
            MinSeverityArg::Critical => Self::Critical,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FixArg {
    /// A fixed version exists for some affected packages, or the scan does not report it.
    Available,
    /// No affected package has a fixed version.
    None,
}

impl From<FixArg> for FixFilter {
    fn from(fix: FixArg) -> Self {
        match fix {
            FixArg::Available => Self::Available,
            FixArg::None => Self::None,
        }
    }
}

impl FindingsArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let limit = self.limit;
        let mut request = self.request();
        let mut response = match i32::try_from(limit) {
            Ok(page_size) if (1..=MAX_PAGE_SIZE).contains(&limit) => {
                request.page_size = page_size;
                session.client.findings(request.clone()).await?
            }
            Ok(_) | Err(_) => session.client.all_findings(request.clone()).await?,
        };
        if response.findings.len() < limit && !response.next_page_token.is_empty() {
            // Large findings end a page early.
            response = session.client.all_findings(request).await?;
        }
        response.findings.truncate(if limit == 0 { usize::MAX } else { limit });
        Ok(CommandOutput::success(session.render(&response, findings_report)?))
    }

    fn request(self) -> GetFindingsRequest {
        let filter = FindingCondition {
            min_severity: self.min_severity.map_or(Severity::Unspecified, Into::into).into(),
            packages: self.package,
            vulnerability_ids: self.vulnerability,
            fix: self.fix.map_or(FixFilter::Unspecified, Into::into).into(),
            ..Default::default()
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

fn findings_report(response: &GetFindingsResponse) -> Report {
    let mut report = Report::default();
    report.table(&scan_table(&response.manifests));
    report.blank();
    if !response.findings.is_empty() {
        report.table(&findings_table(&response.findings));
    }
    report.line(&format!("{} of {} findings", response.findings.len(), response.total_size));
    report
}

fn scan_table(manifests: &[ManifestScan]) -> Table {
    let mut table = Table::new(&["PLATFORM", "DIGEST", "SCAN", "STATUS", "EVIDENCE", "COMPLETED", "FINDINGS"]);
    for manifest in manifests {
        let scan = manifest.scan.clone().unwrap_or_default();
        table.row([
            format::platform(manifest.platform.as_ref()),
            format::short_digest(&manifest.digest),
            format::scan_type(scan.scan_type),
            format::scan_status(scan.status),
            format::evidence(scan.evidence),
            format::time(scan.complete_time),
            format::severity_counts(&scan.severity_counts),
        ]);
    }
    table
}

fn findings_table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["SEVERITY", "VULNERABILITY", "PACKAGE", "FIXED IN", "PLATFORM", "TITLE"]);
    for finding in findings {
        table.row([
            format::severity(finding.severity),
            format::vulnerability(finding),
            format::package(finding.package.as_ref()),
            format::fixed_version(finding.package.as_ref()),
            format::platform(finding.platform.as_ref()),
            finding.title.clone(),
        ]);
    }
    table
}
