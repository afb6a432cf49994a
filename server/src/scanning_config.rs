//! Changes the scanning configuration of registries and repositories, and reports it before and after the change.

mod notes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use scangate_core::{
    image::{Repository, RepositoryName},
    registry::Registry as RegistryId,
    scan::{Frequency, ScanType},
};

use crate::registry::{self, Registry, RegistryScanning, RepositoryScanning, ScanningRule};

/// The way a new registry configuration is combined with the effective one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeMode {
    /// Rules are added to the effective ones. While the scan type stays the same, no repository stops being scanned.
    Merge,
    /// The new configuration replaces the effective one.
    Replace,
}

/// The extent of a call: apply the change or only validate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Apply the change.
    Apply,
    /// Report the result without applying the change.
    ValidateOnly,
}

/// A change of the scanning configuration.
#[derive(Clone, Debug)]
pub enum Target {
    /// Sets the scan-on-push flag of one repository.
    Repository {
        /// The repository.
        repository: Repository,
        /// The new value.
        scan_on_push: bool,
    },
    /// Changes the configuration of a registry.
    Registry {
        /// The registry.
        registry: RegistryId,
        /// The new configuration.
        scanning: RegistryScanning,
        /// The way it is combined with the effective one.
        mode: MergeMode,
        /// The repositories to report on.
        report: Vec<RepositoryName>,
    },
}

/// The scanning configuration in effect at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveScanning {
    /// The configuration of the registry.
    pub registry: RegistryScanning,
    /// The configuration of the requested repositories.
    pub repositories: Vec<RepositoryScanning>,
}

/// The outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The configuration before the change.
    pub before: EffectiveScanning,
    /// The configuration after the change; expected, if the change was only validated.
    pub after: EffectiveScanning,
    /// Side effects that the caller should know, one sentence each.
    pub notes: Vec<String>,
}

impl Configured {
    /// True if the change has, or would have, an effect.
    pub fn changed(&self) -> bool {
        self.before != self.after
    }
}

/// Changes the scanning configuration, or reports the effect of the change.
pub async fn configure(
    registry: &Arc<dyn Registry>,
    target: Target,
    intent: Intent,
) -> Result<Configured, registry::Error> {
    match target {
        Target::Repository { repository, scan_on_push } => {
            configure_repository(registry, repository, scan_on_push, intent).await
        }
        Target::Registry { registry: id, scanning, mode, report } => {
            let before = read_effective(registry, &id, &report).await?;
            if !before.registry.accepts_rules {
                return Err(registry::Error::NoScanningRules(id));
            }
            let wanted = match mode {
                MergeMode::Replace => scanning,
                MergeMode::Merge => merge(&before.registry, &scanning),
            };
            configure_registry(registry, &id, before, wanted, &report, intent).await
        }
    }
}

async fn read_effective(
    registry: &Arc<dyn Registry>,
    id: &RegistryId,
    repositories: &[RepositoryName],
) -> Result<EffectiveScanning, registry::Error> {
    Ok(EffectiveScanning {
        registry: registry.registry_scanning(id).await?,
        repositories: registry.repository_scanning(id, repositories).await?,
    })
}

async fn configure_repository(
    registry: &Arc<dyn Registry>,
    repository: Repository,
    scan_on_push: bool,
    intent: Intent,
) -> Result<Configured, registry::Error> {
    let names = [repository.name.clone()];
    let before = read_effective(registry, &repository.registry, &names).await?;
    let expected = expected_after_flag(&before, scan_on_push);
    let mut notes = notes::repositories(&before, &expected);
    let after = match intent {
        Intent::Apply => {
            registry.put_scan_on_push(&repository, scan_on_push).await?;
            read_effective(registry, &repository.registry, &names).await?
        }
        Intent::ValidateOnly => expected,
    };
    if after.registry.scan_type == ScanType::Enhanced {
        notes.push(
            "the registry uses enhanced scanning: its rules apply, and the repository's scan-on-push flag has no effect".to_owned(),
        );
    } else if after.repositories.iter().any(|after| after.scan_on_push != scan_on_push) {
        notes.push(
            "ECR accepted the change but does not report it yet; read the configuration again in a few seconds"
                .to_owned(),
        );
    }
    Ok(Configured { before, after, notes })
}

