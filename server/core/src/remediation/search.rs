//! The search for the fewest packages whose upgrades meet every requirement.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{
    PackageKey,
    requirement::{Progress, Requirement},
};

/// The maximum number of candidates for the exhaustive search. Beyond it, a greedy choice may be larger than the
/// minimum.
const MAX_EXHAUSTIVE: usize = 12;

/// Returns the fewest packages whose upgrades meet every requirement.
///
/// An image can have tens of thousands of findings. The time grows with their number, not with its square.
pub(super) fn minimal_upgrades<'a>(requirements: &[Requirement<'a>]) -> BTreeSet<PackageKey<'a>> {
    let mut search = Search::new(requirements);
    // A rule that allows no finding leaves no choice, and most rules allow none.
    for key in requirements.iter().flat_map(Requirement::indispensable) {
        search.choose(key);
    }
    let candidates: BTreeSet<PackageKey<'a>> =
        search.unmet().flat_map(Progress::candidates).filter(|key| !search.chosen.contains(key)).collect();
    if candidates.len() <= MAX_EXHAUSTIVE {
        search.try_all(&candidates);
    } else {
        search.choose_greedily(candidates);
        search.drop_superfluous();
    }
    search.chosen
}

/// The packages chosen so far, and their effect on each requirement.
struct Search<'r, 'a> {
    chosen: BTreeSet<PackageKey<'a>>,
    progress: Vec<Progress<'r, 'a>>,
}

impl<'r, 'a> Search<'r, 'a> {
    fn new(requirements: &'r [Requirement<'a>]) -> Self {
        Self { chosen: BTreeSet::new(), progress: requirements.iter().map(Progress::new).collect() }
    }

    fn unmet(&self) -> impl Iterator<Item = &Progress<'r, 'a>> {
        self.progress.iter().filter(|progress| progress.missing() > 0)
    }

    fn choose(&mut self, key: PackageKey<'a>) {
        if self.chosen.insert(key) {
            self.progress.iter_mut().for_each(|progress| progress.choose(&key));
        }
    }

    /// Drops a package if every requirement stays met without it.
    fn drop_if_superfluous(&mut self, key: &PackageKey<'a>) {
        self.progress.iter_mut().for_each(|progress| progress.take_back(key));
        if self.unmet().next().is_none() {
            self.chosen.remove(key);
        } else {
            self.progress.iter_mut().for_each(|progress| progress.choose(key));
        }
    }

    /// Drops each package whose upgrade is not needed beside the others: a greedy choice may contain some.
    fn drop_superfluous(&mut self) {
        for key in self.chosen.clone() {
            self.drop_if_superfluous(&key);
        }
    }

    /// Tries every subset of the candidates, small ones first, and chooses the first that meets every requirement.
    fn try_all(&mut self, candidates: &BTreeSet<PackageKey<'a>>) {
        let indices: BTreeMap<PackageKey<'a>, u32> = candidates.iter().copied().zip(0..).collect();
        let unmet: Vec<(usize, BTreeMap<u32, usize>)> =
            self.unmet().map(|progress| (progress.missing(), progress.open_groups(&indices))).collect();
        let meets_all = |subset: &u32| {
            unmet.iter().all(|(missing, groups)| {
                let removed = groups.iter().filter(|(group, _)| *group & !subset == 0).map(|(_, findings)| findings);
                removed.sum::<usize>() >= *missing
            })
        };
        let mut subsets: Vec<u32> = (0..1 << candidates.len()).collect();
        subsets.sort_by_key(|subset| subset.count_ones());
        let best = subsets.into_iter().find(meets_all).unwrap_or_default();
        for (key, index) in indices {
            if best >> index & 1 == 1 {
                self.choose(key);
            }
        }
    }

    /// Chooses again and again the candidate whose upgrade removes most of the findings that still have to go; of equals,
    /// the first.
    fn choose_greedily(&mut self, candidates: BTreeSet<PackageKey<'a>>) {
        let mut queue: BinaryHeap<_> = candidates.into_iter().map(|key| (self.gain(&key), Reverse(key))).collect();
        while let Some((gain, Reverse(key))) = queue.pop() {
            // A gain never grows, so the first candidate whose gain is up to date is the best one.
            let current = self.gain(&key);
            if current < gain {
                queue.push((current, Reverse(key)));
            } else if gain == 0 {
                return;
            } else {
                self.choose(key);
            }
        }
    }

    fn gain(&self, key: &PackageKey<'a>) -> usize {
        self.progress.iter().map(|progress| progress.gain(key)).sum()
    }
}
