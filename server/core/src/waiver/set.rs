//! Waivers as they are kept: revisions, and all of them at one revision of the store, found by what they name.

use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};
use jiff::Timestamp;

use super::{Subject, Waiver};
use crate::{finding::Finding, name::WaiverId};

/// One immutable revision of a waiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its meaning.
    pub waiver: Waiver,
    /// Store revision that wrote it.
    pub revision: u64,
    /// When the waiver was created.
    pub create_time: Timestamp,
    /// When this revision was written.
    pub update_time: Timestamp,
}

/// Every waiver at one revision of the store. Copies share what they have in common, so that one more waiver among a million
/// costs what it costs among ten.
#[derive(Clone, Debug, Default)]
pub struct WaiverSet {
    by_id: OrdMap<WaiverId, Arc<Revision>>,
    /// Those that name one vulnerability, by its id.
    exact: HashMap<Arc<str>, OrdMap<WaiverId, Arc<Revision>>>,
    /// Those that name several.
    broad: OrdSet<WaiverId>,
}

impl PartialEq for WaiverSet {
    fn eq(&self, other: &Self) -> bool {
        // The rest is derived from it.
        self.by_id == other.by_id
    }
}

impl FromIterator<Arc<Revision>> for WaiverSet {
    fn from_iter<T: IntoIterator<Item = Arc<Revision>>>(waivers: T) -> Self {
        let mut set = Self::default();
        waivers.into_iter().for_each(|revised| set.insert(revised));
        set
    }
}

impl WaiverSet {
    /// Every waiver, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Revision>> {
        self.by_id.values()
    }

    /// Waivers whose id comes after the one given, by id.
    pub fn after<'a>(&'a self, id: Option<&WaiverId>) -> impl Iterator<Item = &'a Arc<Revision>> + use<'a> {
        use std::ops::Bound;
        let from = id.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        self.by_id.range((from, Bound::Unbounded)).map(|(_, revised)| revised)
    }

    /// The waiver of that id.
    pub fn get(&self, id: &WaiverId) -> Option<&Arc<Revision>> {
        self.by_id.get(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Puts a waiver in, in place of the one of its id.
    pub fn insert(&mut self, revised: Arc<Revision>) {
        let id = revised.waiver.id.clone();
        self.remove(&id);
        match revised.waiver.scope.vulnerability.exact() {
            Some(vulnerability) => {
                self.exact.entry(Arc::from(vulnerability)).or_default().insert(id.clone(), Arc::clone(&revised));
            }
            None => {
                self.broad.insert(id.clone());
            }
        }
        self.by_id.insert(id, revised);
    }

    /// Takes a waiver out.
    pub fn remove(&mut self, id: &WaiverId) {
        let Some(old) = self.by_id.remove(id) else { return };
        self.broad.remove(id);
        if let Some(vulnerability) = old.waiver.scope.vulnerability.exact()
            && let Some(named) = self.exact.get_mut(vulnerability)
        {
            named.remove(id);
            if named.is_empty() {
                self.exact.remove(vulnerability);
            }
        }
    }

    /// The waivers that can cover something at that place, now or later.
    pub fn applicable_to<'a>(&'a self, place: Subject<'a>, now: Timestamp) -> ApplicableWaivers<'a> {
        let broad = self.broad.iter().filter_map(|id| self.by_id.get(id)).map(|revised| &revised.waiver);
        ApplicableWaivers { set: self, place, now, broad: broad.filter(|waiver| matters(waiver, place, now)).collect() }
    }
}

fn matters(waiver: &Waiver, place: Subject<'_>, now: Timestamp) -> bool {
    now < waiver.end() && waiver.scope.includes(place)
}

/// The waivers for one place.
#[derive(Debug)]
pub struct ApplicableWaivers<'a> {
    set: &'a WaiverSet,
    place: Subject<'a>,
    now: Timestamp,
    broad: Vec<&'a Waiver>,
}

impl<'a> ApplicableWaivers<'a> {
    /// Whether there is no waiver at all.
    pub fn is_empty(&self) -> bool {
        self.broad.is_empty() && self.set.exact.is_empty()
    }

    /// Those whose scope has the finding and that have not ended, by id: the ones that name its vulnerability first.
    pub fn for_finding<'b>(&'b self, finding: &'b Finding) -> impl Iterator<Item = &'a Waiver> + 'b {
        let exact = self.set.exact.get(&finding.id).into_iter().flat_map(OrdMap::values);
        let exact = exact.map(|revised| &revised.waiver).filter(|waiver| matters(waiver, self.place, self.now));
        exact.chain(self.broad.iter().copied()).filter(|waiver| waiver.scope.matches(finding))
    }
}
