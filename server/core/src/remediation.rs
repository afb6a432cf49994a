//! The remediation of a DENY: the smallest set of packages to upgrade, and the violations that no upgrade resolves.

mod version;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decision::{Breach, MAX_UNKNOWN_FIXES, Remediation, UnknownFix, Upgrade, Violation},
    finding::{Finding, Fix, Package},
    policy::Policy,
    rule::Rule,
};

/// A rule that denies, with the records that count under it on one manifest.
///
/// A record is one entry of the scan's list of findings; several records with one identity count as one finding.
#[derive(Clone, Debug)]
pub(crate) struct BrokenRule<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) rule: &'a Rule,
    pub(crate) findings: Vec<&'a Finding>,
}

/// The unit of an upgrade: a package of one manager, name and version, at every path.
type PackageKey<'a> = (&'a str, &'a str, Option<&'a str>);
type Identity<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

/// The upgrades that can satisfy one broken rule.
struct Requirement<'a> {
    /// The number of findings to remove.
    needed: usize,
    /// The number of findings that the upgrade of one package removes.
    removes: BTreeMap<PackageKey<'a>, usize>,
    /// The packages of each finding that only the upgrade of several packages removes.
    shared: Vec<BTreeSet<PackageKey<'a>>>,
    /// The records that upgrades can remove.
    records: Vec<&'a Finding>,
}

impl<'a> Requirement<'a> {
    /// Returns `None` if too many findings have no known fix.
    fn new(broken: &BrokenRule<'a>) -> Option<Self> {
        let mut packages: BTreeMap<Identity<'a>, BTreeSet<PackageKey<'a>>> = BTreeMap::new();
        let mut remaining = BTreeSet::new();
        for finding in &broken.findings {
            packages.entry(identity(finding)).or_default().insert(package_key(finding));
            // If two records of one finding differ, the one without a fix decides.
            if !is_fixable(finding) {
                remaining.insert(identity(finding));
            }
        }
        let allowed = usize::try_from(broken.rule.allow).unwrap_or(usize::MAX);
        if remaining.len() > allowed {
            return None;
        }
        let needed = packages.len().saturating_sub(allowed);
        let (mut removes, mut shared) = (BTreeMap::new(), Vec::new());
        for (_, packages) in packages.into_iter().filter(|(identity, _)| !remaining.contains(identity)) {
            match packages.first() {
                Some(only) if packages.len() == 1 => *removes.entry(*only).or_default() += 1,
                Some(_) | None => shared.push(packages),
            }
        }
        let is_removable = |finding: &&&Finding| !remaining.contains(&identity(finding));
        let records = broken.findings.iter().filter(is_removable).copied().collect();
        Some(Self { needed, removes, shared, records })
    }

    /// The packages whose upgrade removes something.
    fn candidates(&self) -> impl Iterator<Item = PackageKey<'a>> {
        self.removes.keys().chain(self.shared.iter().flatten()).copied()
    }

    fn removed_by(&self, chosen: &BTreeSet<PackageKey<'a>>) -> usize {
        let alone: usize = self.removes.iter().filter(|(key, _)| chosen.contains(*key)).map(|(_, count)| count).sum();
        alone + self.shared.iter().filter(|packages| packages.is_subset(chosen)).count()
    }

    fn is_met_by(&self, chosen: &BTreeSet<PackageKey<'a>>) -> bool {
        self.removed_by(chosen) >= self.needed
    }

    /// The packages without which the requirement cannot be met.
    fn indispensable(&self) -> BTreeSet<PackageKey<'a>> {
        let all = self.removes.values().sum::<usize>() + self.shared.len();
        self.candidates().filter(|key| all.saturating_sub(self.touched_by(key)) < self.needed).collect()
    }

    /// The number of findings that stay without the upgrade of a package.
    fn touched_by(&self, key: &PackageKey<'a>) -> usize {
        let shared = self.shared.iter().filter(|packages| packages.contains(key)).count();
        self.removes.get(key).copied().unwrap_or_default() + shared
    }
}

