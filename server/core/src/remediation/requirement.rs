//! The findings of one broken rule that upgrades have to remove.

use std::collections::{BTreeMap, BTreeSet};

use super::{BrokenRule, PackageKey, identity, is_fixable, package_key};
use crate::finding::Finding;

/// The upgrades that can satisfy one broken rule.
pub(super) struct Requirement<'a> {
    /// The number of findings to remove.
    needed: usize,
    /// The findings that upgrades can remove, grouped by their packages.
    groups: Vec<Group<'a>>,
    /// The groups of each package.
    by_package: BTreeMap<PackageKey<'a>, Touched>,
    /// The records that upgrades can remove.
    pub(super) records: Vec<&'a Finding>,
}

/// Findings that go only if all of these packages are upgraded.
struct Group<'a> {
    packages: BTreeSet<PackageKey<'a>>,
    findings: usize,
}

/// The groups of one package, by index, and the number of their findings.
#[derive(Default)]
struct Touched {
    groups: Vec<usize>,
    findings: usize,
}

impl<'a> Requirement<'a> {
    /// Returns `None` if too many findings have no known fix.
    pub(super) fn new(broken: &BrokenRule<'a>) -> Option<Self> {
        let mut packages: BTreeMap<_, BTreeSet<PackageKey<'a>>> = BTreeMap::new();
        let mut remaining = BTreeSet::new();
        for finding in &broken.findings {
            packages.entry(identity(finding)).or_default().insert(package_key(finding));
            // If two records of one finding differ, the one without a fix decides.
            if !is_fixable(finding) {
                remaining.insert(identity(finding));
            }
        }
        let allowed = usize::try_from(broken.rule.allowed_count).unwrap_or(usize::MAX);
        if remaining.len() > allowed {
            return None;
        }
        let needed = packages.len().saturating_sub(allowed);
        let mut groups: BTreeMap<_, usize> = BTreeMap::new();
        for (_, packages) in packages.into_iter().filter(|(identity, _)| !remaining.contains(identity)) {
            *groups.entry(packages).or_default() += 1;
        }
        let groups: Vec<_> = groups.into_iter().map(|(packages, findings)| Group { packages, findings }).collect();
        let mut by_package: BTreeMap<PackageKey<'a>, Touched> = BTreeMap::new();
        for (index, group) in groups.iter().enumerate() {
            for key in &group.packages {
                let touched = by_package.entry(*key).or_default();
                touched.groups.push(index);
                touched.findings += group.findings;
            }
        }
        let is_removable = |finding: &&&Finding| !remaining.contains(&identity(finding));
        let records = broken.findings.iter().filter(is_removable).copied().collect();
        Some(Self { needed, groups, by_package, records })
    }

    fn groups_of(&self, key: &PackageKey<'a>) -> &[usize] {
        self.by_package.get(key).map_or(&[], |touched| &touched.groups)
    }

    /// The packages without which the requirement cannot be met.
    pub(super) fn indispensable(&self) -> impl Iterator<Item = PackageKey<'a>> {
        let all: usize = self.groups.iter().map(|group| group.findings).sum();
        let is_needed = move |touched: &Touched| all.saturating_sub(touched.findings) < self.needed;
        self.by_package.iter().filter(move |(_, touched)| is_needed(touched)).map(|(key, _)| *key)
    }
}

/// A requirement and the effect of the packages chosen so far. Each choice costs time only for the findings of its package.
pub(super) struct Progress<'r, 'a> {
    requirement: &'r Requirement<'a>,
    /// The number of packages of each group that are not chosen.
    open: Vec<usize>,
    /// The number of findings that the chosen packages remove.
    removed: usize,
}

impl<'r, 'a> Progress<'r, 'a> {
    pub(super) fn new(requirement: &'r Requirement<'a>) -> Self {
        let open = requirement.groups.iter().map(|group| group.packages.len()).collect();
        Self { requirement, open, removed: 0 }
    }

    /// The number of findings that still have to go.
    pub(super) fn missing(&self) -> usize {
        self.requirement.needed.saturating_sub(self.removed)
    }

    /// The packages whose upgrade removes something.
    pub(super) fn candidates(&self) -> impl Iterator<Item = PackageKey<'a>> {
        self.requirement.by_package.keys().copied()
    }

    /// The number of findings of a package among those that still have to go. It never grows with a choice.
    pub(super) fn gain(&self, key: &PackageKey<'a>) -> usize {
        self.requirement.by_package.get(key).map_or(0, |touched| touched.findings.min(self.missing()))
    }

    /// Adds a package that is not chosen.
    pub(super) fn choose(&mut self, key: &PackageKey<'a>) {
        for index in self.requirement.groups_of(key) {
            if let (Some(group), Some(open)) = (self.requirement.groups.get(*index), self.open.get_mut(*index)) {
                *open -= 1;
                if *open == 0 {
                    self.removed += group.findings;
                }
            }
        }
    }

    /// Takes back a chosen package.
    pub(super) fn take_back(&mut self, key: &PackageKey<'a>) {
        for index in self.requirement.groups_of(key) {
            if let (Some(group), Some(open)) = (self.requirement.groups.get(*index), self.open.get_mut(*index)) {
                if *open == 0 {
                    self.removed -= group.findings;
                }
                *open += 1;
            }
        }
    }

    /// The groups that stay, each as the set of its packages among the candidates, with the number of its findings. A bit
    /// stands for the candidate of its index.
    pub(super) fn open_groups(&self, candidates: &BTreeMap<PackageKey<'a>, u32>) -> BTreeMap<u32, usize> {
        let mut open_groups = BTreeMap::new();
        for (group, _) in self.requirement.groups.iter().zip(&self.open).filter(|(_, open)| **open > 0) {
            let bits = group.packages.iter().filter_map(|key| candidates.get(key)).map(|index| 1_u32 << index);
            *open_groups.entry(bits.fold(0, |set, bit| set | bit)).or_default() += group.findings;
        }
        open_groups
    }
}
