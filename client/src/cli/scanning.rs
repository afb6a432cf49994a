//! `scangate scanning`: configures when ECR scans repositories.

use clap::{ArgAction, Args, Subcommand, ValueEnum};
use scangate_client::v1::{
    ConfigureMode, ConfigureScanningRequest, ConfigureScanningResponse, RegistryScanning, RegistryTarget,
    RepositoryTarget, ScanFrequency, ScanType, ScanningConfiguration, ScanningRule, configure_scanning_request::Target,
};

use crate::{
    args::parse_pair,
    error::CliError,
    format,
    outcome::CommandOutput,
    report::{Report, Table},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ScanningCommand {
    /// Configure scanning of a repository or a whole registry, and show the configuration before and after.
    #[command(subcommand)]
    Configure(ConfigureCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigureCommand {
    /// Set scan on push of one repository. Matching rules of the registry take precedence.
    Repository(RepositoryArgs),
    /// Set the scan type and the rules of a whole registry.
    Registry(RegistryArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RepositoryArgs {
    /// Repository, e.g. team/app. Without a registry host in front, the server's default registry applies.
    repository: String,
    /// Scan each image when it is pushed.
    #[arg(long, action = ArgAction::Set)]
    scan_on_push: bool,
    /// Validate the request and show its effect without changing anything.
    #[arg(long)]
    validate_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Registry as ACCOUNT/REGION or as host. Default: the server's default registry.
    #[arg(long, default_value = "", hide_default_value = true)]
    registry: String,
    /// Scan type of the registry: basic (ECR) or enhanced (Amazon Inspector).
    #[arg(long = "type", value_enum)]
    scan_type: ScanTypeArg,
    /// Scan frequency (on-push or continuous) of the repositories that match any of the filters. `*` matches any
    /// characters; a filter without `*` matches every name that contains it. May be repeated.
    #[arg(long, value_name = "FREQUENCY=FILTER[,FILTER]", value_parser = parse_rule)]
    rule: Vec<ScanningRule>,
    /// Add the rules to the current configuration, or replace it as a whole.
    #[arg(long, value_enum, default_value_t = ModeArg::Merge)]
    mode: ModeArg,
    /// Repository whose effective scanning to show as well. May be repeated.
    #[arg(long, value_name = "REPOSITORY")]
    report: Vec<String>,
    /// Validate the request and show its effect without changing anything.
    #[arg(long)]
    validate_only: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScanTypeArg {
    Basic,
    Enhanced,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    Merge,
    Replace,
}

impl ScanningCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<CommandOutput, CliError> {
        let Self::Configure(configure) = self;
        let request = ConfigureScanningRequest::from(configure);
        let change =
            if request.validate_only { ["would change", "would not change"] } else { ["changed", "unchanged"] };
        let response = session.client.configure_scanning(request).await?;
        Ok(CommandOutput::success(session.render(&response, |response| scanning_report(response, change))?))
    }
}

impl From<ConfigureCommand> for ConfigureScanningRequest {
    fn from(configure: ConfigureCommand) -> Self {
        match configure {
            ConfigureCommand::Repository(RepositoryArgs { repository, scan_on_push, validate_only }) => Self {
                target: Some(Target::Repository(RepositoryTarget { repository, scan_on_push: Some(scan_on_push) })),
                validate_only,
            },
            ConfigureCommand::Registry(registry) => {
                Self { validate_only: registry.validate_only, target: Some(Target::Registry(registry.into())) }
            }
        }
    }
}

impl From<RegistryArgs> for RegistryTarget {
    fn from(registry: RegistryArgs) -> Self {
        let scan_type = match registry.scan_type {
            ScanTypeArg::Basic => ScanType::Basic,
            ScanTypeArg::Enhanced => ScanType::Enhanced,
        };
        let mode = match registry.mode {
            ModeArg::Merge => ConfigureMode::Merge,
            ModeArg::Replace => ConfigureMode::Replace,
        };
        Self {
            registry: registry.registry,
            scanning: Some(RegistryScanning { scan_type: scan_type.into(), rules: registry.rule }),
            mode: mode.into(),
            report_repositories: registry.report,
        }
    }
}

fn parse_rule(text: &str) -> Result<ScanningRule, String> {
    let (frequency, filters) = parse_pair(text)?;
    let frequency = match frequency.as_str() {
        "on-push" => ScanFrequency::ScanOnPush,
        "continuous" => ScanFrequency::ContinuousScan,
        other => return Err(format!("unknown frequency {other}: expected on-push or continuous")),
    };
    let repository_filters = filters.split(',').map(str::to_owned).collect();
    Ok(ScanningRule { frequency: frequency.into(), repository_filters })
}

/// Renders the response; the array holds the headlines for a change and for no change.
fn scanning_report(response: &ConfigureScanningResponse, [changed, unchanged]: [&str; 2]) -> Report {
    let before = response.before.clone().unwrap_or_default();
    let after = response.after.clone().unwrap_or_default();
    let mut report = Report::default();
    report.line(if response.changed { changed } else { unchanged });
    report.section("registry before", &registry_lines(&before));
    report.section("registry after", &registry_lines(&after));
    if !after.repositories.is_empty() {
        report.blank();
        report.table(&repository_table(&before, &after));
    }
    report.section("notes", &response.notes);
    report
}

fn registry_lines(configuration: &ScanningConfiguration) -> Vec<String> {
    let Some(registry) = &configuration.registry else {
        return Vec::new();
    };
    let rules = registry
        .rules
        .iter()
        .map(|rule| format!("{}: {}", format::frequency(rule.frequency), rule.repository_filters.join(", ")));
    std::iter::once(format::scan_type(registry.scan_type)).chain(rules).collect()
}

fn repository_table(before: &ScanningConfiguration, after: &ScanningConfiguration) -> Table {
    let mut table = Table::new(&["REPOSITORY", "SCAN ON PUSH", "FREQUENCY BEFORE", "FREQUENCY AFTER", "FILTERS"]);
    for current in &after.repositories {
        let previous = before.repositories.iter().find(|previous| previous.repository == current.repository);
        table.row([
            current.repository.clone(),
            current.scan_on_push.to_string(),
            previous.map(|previous| format::frequency(previous.frequency)).unwrap_or_default(),
            format::frequency(current.frequency),
            current.applied_filters.join(", "),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_has_frequency_and_filters() {
        let rule = parse_rule("on-push=team/*,base").unwrap();

        assert_eq!(rule.frequency(), ScanFrequency::ScanOnPush);
        assert_eq!(rule.repository_filters, ["team/*", "base"]);
        assert!(parse_rule("daily=team/*").is_err() && parse_rule("on-push").is_err());
    }
}