/// Names a violation that no upgrade of a package resolves, whatever the findings.
fn without_upgrade(violation: &Violation) -> Option<String> {
    match violation.breach {
        Breach::Rule { .. } => None,
        Breach::Scan(_) => Some(format!("{}/scan", violation.policy)),
        Breach::NotUnderstood => Some(format!("{}/unknown-fields", violation.policy)),
    }
}

/// Computes the upgrades that resolve a DENY; `None` without violations.
pub(crate) fn compute(broken: &[BrokenRule<'_>], violations: &[Violation]) -> Option<Remediation> {
    if violations.is_empty() {
        return None;
    }
    let mut unfixable = BTreeSet::new();
    unfixable.extend(violations.iter().filter_map(without_upgrade));
    let mut requirements = Vec::new();
    for broken in broken {
        match Requirement::new(broken) {
            Some(requirement) => requirements.push(requirement),
            None => {
                unfixable.insert(format!("{}/{}", broken.policy.id, broken.rule.id));
            }
        }
    }
    let upgrades = minimal_upgrades(&requirements).into_iter().map(|key| upgrade(key, &requirements)).collect();
    Some(Remediation { upgrades, unfixable: unfixable.into_iter().collect(), unknown_fixes: unknown_fixes(broken) })
}

/// Lists the findings whose fix the scan does not report, by package.
fn unknown_fixes(broken: &[BrokenRule<'_>]) -> Vec<UnknownFix> {
    let mut by_package: BTreeMap<PackageKey<'_>, (&Package, BTreeSet<&str>)> = BTreeMap::new();
    for finding in broken.iter().flat_map(|broken| &broken.findings).filter(|finding| finding.is_fix_unknown()) {
        let entry = by_package.entry(package_key(finding)).or_insert((&finding.package, BTreeSet::new()));
        entry.1.insert(&finding.id);
    }
    let list = by_package.into_values().take(MAX_UNKNOWN_FIXES).map(|(package, ids)| UnknownFix {
        package: Package { path: None, fixed_in: None, source_layer: None, ..package.clone() },
        vulnerabilities: ids.into_iter().map(str::to_owned).collect(),
    });
    list.collect()
}

/// The maximum number of candidates for the exhaustive search. Beyond it, a greedy choice may be larger than the
/// minimum.
const MAX_EXHAUSTIVE: u32 = 12;

/// Returns the fewest packages whose upgrades meet every requirement.
fn minimal_upgrades<'a>(requirements: &[Requirement<'a>]) -> BTreeSet<PackageKey<'a>> {
    // A rule that allows no finding leaves no choice, and most rules allow none.
    let mut chosen: BTreeSet<PackageKey<'a>> = requirements.iter().flat_map(Requirement::indispensable).collect();
    let candidates: BTreeSet<PackageKey<'a>> = unmet(requirements, &chosen)
        .iter()
        .flat_map(|requirement| requirement.candidates())
        .filter(|key| !chosen.contains(key))
        .collect();
    if unmet(requirements, &chosen).is_empty() {
        return chosen;
    }
    if u32::try_from(candidates.len()).is_ok_and(|count| count <= MAX_EXHAUSTIVE) {
        return exhaustive(requirements, &chosen, &candidates).unwrap_or(chosen);
    }
    while let Some(next) = greedy_step(&unmet(requirements, &chosen), &chosen, &candidates) {
        chosen.insert(next);
    }
    without_superfluous(chosen, requirements)
}

/// Drops each package whose upgrade is not needed beside the others: a greedy choice may contain some.
fn without_superfluous<'a>(
    mut chosen: BTreeSet<PackageKey<'a>>,
    requirements: &[Requirement<'a>],
) -> BTreeSet<PackageKey<'a>> {
    for key in chosen.clone() {
        chosen.remove(&key);
        if !requirements.iter().all(|requirement| requirement.is_met_by(&chosen)) {
            chosen.insert(key);
        }
    }
    chosen
}

