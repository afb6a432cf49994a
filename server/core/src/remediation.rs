//! How to turn a DENY: the fewest packages to upgrade, and the violations that no upgrade can turn.

mod version;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decision::{Breach, Remediation, Upgrade, Violation},
    finding::{Finding, Fix, Package},
    policy::Policy,
    rule::Rule,
};

/// A rule that denies, with the records that count under it on one manifest.
#[derive(Clone, Debug)]
pub(crate) struct Broken<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) rule: &'a Rule,
    pub(crate) findings: Vec<&'a Finding>,
}

/// What is upgraded as one: a package of one name and version, wherever it lies.
type Key<'a> = (&'a str, &'a str);
type Identity<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

/// How far upgrades can turn one violation.
struct Turn<'a> {
    /// How many findings have to go.
    needed: usize,
    /// What an upgrade of each package removes.
    removes: BTreeMap<Key<'a>, BTreeSet<Identity<'a>>>,
    /// The records that go.
    records: Vec<&'a Finding>,
}

impl<'a> Turn<'a> {
    /// `None` where too many findings cannot be removed.
    fn of(broken: &Broken<'a>) -> Option<Self> {
        let mut stay = BTreeSet::new();
        let mut all = BTreeSet::new();
        for finding in &broken.findings {
            all.insert(identity(finding));
            // Of two records that differ, the one without a fix is believed.
            if !is_fixable(finding) {
                stay.insert(identity(finding));
            }
        }
        let allowed = usize::try_from(broken.rule.allow).unwrap_or(usize::MAX);
        if stay.len() > allowed {
            return None;
        }
        let mut turn =
            Self { needed: all.len().saturating_sub(allowed), removes: BTreeMap::new(), records: Vec::new() };
        for finding in broken.findings.iter().filter(|finding| !stay.contains(&identity(finding))) {
            turn.removes.entry(key(finding)).or_default().insert(identity(finding));
            turn.records.push(finding);
        }
        Some(turn)
    }

    fn removed_by(&self, chosen: &BTreeSet<Key<'a>>) -> usize {
        self.removes.iter().filter(|(key, _)| chosen.contains(*key)).map(|(_, findings)| findings.len()).sum()
    }

    fn is_turned_by(&self, chosen: &BTreeSet<Key<'a>>) -> bool {
        self.removed_by(chosen) >= self.needed
    }
}

/// What turns a DENY; `None` where there is nothing to turn.
pub(crate) fn of(broken: &[Broken<'_>], violations: &[Violation]) -> Option<Remediation> {
    if violations.is_empty() {
        return None;
    }
    let mut unfixable = BTreeSet::new();
    for violation in violations.iter().filter(|violation| matches!(violation.breach, Breach::Scan(_))) {
        unfixable.insert(format!("{}/scan", violation.policy));
    }
    let mut turns = Vec::new();
    for broken in broken {
        match Turn::of(broken) {
            Some(turn) => turns.push(turn),
            None => {
                unfixable.insert(format!("{}/{}", broken.policy.id, broken.rule.id));
            }
        }
    }
    let upgrades = smallest(&turns).into_iter().map(|key| upgrade(key, &turns)).collect();
    Some(Remediation { upgrades, unfixable: unfixable.into_iter().collect() })
}

/// Beyond so many packages to choose among, the choice is a good one and perhaps not the best.
const MOST_CHOICES: u32 = 12;

/// The fewest packages that turn every violation.
fn smallest<'a>(turns: &[Turn<'a>]) -> BTreeSet<Key<'a>> {
    // A rule that allows nothing leaves no choice, and most rules allow nothing.
    let mut chosen: BTreeSet<Key<'a>> = turns.iter().flat_map(indispensable).collect();
    let open = |chosen: &BTreeSet<Key<'a>>| -> Vec<usize> {
        let open = turns.iter().enumerate().filter(|(_, turn)| !turn.is_turned_by(chosen));
        open.map(|(index, _)| index).collect()
    };
    let left = open(&chosen);
    let choices: BTreeSet<Key<'a>> = left
        .iter()
        .filter_map(|index| turns.get(*index))
        .flat_map(|turn| turn.removes.keys().copied())
        .filter(|key| !chosen.contains(key))
        .collect();
    if left.is_empty() {
        return chosen;
    }
    if u32::try_from(choices.len()).is_ok_and(|count| count <= MOST_CHOICES) {
        return fewest(turns, &chosen, &choices).unwrap_or(chosen);
    }
    while let Some(best) = best(turns, &open(&chosen), &chosen, &choices) {
        chosen.insert(best);
    }
    chosen
}

/// The packages without which a violation cannot be turned.
fn indispensable<'a>(turn: &Turn<'a>) -> Vec<Key<'a>> {
    let all: usize = turn.removes.values().map(BTreeSet::len).sum();
    let left_without = |findings: &BTreeSet<_>| all.saturating_sub(findings.len());
    turn.removes.iter().filter(|(_, findings)| left_without(findings) < turn.needed).map(|(key, _)| *key).collect()
}

/// Tries every choice, the small ones first.
fn fewest<'a>(
    turns: &[Turn<'a>],
    chosen: &BTreeSet<Key<'a>>,
    choices: &BTreeSet<Key<'a>>,
) -> Option<BTreeSet<Key<'a>>> {
    let mut subsets: Vec<u32> = (0..1_u32 << choices.len()).collect();
    subsets.sort_by_key(|subset| subset.count_ones());
    subsets.into_iter().find_map(|subset| {
        let more = choices.iter().enumerate().filter(|(index, _)| subset >> index & 1 == 1).map(|(_, key)| *key);
        let tried: BTreeSet<Key<'a>> = chosen.iter().copied().chain(more).collect();
        turns.iter().all(|turn| turn.is_turned_by(&tried)).then_some(tried)
    })
}

/// The package whose upgrade removes most of what still has to go.
fn best<'a>(
    turns: &[Turn<'a>],
    open: &[usize],
    chosen: &BTreeSet<Key<'a>>,
    choices: &BTreeSet<Key<'a>>,
) -> Option<Key<'a>> {
    let helps = |key: &Key<'a>| -> usize {
        let turns = open.iter().filter_map(|index| turns.get(*index));
        turns
            .map(|turn| {
                let lacking = turn.needed.saturating_sub(turn.removed_by(chosen));
                turn.removes.get(key).map_or(0, BTreeSet::len).min(lacking)
            })
            .sum()
    };
    let candidates = choices.iter().filter(|key| !chosen.contains(*key)).map(|key| (helps(key), *key));
    // Of equals the first.
    candidates.filter(|(helps, _)| *helps > 0).max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1))).map(|(_, key)| key)
}

fn upgrade(key: Key<'_>, turns: &[Turn<'_>]) -> Upgrade {
    let records = turns.iter().flat_map(|turn| &turn.records).filter(|finding| self::key(finding) == key);
    let mut fixes = BTreeSet::new();
    let mut version: Option<&str> = None;
    let mut is_known = true;
    let mut package = Package { name: key.0.into(), version: key.1.into(), ..Package::default() };
    for finding in records {
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

fn key(finding: &Finding) -> Key<'_> {
    (&finding.package.name, &finding.package.version)
}

fn identity(finding: &Finding) -> Identity<'_> {
    (&finding.id, &finding.package.name, &finding.package.version, finding.package.path.as_deref())
}
