//! `scangate scanning`: when repositories are scanned.

use clap::{ArgAction, Args, Subcommand, ValueEnum};
use scangate_client::v1::{
    ConfigureMode, ConfigureScanningRequest, ConfigureScanningResponse, RegistryScanning, RegistryTarget,
    RepositoryTarget, ScanFrequency, ScanType, ScanningConfiguration, ScanningRule, configure_scanning_request::Target,
};

use crate::{
    args::parse_pair,
    failure::Failure,
    outcome::Answer,
    page::{Page, Table},
    session::Session,
    words,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ScanningCommand {
    /// Set when a repository or a whole registry is scanned, and show what was and what is in force.
    #[command(subcommand)]
    Configure(Configure),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Configure {
    /// One repository's own flag. Rules of the registry, where they match, win.
    Repository(RepositoryArgs),
    /// The scanning of a whole registry.
    Registry(RegistryArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RepositoryArgs {
    /// The repository: team/app for the default registry, or with the registry's host in front.
    repository: String,
    /// Whether an image is scanned when it is pushed.
    #[arg(long, action = ArgAction::Set)]
    scan_on_push: bool,
    /// Check and answer as if it had been done; change nothing.
    #[arg(long)]
    validate_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// The registry as ACCOUNT/REGION or by its host; otherwise the default one.
    #[arg(long, default_value = "", hide_default_value = true)]
    registry: String,
    /// The kind of scanning.
    #[arg(long = "type", value_enum)]
    scan_type: Type,
    /// When repositories that match any of the filters are scanned; on-push or continuous. `*` in a filter is any run
    /// of characters, and a filter without one matches every name that contains it. May be repeated.
    #[arg(long, value_name = "FREQUENCY=FILTER[,FILTER]", value_parser = parse_rule)]
    rule: Vec<ScanningRule>,
    /// Add to what is in force, or replace it as a whole.
    #[arg(long, value_enum, default_value_t = Mode::Merge)]
    mode: Mode,
    /// Also show what is in force for this repository; may be repeated.
    #[arg(long, value_name = "REPOSITORY")]
    report: Vec<String>,
    /// Check and answer as if it had been done; change nothing.
    #[arg(long)]
    validate_only: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    Basic,
    Enhanced,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Merge,
    Replace,
}

impl ScanningCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<Answer, Failure> {
        let Self::Configure(configure) = self;
        let request = ConfigureScanningRequest::from(configure);
        let outcome =
            if request.validate_only { ["would change", "would not change"] } else { ["changed", "unchanged"] };
        let answer = session.client.configure_scanning(request).await?;
        Ok(Answer::success(session.render(&answer, |answer| page(answer, outcome))?))
    }
}

impl From<Configure> for ConfigureScanningRequest {
    fn from(configure: Configure) -> Self {
        match configure {
            Configure::Repository(RepositoryArgs { repository, scan_on_push, validate_only }) => {
                Self { target: Some(Target::Repository(RepositoryTarget { repository, scan_on_push })), validate_only }
            }
            Configure::Registry(registry) => {
                Self { validate_only: registry.validate_only, target: Some(Target::Registry(registry.into())) }
            }
        }
    }
}

impl From<RegistryArgs> for RegistryTarget {
    fn from(registry: RegistryArgs) -> Self {
        let scan_type = match registry.scan_type {
            Type::Basic => ScanType::Basic,
            Type::Enhanced => ScanType::Enhanced,
        };
        let mode = match registry.mode {
            Mode::Merge => ConfigureMode::Merge,
            Mode::Replace => ConfigureMode::Replace,
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
        other => return Err(format!("{other} is neither on-push nor continuous")),
    };
    let repository_filters = filters.split(',').map(str::to_owned).collect();
    Ok(ScanningRule { frequency: frequency.into(), repository_filters })
}

/// `outcome` is what to call a change, and what to call none.
fn page(answer: &ConfigureScanningResponse, [changed, unchanged]: [&str; 2]) -> Page {
    let before = answer.before.clone().unwrap_or_default();
    let after = answer.after.clone().unwrap_or_default();
    let mut page = Page::default();
    page.line(if answer.changed { changed } else { unchanged });
    page.section("registry before", &registry(&before));
    page.section("registry after", &registry(&after));
    if !after.repositories.is_empty() {
        page.blank();
        page.table(&repositories(&before, &after));
    }
    page.section("notes", &answer.notes);
    page
}

fn registry(configuration: &ScanningConfiguration) -> Vec<String> {
    let Some(registry) = &configuration.registry else {
        return Vec::new();
    };
    let rules = registry
        .rules
        .iter()
        .map(|rule| format!("{}: {}", words::frequency(rule.frequency), rule.repository_filters.join(", ")));
    std::iter::once(words::scan_type(registry.scan_type)).chain(rules).collect()
}

fn repositories(before: &ScanningConfiguration, after: &ScanningConfiguration) -> Table {
    let mut table = Table::new(&["REPOSITORY", "SCAN ON PUSH", "FREQUENCY BEFORE", "FREQUENCY AFTER", "FILTERS"]);
    for now in &after.repositories {
        let then = before.repositories.iter().find(|then| then.repository == now.repository);
        table.row([
            now.repository.clone(),
            now.scan_on_push.to_string(),
            then.map(|then| words::frequency(then.frequency)).unwrap_or_default(),
            words::frequency(now.frequency),
            now.applied_filters.join(", "),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_its_frequency_and_its_filters() {
        let rule = parse_rule("on-push=team/*,base").unwrap();

        assert_eq!(rule.frequency(), ScanFrequency::ScanOnPush);
        assert_eq!(rule.repository_filters, ["team/*", "base"]);
        assert!(parse_rule("daily=team/*").is_err() && parse_rule("on-push").is_err());
    }
}