fn unmet<'r, 'a>(requirements: &'r [Requirement<'a>], chosen: &BTreeSet<PackageKey<'a>>) -> Vec<&'r Requirement<'a>> {
    requirements.iter().filter(|requirement| !requirement.is_met_by(chosen)).collect()
}

/// Tries every subset of the candidates, small ones first.
fn exhaustive<'a>(
    requirements: &[Requirement<'a>],
    chosen: &BTreeSet<PackageKey<'a>>,
    candidates: &BTreeSet<PackageKey<'a>>,
) -> Option<BTreeSet<PackageKey<'a>>> {
    let mut subsets: Vec<u32> = (0..1_u32 << candidates.len()).collect();
    subsets.sort_by_key(|subset| subset.count_ones());
    subsets.into_iter().find_map(|subset| {
        let more = candidates.iter().enumerate().filter(|(index, _)| subset >> index & 1 == 1).map(|(_, key)| *key);
        let tried: BTreeSet<PackageKey<'a>> = chosen.iter().copied().chain(more).collect();
        requirements.iter().all(|requirement| requirement.is_met_by(&tried)).then_some(tried)
    })
}

/// Returns the candidate whose upgrade removes most of the findings that still have to go; of equals, the first.
fn greedy_step<'a>(
    unmet: &[&Requirement<'a>],
    chosen: &BTreeSet<PackageKey<'a>>,
    candidates: &BTreeSet<PackageKey<'a>>,
) -> Option<PackageKey<'a>> {
    let gain = |key: &PackageKey<'a>| -> usize {
        let gains = unmet.iter().map(|requirement| {
            let missing = requirement.needed.saturating_sub(requirement.removed_by(chosen));
            requirement.touched_by(key).min(missing)
        });
        gains.sum()
    };
    let gains = candidates.iter().filter(|key| !chosen.contains(*key)).map(|key| (gain(key), *key));
    gains.filter(|(gain, _)| *gain > 0).max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1))).map(|(_, key)| key)
}

fn upgrade(key: PackageKey<'_>, requirements: &[Requirement<'_>]) -> Upgrade {
    let records = requirements.iter().flat_map(|requirement| &requirement.records);
    let mut fixes = BTreeSet::new();
    let mut version: Option<&str> = None;
    let mut is_known = true;
    let (name, installed, manager) = key;
    let manager = manager.map(Into::into);
    let package = Package { name: name.into(), version: installed.into(), manager, ..Package::default() };
    for finding in records.filter(|finding| package_key(finding) == key) {
        fixes.insert(finding.id.to_string());
        match finding.package.fixed_in.as_deref() {
            Some(fixed_in) if version.is_none_or(|last| version::compare(last, fixed_in).is_lt()) => {
                version = Some(fixed_in);
            }
            Some(_) => {}
            None => is_known = false,
        }
    }
    let to_version = version.filter(|_| is_known).unwrap_or_default().to_owned();
    Upgrade { package, to_version, fixes: fixes.into_iter().collect() }
}

/// True if an upgrade of a package with a name removes the finding.
fn is_fixable(finding: &Finding) -> bool {
    let has_fix = match finding.fix {
        Fix::Available | Fix::Partial => true,
        Fix::Unknown => finding.package.fixed_in.is_some(),
        Fix::None => false,
    };
    has_fix && !finding.package.name.is_empty()
}

fn package_key(finding: &Finding) -> PackageKey<'_> {
    (&finding.package.name, &finding.package.version, finding.package.manager.as_deref())
}

fn identity(finding: &Finding) -> Identity<'_> {
    (&finding.id, &finding.package.name, &finding.package.version, finding.package.path.as_deref())
}
