//! Conversions of scanning configurations.

use std::collections::{BTreeMap, BTreeSet};

use scangate_core::{
    registry::Registry as RegistryId,
    scan::{Frequency, ScanType},
};
use scangate_proto::v1;
use tonic::Status;

use super::{image, scan::render_scan_type};
use crate::{
    grpc::field_violations::{FieldReason, Fields},
    registry::{RegistryScanning, RepositoryScanning, ScanningRule},
    scanning_config::{Configured, EffectiveScanning, Intent, MergeMode, Target},
};

/// The most repository filters of one rule.
const MAX_FILTERS: usize = 100;
/// The most repositories that a response reports.
const MAX_REPORT: usize = 100;

/// Parses a ConfigureScanning request.
pub(crate) fn parse_target(
    request: &v1::ConfigureScanningRequest,
    default: &RegistryId,
) -> Result<(Target, Intent), Status> {
    use v1::configure_scanning_request::Target as Wire;
    let mut fields = Fields::default();
    let target = match &request.target {
        None => {
            fields.require("target", "must be set: `repository` or `registry`");
            None
        }
        Some(Wire::Repository(target)) => {
            let repository = image::parse_repository(&mut fields, "repository.repository", &target.repository, default);
            if target.scan_on_push.is_none() {
                fields.require("repository.scan_on_push", "must be set: true to scan images on push, false to end it");
            }
            let values = repository.zip(target.scan_on_push);
            values.map(|(repository, scan_on_push)| Target::Repository { repository, scan_on_push })
        }
        Some(Wire::Registry(target)) => parse_registry_target(&mut fields, target, default),
    };
    let intent = if request.validate_only { Intent::ValidateOnly } else { Intent::Apply };
    Ok((fields.finish(target)?, intent))
}

fn parse_registry_target(fields: &mut Fields, target: &v1::RegistryTarget, default: &RegistryId) -> Option<Target> {
    let registry = image::parse_registry(fields, "registry.registry", &target.registry, default);
    let mode = match v1::ConfigureMode::try_from(target.mode) {
        Ok(v1::ConfigureMode::Unspecified | v1::ConfigureMode::Merge) => Some(MergeMode::Merge),
        Ok(v1::ConfigureMode::Replace) => Some(MergeMode::Replace),
        Err(_) => {
            fields.refuse("registry.mode", "must be CONFIGURE_MODE_MERGE or CONFIGURE_MODE_REPLACE");
            None
        }
    };
    fields.check_length("registry.report_repositories", target.report_repositories.len(), MAX_REPORT);
    let report = image::parse_repository_names(fields, "registry.report_repositories", &target.report_repositories);
    let scanning = match &target.scanning {
        None => {
            fields.require("registry.scanning", "must be set");
            None
        }
        Some(scanning) => parse_registry_scanning(fields, scanning),
    };
    Some(Target::Registry { registry: registry?, scanning: scanning?, mode: mode?, report })
}

fn parse_registry_scanning(fields: &mut Fields, scanning: &v1::RegistryScanning) -> Option<RegistryScanning> {
    let scan_type = match v1::ScanType::try_from(scanning.scan_type) {
        Ok(v1::ScanType::Basic) => Some(ScanType::Basic),
        Ok(v1::ScanType::Enhanced) => Some(ScanType::Enhanced),
        Ok(v1::ScanType::Unspecified | v1::ScanType::Unknown) | Err(_) => {
            fields.refuse("registry.scanning.scan_type", "must be SCAN_TYPE_BASIC or SCAN_TYPE_ENHANCED");
            None
        }
    };
    let mut rules: BTreeMap<Frequency, BTreeSet<String>> = BTreeMap::new();
    for (index, rule) in scanning.rules.iter().enumerate() {
        let path = format!("registry.scanning.rules[{index}]");
        let frequency = parse_frequency(fields, &format!("{path}.frequency"), rule.frequency, scan_type);
        let filters = parse_filters(fields, &format!("{path}.repository_filters"), &rule.repository_filters);
        if let Some(frequency) = frequency
            && rules.insert(frequency, filters).is_some()
        {
            fields.refuse_as(
                FieldReason::Duplicate,
                format!("{path}.frequency"),
                "must be unique: ECR allows one rule per frequency",
            );
        }
    }
    let rules = rules
        .into_iter()
        .map(|(frequency, filters)| ScanningRule { frequency, filters: filters.into_iter().collect() })
        .collect();
    Some(RegistryScanning { scan_type: scan_type?, rules, accepts_rules: true })
}