fn expected_after_flag(before: &EffectiveScanning, scan_on_push: bool) -> EffectiveScanning {
    let mut after = before.clone();
    for repository in &mut after.repositories {
        repository.scan_on_push = scan_on_push;
        if before.registry.scan_type == ScanType::Basic && repository.applied_filters.is_empty() {
            repository.frequency = if scan_on_push { Frequency::ScanOnPush } else { Frequency::Manual };
        }
    }
    after
}

async fn configure_registry(
    registry: &Arc<dyn Registry>,
    id: &RegistryId,
    before: EffectiveScanning,
    wanted: RegistryScanning,
    report: &[RepositoryName],
    intent: Intent,
) -> Result<Configured, registry::Error> {
    let expected = EffectiveScanning {
        repositories: before.repositories.iter().map(|repository| expected_scanning(repository, &wanted)).collect(),
        registry: wanted,
    };
    // From the expected configuration: ECR may not report the change yet.
    let notes = notes::registry(&before, &expected);
    let after = match intent {
        Intent::Apply if before.registry == expected.registry => before.clone(),
        Intent::Apply => {
            registry.put_registry_scanning(id, &expected.registry).await?;
            read_effective(registry, id, report).await?
        }
        Intent::ValidateOnly => expected,
    };
    Ok(Configured { before, after, notes })
}

/// True if every repository is scanned continuously: enhanced scanning without rules.
fn scans_everything(scanning: &RegistryScanning) -> bool {
    scanning.scan_type == ScanType::Enhanced && scanning.rules.is_empty()
}

/// Adds the requested rules to the effective ones; none is removed. If the scan type changes, effective filters are kept under
/// the closest frequency of the new type.
fn merge(effective: &RegistryScanning, requested: &RegistryScanning) -> RegistryScanning {
    let mut rules: BTreeMap<Frequency, BTreeSet<String>> = BTreeMap::new();
    let existing = effective.rules.iter().map(|rule| (frequency_under(requested.scan_type, rule.frequency), rule));
    let added = requested.rules.iter().map(|rule| (rule.frequency, rule));
    for (frequency, rule) in existing.chain(added) {
        rules.entry(frequency).or_default().extend(rule.filters.iter().cloned());
    }
    // An added rule must not narrow the scanning of everything.
    if scans_everything(effective) && requested.scan_type == ScanType::Enhanced && !requested.rules.is_empty() {
        rules.entry(Frequency::ContinuousScan).or_default().insert("*".to_owned());
    }
    let rules = rules
        .into_iter()
        .map(|(frequency, filters)| ScanningRule { frequency, filters: filters.into_iter().collect() })
        .collect();
    RegistryScanning { scan_type: requested.scan_type, rules, accepts_rules: true }
}

fn frequency_under(scan_type: ScanType, frequency: Frequency) -> Frequency {
    match (scan_type, frequency) {
        (ScanType::Basic, Frequency::ContinuousScan) => Frequency::ScanOnPush,
        (
            ScanType::Basic | ScanType::Enhanced,
            Frequency::ScanOnPush | Frequency::ContinuousScan | Frequency::Manual | Frequency::Unrecognised,
        ) => frequency,
    }
}

/// The expected configuration of a repository under the new rules, by ECR's rules for filters.
fn expected_scanning(repository: &RepositoryScanning, wanted: &RegistryScanning) -> RepositoryScanning {
    let matching: Vec<(Frequency, &String)> = wanted
        .rules
        .iter()
        .flat_map(|rule| rule.filters.iter().map(|filter| (rule.frequency, filter)))
        .filter(|(_, filter)| filter_matches(filter, repository.name.as_str()))
        .collect();
    let continuous =
        scans_everything(wanted) || matching.iter().any(|(frequency, _)| *frequency == Frequency::ContinuousScan);
    let own_flag = wanted.scan_type == ScanType::Basic && repository.scan_on_push;
    let frequency = if continuous {
        Frequency::ContinuousScan
    } else if own_flag || !matching.is_empty() {
        Frequency::ScanOnPush
    } else {
        Frequency::Manual
    };
    // ECR applies only the filters of the winning frequency.
    let applied_filters = matching
        .into_iter()
        .filter(|(candidate, _)| *candidate == frequency)
        .map(|(_, filter)| filter.clone())
        .collect();
    RepositoryScanning { frequency, applied_filters, ..repository.clone() }
}

/// True if an ECR filter matches the name: with `*`, the whole name; without, any part of it.
fn filter_matches(filter: &str, name: &str) -> bool {
    if filter.contains('*') {
        scangate_core::glob::Glob::parse(filter).is_ok_and(|glob| glob.matches(name))
    } else {
        name.contains(filter)
    }
}
