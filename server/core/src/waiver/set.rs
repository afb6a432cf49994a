//! Stored waivers: their revisions, and the set of all waivers at one revision of the store, indexed by vulnerability.

use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};
use jiff::Timestamp;

use super::{definition::Waiver, scope::Subject};
use crate::{finding::Finding, name::WaiverId};

/// One immutable revision of a waiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The waiver.
    pub waiver: Waiver,
    /// The store's revision that wrote it.
    pub revision: u64,
    /// The creation time of the waiver.
    pub create_time: Timestamp,
    /// The time at which this revision was written.
    pub update_time: Timestamp,
    /// The parts of the stored waiver that this server does not understand, because a newer server wrote them. If there
    /// are any, `waiver` has only the other parts, and the waiver covers nothing.
    pub not_understood: Vec<String>,
}

impl Revision {
    /// True if this server understands every part of the waiver.
    pub fn is_understood(&self) -> bool {
        self.not_understood.is_empty()
    }
}

/// Every waiver at one revision of the store. Copies share their common parts, so inserting one waiver costs about the
/// same among ten as among a million.
#[derive(Clone, Debug, Default)]
pub struct WaiverSet {
    by_id: OrdMap<WaiverId, Arc<Revision>>,
    /// The waivers for exactly one vulnerability, by its id.
    exact: HashMap<Arc<str>, OrdMap<WaiverId, Arc<Revision>>>,
    /// The ids of the waivers for several vulnerabilities.
    broad: OrdSet<WaiverId>,
}

impl PartialEq for WaiverSet {
    fn eq(&self, other: &Self) -> bool {
        // The other fields are derived from `by_id`.
        self.by_id == other.by_id
    }
}

impl FromIterator<Arc<Revision>> for WaiverSet {
    fn from_iter<T: IntoIterator<Item = Arc<Revision>>>(waivers: T) -> Self {
        let mut set = Self::default();
        waivers.into_iter().for_each(|revision| set.insert(revision));
        set
    }
}

impl WaiverSet {
    /// Returns every waiver in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Revision>> {
        self.by_id.values()
    }

    /// Returns the waivers whose ids come after `id`, in the order of the ids.
    pub fn after<'a>(&'a self, id: Option<&WaiverId>) -> impl Iterator<Item = &'a Arc<Revision>> + use<'a> {
        use std::ops::Bound;
        let from = id.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        self.by_id.range((from, Bound::Unbounded)).map(|(_, revision)| revision)
    }

    /// Returns the waiver of an id.
    pub fn get(&self, id: &WaiverId) -> Option<&Arc<Revision>> {
        self.by_id.get(id)
    }

    /// Returns the number of waivers.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True if the set has no waiver.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Inserts a waiver, or replaces the one with the same id.
    pub fn insert(&mut self, revision: Arc<Revision>) {
        let id = revision.waiver.id.clone();
        self.remove(&id);
        match revision.waiver.scope.vulnerability.exact() {
            // A waiver that is not understood covers nothing, so it is not indexed.
            _ if !revision.is_understood() => {}
            Some(vulnerability) => {
                self.exact.entry(Arc::from(vulnerability)).or_default().insert(id.clone(), Arc::clone(&revision));
            }
            None => {
                self.broad.insert(id.clone());
            }
        }
        self.by_id.insert(id, revision);
    }

    /// Removes a waiver, if present.
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

    /// Returns the waivers that can cover findings of the subject, now or later.
    pub fn applicable_to<'a>(&'a self, subject: Subject<'a>, now: Timestamp) -> ApplicableWaivers<'a> {
        let broad = self.broad.iter().filter_map(|id| self.by_id.get(id)).map(|revision| &revision.waiver);
        ApplicableWaivers {
            set: self,
            subject,
            now,
            broad: broad.filter(|waiver| is_relevant(waiver, subject, now)).collect(),
        }
    }
}

fn is_relevant(waiver: &Waiver, subject: Subject<'_>, now: Timestamp) -> bool {
    now < waiver.end() && waiver.scope.includes(subject)
}

/// The waivers that apply to one subject.
#[derive(Debug)]
pub struct ApplicableWaivers<'a> {
    set: &'a WaiverSet,
    subject: Subject<'a>,
    now: Timestamp,
    broad: Vec<&'a Waiver>,
}

impl<'a> ApplicableWaivers<'a> {
    /// True if there is no waiver at all.
    pub fn is_empty(&self) -> bool {
        self.broad.is_empty() && self.set.exact.is_empty()
    }

    /// Returns the revision of the store that wrote the waiver; 0 if the set lacks it.
    pub fn revision(&self, id: &WaiverId) -> u64 {
        self.set.get(id).map_or(0, |revision| revision.revision)
    }

    /// Returns the waivers whose scope names this id and the package of the finding, and whose end is still to come.
    /// Waivers for exactly this id come first; each group is in the order of their ids.
    pub fn for_id<'b>(&'b self, id: &'b str, finding: &'b Finding) -> impl Iterator<Item = &'a Waiver> + 'b {
        let exact = self.set.exact.get(id).into_iter().flat_map(OrdMap::values);
        let exact = exact.map(|revision| &revision.waiver).filter(|waiver| is_relevant(waiver, self.subject, self.now));
        exact.chain(self.broad.iter().copied()).filter(move |waiver| waiver.scope.names(id, finding))
    }
}