fn parse_frequency(fields: &mut Fields, path: &str, frequency: i32, scan_type: Option<ScanType>) -> Option<Frequency> {
    match (v1::ScanFrequency::try_from(frequency), scan_type) {
        (Ok(v1::ScanFrequency::ScanOnPush), _) => Some(Frequency::ScanOnPush),
        (Ok(v1::ScanFrequency::ContinuousScan), Some(ScanType::Enhanced) | None) => Some(Frequency::ContinuousScan),
        (_, Some(ScanType::Basic)) => {
            let only = "must be SCAN_FREQUENCY_SCAN_ON_PUSH: basic scanning supports no other frequency; \
                        repositories without a rule are scanned on request";
            fields.forbid(path, only);
            None
        }
        (_, Some(ScanType::Enhanced) | None) => {
            fields.refuse(path, "must be SCAN_FREQUENCY_SCAN_ON_PUSH or SCAN_FREQUENCY_CONTINUOUS_SCAN");
            None
        }
    }
}

fn parse_filters(fields: &mut Fields, path: &str, filters: &[String]) -> BTreeSet<String> {
    if filters.is_empty() {
        fields.require(path, "must have at least one filter; `*` matches every repository");
    }
    fields.check_length(path, filters.len(), MAX_FILTERS);
    let parsed = fields.each(path, filters, |fields, path, filter| {
        if is_valid_filter(filter) {
            return Some(filter.clone());
        }
        fields.refuse(
            path,
            "must be 1 to 255 lower-case letters, digits, `*`, `.`, `_`, `-` or `/`, begin and end with a letter, digit \
             or `*`, and have no two of `.`, `_`, `-` and `/` in sequence",
        );
        None
    });
    parsed.into_iter().collect()
}

/// Matches ECR's pattern, `^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$`.
fn is_valid_filter(filter: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '*';
    (1..=255).contains(&filter.len())
        && filter.starts_with(plain)
        && filter.ends_with(plain)
        && filter.split(plain).all(|separator| matches!(separator, "" | "." | "_" | "-" | "/"))
}

/// Renders a change of the scanning configuration.
pub(crate) fn render_configured(configured: &Configured) -> v1::ConfigureScanningResponse {
    v1::ConfigureScanningResponse {
        before: Some(render_configuration(&configured.before)),
        after: Some(render_configuration(&configured.after)),
        changed: configured.changed(),
        notes: configured.notes.clone(),
    }
}

fn render_configuration(effective: &EffectiveScanning) -> v1::ScanningConfiguration {
    v1::ScanningConfiguration {
        registry: Some(v1::RegistryScanning {
            scan_type: render_scan_type(effective.registry.scan_type).into(),
            rules: effective.registry.rules.iter().map(render_rule).collect(),
        }),
        repositories: effective.repositories.iter().map(render_repository).collect(),
    }
}

fn render_rule(rule: &ScanningRule) -> v1::ScanningRule {
    v1::ScanningRule { frequency: render_frequency(rule.frequency).into(), repository_filters: rule.filters.clone() }
}

fn render_repository(repository: &RepositoryScanning) -> v1::RepositoryScanning {
    v1::RepositoryScanning {
        repository: repository.name.to_string(),
        scan_on_push: repository.scan_on_push,
        frequency: render_frequency(repository.frequency).into(),
        applied_filters: repository.applied_filters.clone(),
    }
}

fn render_frequency(frequency: Frequency) -> v1::ScanFrequency {
    match frequency {
        Frequency::ScanOnPush => v1::ScanFrequency::ScanOnPush,
        Frequency::ContinuousScan => v1::ScanFrequency::ContinuousScan,
        Frequency::Manual => v1::ScanFrequency::Manual,
        Frequency::Unrecognised => v1::ScanFrequency::Unknown,
    }
}
