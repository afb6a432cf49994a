//! The remediation of a DENY: the smallest set of packages to upgrade, and the violations that no upgrade resolves.

mod requirement;
mod search;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use self::{requirement::Requirement, search::minimal_upgrades};
use crate::{
    decision::{MAX_UNKNOWN_FIXES, Remediation, RuleReference, UnknownFix, Upgrade, Violation},
    finding::{Finding, Fix, Package},
    policy::Policy,
    rule::Rule,
    vulnerability_id::is_blank,
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

/// Computes the upgrades that resolve a DENY; `None` without violations.
pub(crate) fn compute(broken: &[BrokenRule<'_>], violations: &[Violation]) -> Option<Remediation> {
    if violations.is_empty() {
        return None;
    }
    let mut unfixable = BTreeSet::new();
    // No upgrade of a package resolves a violation that is not about findings.
    unfixable.extend(violations.iter().map(Violation::reference).filter(|violated| violated.rule.is_none()));
    let mut requirements = Vec::new();
    for broken in broken {
        if let Some(requirement) = Requirement::new(broken) {
            requirements.push(requirement);
        } else {
            let (policy, rule) = (broken.policy.id.clone(), Some(broken.rule.id.clone()));
            unfixable.insert(RuleReference { policy, rule });
        }
    }
    let upgrades = upgrades(&minimal_upgrades(&requirements), &requirements);
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
        package: Package { path: None, fixed_version: None, source_layer: None, ..package.clone() },
        vulnerability_ids: ids.into_iter().map(str::to_owned).collect(),
    });
    list.collect()
}

/// Describes the upgrades of the chosen packages.
fn upgrades(chosen: &BTreeSet<PackageKey<'_>>, requirements: &[Requirement<'_>]) -> Vec<Upgrade> {
    let mut by_package: BTreeMap<PackageKey<'_>, Vec<&Finding>> = BTreeMap::new();
    for finding in requirements.iter().flat_map(|requirement| &requirement.records) {
        let key = package_key(finding);
        if chosen.contains(&key) {
            by_package.entry(key).or_default().push(finding);
        }
    }
    by_package.into_iter().map(|(key, records)| upgrade(key, &records)).collect()
}

fn upgrade(key: PackageKey<'_>, records: &[&Finding]) -> Upgrade {
    let mut fixes = BTreeSet::new();
    let mut version: Option<&str> = None;
    let mut is_known = true;
    let (name, installed, manager) = key;
    let manager = manager.map(Into::into);
    let package = Package { name: name.into(), version: installed.into(), manager, ..Package::default() };
    for finding in records {
        fixes.insert(&*finding.id);
        match finding.package.fixed_version.as_deref() {
            Some(fixed_version) if version.is_none_or(|last| version::compare(last, fixed_version).is_lt()) => {
                version = Some(fixed_version);
            }
            Some(_) => {}
            None => is_known = false,
        }
    }
    let fixed_version = version.filter(|_| is_known).unwrap_or_default().to_owned();
    Upgrade { package, fixed_version, vulnerability_ids: fixes.into_iter().map(str::to_owned).collect() }
}

/// True if an upgrade of a package with a name removes the finding.
fn is_fixable(finding: &Finding) -> bool {
    let has_fix = match finding.fix {
        Fix::Available | Fix::Partial => true,
        Fix::Unknown => finding.package.fixed_version.is_some(),
        Fix::None => false,
    };
    has_fix && !is_blank(&finding.package.name)
}

fn package_key(finding: &Finding) -> PackageKey<'_> {
    (&finding.package.name, &finding.package.version, finding.package.manager.as_deref())
}

fn identity(finding: &Finding) -> Identity<'_> {
    (&finding.id, &finding.package.name, &finding.package.version, finding.package.path.as_deref())
}
