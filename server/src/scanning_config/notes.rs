//! Notes on a change of the scanning configuration: above all on whatever is no longer scanned.

use std::collections::BTreeSet;

use scangate_core::scan::{Frequency, ScanType};

use super::{EffectiveScanning, scans_everything};
use crate::registry::RegistryScanning;

/// The filter that selects every repository.
const EVERYTHING: &str = "*";

/// Returns the notes on a change of a registry.
pub(super) fn registry(before: &EffectiveScanning, after: &EffectiveScanning) -> Vec<String> {
    let mut notes: Vec<String> = scan_type(&before.registry, &after.registry).map(str::to_owned).collect();
    notes.extend(filters(&before.registry, &after.registry));
    notes.extend(repositories(before, after));
    notes
}

/// Returns the notes on repositories that are scanned less than before.
pub(super) fn repositories(before: &EffectiveScanning, after: &EffectiveScanning) -> Vec<String> {
    let pairs = before.repositories.iter().zip(&after.repositories);
    pairs
        .filter_map(|(before, after)| match (before.frequency, after.frequency) {
            (Frequency::Manual, _) => None,
            (_, Frequency::Manual) => Some(format!("repository {} is no longer scanned automatically", after.name)),
            (Frequency::ContinuousScan, Frequency::ScanOnPush) => {
                Some(format!("repository {} is scanned on push only, no longer continuously", after.name))
            }
            (
                Frequency::ScanOnPush | Frequency::ContinuousScan | Frequency::Unrecognised,
                Frequency::ScanOnPush | Frequency::ContinuousScan | Frequency::Unrecognised,
            ) => None,
        })
        .collect()
}

/// Describes the effects of another scan type.
fn scan_type(before: &RegistryScanning, after: &RegistryScanning) -> impl Iterator<Item = &'static str> {
    let changes = before.scan_type != after.scan_type;
    let replaced = "the scan type changes: existing scans of the previous type are no longer used, and images need a new scan before they are allowed";
    let lost = match after.scan_type {
        ScanType::Basic => Some(
            "Amazon Inspector no longer scans this registry: packages of programming languages are not scanned, and scanned images are not scanned again when vulnerabilities become known",
        ),
        ScanType::Enhanced if scans_everything(after) => None,
        ScanType::Enhanced => Some(
            "repositories that only their own scan_on_push selected are no longer scanned: under enhanced scanning it has no effect",
        ),
    };
    changes.then_some(replaced).into_iter().chain(lost.filter(|_| changes))
}

/// Names the filters that select repositories for less scanning: the report may not list every repository that they select.
fn filters(before: &RegistryScanning, after: &RegistryScanning) -> Vec<String> {
    let (continuous, selected) = (filters_for(after, is_continuous), filters_for(after, is_automatic));
    let covers = |filters: &BTreeSet<&str>, filter: &str| filters.contains(EVERYTHING) || filters.contains(filter);
    let is_implicit = scans_everything(before);
    let was_continuous = filters_for(before, is_continuous);
    let note = |filter: &str| {
        if !covers(&selected, filter) {
            return Some(if is_implicit {
                "only repositories that a rule matches are still scanned automatically".to_owned()
            } else {
                format!("filter {filter:?} selects no repositories for scanning any more")
            });
        }
        (was_continuous.contains(filter) && !covers(&continuous, filter))
            .then(|| format!("repositories that only filter {filter:?} selects are no longer scanned continuously"))
    };
    filters_for(before, is_automatic).into_iter().filter_map(note).collect()
}

/// Returns the filters of the rules with such a frequency.
fn filters_for(scanning: &RegistryScanning, is_wanted: fn(Frequency) -> bool) -> BTreeSet<&str> {
    if scans_everything(scanning) {
        return BTreeSet::from([EVERYTHING]);
    }
    let rules = scanning.rules.iter().filter(|rule| is_wanted(rule.frequency));
    rules.flat_map(|rule| rule.filters.iter().map(String::as_str)).collect()
}

fn is_continuous(frequency: Frequency) -> bool {
    frequency == Frequency::ContinuousScan
}

fn is_automatic(frequency: Frequency) -> bool {
    frequency != Frequency::Manual
}
