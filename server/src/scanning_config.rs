//! Configuring scanning: what was in force, what is asked, what is in force now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use scangate_core::{
    image::RepositoryName,
    registry::Registry as RegistryId,
    scan::{Frequency, ScanType},
};

use crate::registry::{self, Registry, RegistryScanning, Repository, RepositoryScanning, ScanningRule};

/// How a registry's configuration meets the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Rules are added; nothing stops being scanned.
    Merge,
    /// The new configuration takes the place of the old.
    Replace,
}

/// Whether to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Change it.
    Apply,
    /// Tell what would be.
    ValidateOnly,
}

/// A change of scanning.
#[derive(Clone, Debug)]
pub enum Target {
    /// One repository's own flag.
    Repository {
        /// Which.
        repository: Repository,
        /// The flag.
        scan_on_push: bool,
    },
    /// A whole registry.
    Registry {
        /// Which.
        registry: RegistryId,
        /// What to set.
        scanning: RegistryScanning,
        /// How it meets what is in force.
        meeting: Meeting,
        /// Repositories to report on.
        report: Vec<RepositoryName>,
    },
}

/// What is in force at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Of the registry.
    pub registry: RegistryScanning,
    /// Of the repositories asked for.
    pub repositories: Vec<RepositoryScanning>,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Before.
    pub before: InForce,
    /// After, or what would be.
    pub after: InForce,
    /// Things to know.
    pub notes: Vec<String>,
}

impl Configured {
    /// Whether anything was, or would be, changed.
    pub fn changed(&self) -> bool {
        self.before != self.after
    }
}

/// Changes scanning, or tells what a change would do.
pub async fn configure(
    registry: &Arc<dyn Registry>,
    target: Target,
    intent: Intent,
) -> Result<Configured, registry::Error> {
    match target {
        Target::Repository { repository, scan_on_push } => {
            configure_repository(registry, repository, scan_on_push, intent).await
        }
        Target::Registry { registry: id, scanning, meeting, report } => {
            let before = in_force(registry, &id, &report).await?;
            let wanted = match meeting {
                Meeting::Replace => scanning,
                Meeting::Merge => merge(&before.registry, &scanning),
            };
            configure_registry(registry, &id, before, wanted, &report, intent).await
        }
    }
}

async fn in_force(
    registry: &Arc<dyn Registry>,
    id: &RegistryId,
    repositories: &[RepositoryName],
) -> Result<InForce, registry::Error> {
    Ok(InForce {
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
    let before = in_force(registry, &repository.registry, &names).await?;
    let after = match intent {
        Intent::Apply => {
            registry.put_scan_on_push(&repository, scan_on_push).await?;
            in_force(registry, &repository.registry, &names).await?
        }
        Intent::ValidateOnly => foresee_flag(&before, scan_on_push),
    };
    let mut notes = Vec::new();
    if after.registry.scan_type == ScanType::Enhanced {
        notes.push(
            "the registry uses enhanced scanning: its rules decide, the repository's own flag has no effect".to_owned(),
        );
    } else if after.repositories.iter().any(|after| after.scan_on_push != scan_on_push) {
        notes.push("ECR accepted the change but does not show it yet; read it again in a moment".to_owned());
    }
    Ok(Configured { before, after, notes })
}

fn foresee_flag(before: &InForce, scan_on_push: bool) -> InForce {
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
    before: InForce,
    wanted: RegistryScanning,
    report: &[RepositoryName],
    intent: Intent,
) -> Result<Configured, registry::Error> {
    let after = match intent {
        Intent::Apply if before.registry == wanted => before.clone(),
        Intent::Apply => {
            registry.put_registry_scanning(id, &wanted).await?;
            in_force(registry, id, report).await?
        }
        Intent::ValidateOnly => InForce {
            repositories: before.repositories.iter().map(|repository| foresee(repository, &wanted)).collect(),
            registry: wanted,
        },
    };
    let notes = notes(&before, &after);
    Ok(Configured { before, after, notes })
}

fn notes(before: &InForce, after: &InForce) -> Vec<String> {
    let mut notes = Vec::new();
    if before.registry.scan_type != after.registry.scan_type {
        notes.push(
            "the kind of scanning changes: scans of the other kind are no longer seen, and images need a new scan before they are allowed"
                .to_owned(),
        );
    }
    let dropped = before
        .repositories
        .iter()
        .zip(&after.repositories)
        .filter(|(before, after)| before.frequency != Frequency::Manual && after.frequency == Frequency::Manual);
    notes.extend(dropped.map(|(_, after)| format!("repository {} is no longer scanned by itself", after.name)));
    notes
}

/// Unites two configurations. Only ever adds: a registry of the other kind takes the kind asked for and keeps its filters
/// where that kind has their frequency.
fn merge(in_force: &RegistryScanning, asked: &RegistryScanning) -> RegistryScanning {
    let mut rules: BTreeMap<Frequency, BTreeSet<String>> = BTreeMap::new();
    let kept = in_force.rules.iter().map(|rule| (frequency_under(asked.scan_type, rule.frequency), rule));
    let added = asked.rules.iter().map(|rule| (rule.frequency, rule));
    for (frequency, rule) in kept.chain(added) {
        rules.entry(frequency).or_default().extend(rule.filters.iter().cloned());
    }
    // Enhanced scanning without rules scans everything continuously: adding a rule must not narrow that.
    let scans_everything =
        |scanning: &RegistryScanning| scanning.scan_type == ScanType::Enhanced && scanning.rules.is_empty();
    if scans_everything(in_force) && asked.scan_type == ScanType::Enhanced && !asked.rules.is_empty() {
        rules.entry(Frequency::ContinuousScan).or_default().insert("*".to_owned());
    }
    let rules = rules
        .into_iter()
        .map(|(frequency, filters)| ScanningRule { frequency, filters: filters.into_iter().collect() })
        .collect();
    RegistryScanning { scan_type: asked.scan_type, rules }
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

/// What would be in force for a repository, by ECR's rules for filters.
fn foresee(repository: &RepositoryScanning, wanted: &RegistryScanning) -> RepositoryScanning {
    let matching: Vec<(Frequency, &String)> = wanted
        .rules
        .iter()
        .flat_map(|rule| rule.filters.iter().map(|filter| (rule.frequency, filter)))
        .filter(|(_, filter)| filter_matches(filter, repository.name.as_str()))
        .collect();
    let everything = wanted.scan_type == ScanType::Enhanced && wanted.rules.is_empty();
    let continuous = everything || matching.iter().any(|(frequency, _)| *frequency == Frequency::ContinuousScan);
    let own_flag = wanted.scan_type == ScanType::Basic && repository.scan_on_push;
    let frequency = if continuous {
        Frequency::ContinuousScan
    } else if own_flag || !matching.is_empty() {
        Frequency::ScanOnPush
    } else {
        Frequency::Manual
    };
    // Only the filters of the frequency that won are applied.
    let applied_filters =
        matching.into_iter().filter(|(of, _)| *of == frequency).map(|(_, filter)| filter.clone()).collect();
    RepositoryScanning { frequency, applied_filters, ..repository.clone() }
}

/// A filter without `*` matches what contains it; with `*`, the whole name.
fn filter_matches(filter: &str, name: &str) -> bool {
    if filter.contains('*') {
        scangate_core::glob::Glob::parse(filter).is_ok_and(|glob| glob.matches(name))
    } else {
        name.contains(filter)
    }
}
