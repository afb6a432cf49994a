//! The remediation of a DENY: the smallest set of packages to upgrade, and the violations that no upgrade resolves.

mod version;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decision::{Breach, Remediation, Upgrade, Violation},
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

/// The unit of an upgrade: a package of one name and version, at every path.
type PackageKey<'a> = (&'a str, &'a str);
type Identity<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

/// The upgrades that can satisfy one broken rule.
struct Requirement<'a> {
    /// The number of findings to remove.
    needed: usize,
    /// The findings that an upgrade of each package removes.
    removes: BTreeMap<PackageKey<'a>, BTreeSet<Identity<'a>>>,
    /// The records that upgrades can remove.
    records: Vec<&'a Finding>,
}

impl<'a> Requirement<'a> {
    /// Returns `None` if too many findings have no fix.
    fn new(broken: &BrokenRule<'a>) -> Option<Self> {
        let mut remaining = BTreeSet::new();
        let mut all = BTreeSet::new();
        for finding in &broken.findings {
            all.insert(identity(finding));
            // If two records of one finding differ, the one without a fix decides.
            if !is_fixable(finding) {
                remaining.insert(identity(finding));
            }
        }
        let allowed = usize::try_from(broken.rule.allow).unwrap_or(usize::MAX);
        if remaining.len() > allowed {
            return None;
        }
        let mut requirement =
            Self { needed: all.len().saturating_sub(allowed), removes: BTreeMap::new(), records: Vec::new() };
        for finding in broken.findings.iter().filter(|finding| !remaining.contains(&identity(finding))) {
            requirement.removes.entry(package_key(finding)).or_default().insert(identity(finding));
            requirement.records.push(finding);
        }
        Some(requirement)
    }

    fn removed_by(&self, chosen: &BTreeSet<PackageKey<'a>>) -> usize {
        self.removes.iter().filter(|(key, _)| chosen.contains(*key)).map(|(_, findings)| findings.len()).sum()
    }

    fn is_met_by(&self, chosen: &BTreeSet<PackageKey<'a>>) -> bool {
        self.removed_by(chosen) >= self.needed
    }

    /// The packages without which the requirement cannot be met.
    fn indispensable(&self) -> Vec<PackageKey<'a>> {
        let all: usize = self.removes.values().map(BTreeSet::len).sum();
        let without = |findings: &BTreeSet<_>| all.saturating_sub(findings.len());
        self.removes.iter().filter(|(_, findings)| without(findings) < self.needed).map(|(key, _)| *key).collect()
    }
}

/// Computes the upgrades that resolve a DENY; `None` without violations.
pub(crate) fn compute(broken: &[BrokenRule<'_>], violations: &[Violation]) -> Option<Remediation> {
    if violations.is_empty() {
        return None;
    }
    let mut unfixable = BTreeSet::new();
    for violation in violations.iter().filter(|violation| matches!(violation.breach, Breach::Scan(_))) {
        unfixable.insert(format!("{}/scan", violation.policy));
    }
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
    Some(Remediation { upgrades, unfixable: unfixable.into_iter().collect() })
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
        .flat_map(|requirement| requirement.removes.keys().copied())
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
            requirement.removes.get(key).map_or(0, BTreeSet::len).min(missing)
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
    let mut package = Package { name: key.0.into(), version: key.1.into(), ..Package::default() };
    for finding in records.filter(|finding| package_key(finding) == key) {
        fixes.insert(finding.id.to_string());
        package.manager = package.manager.take().max(finding.package.manager.clone());
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

fn is_fixable(finding: &Finding) -> bool {
    match finding.fix {
        Fix::Available | Fix::Partial => true,
        Fix::Unknown => finding.package.fixed_in.is_some(),
        Fix::None => false,
    }
}

fn package_key(finding: &Finding) -> PackageKey<'_> {
    (&finding.package.name, &finding.package.version)
}

fn identity(finding: &Finding) -> Identity<'_> {
    (&finding.id, &finding.package.name, &finding.package.version, finding.package.path.as_deref())
}
