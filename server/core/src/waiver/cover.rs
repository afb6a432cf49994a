//! The cover of one finding: the waivers for its own id, and those for its related ids.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::{ApplicableWaivers, Waiver};
use crate::{
    finding::Finding,
    severity::Severity,
    vulnerability_id::{is_blank, is_cve},
};

/// The waivers that cover a finding, now or later, their terms aside.
///
/// A related id is not another name: one advisory stands for many CVEs, and a CVE can be related to another CVE. So a
/// finding is covered through related ids only if its own id is not a CVE, and only while *every* related CVE is waived.
#[derive(Debug, Default)]
pub struct Cover<'a> {
    /// The waivers for the finding's own id. One of them suffices.
    pub own: Vec<&'a Waiver>,
    /// For each related CVE, the waivers for it. One of each list is needed. Empty: no cover through related ids.
    pub related: Vec<Vec<&'a Waiver>>,
}

impl<'a> Cover<'a> {
    /// Returns the cover of a finding: the waivers whose scope and conditions it meets.
    pub fn of(finding: &Finding, waivers: &ApplicableWaivers<'a>, unrated_as: Severity) -> Self {
        if waivers.is_empty() {
            return Self::default();
        }
        let covering = |id: &str| -> Vec<&'a Waiver> {
            let covers = |waiver: &&Waiver| waiver.conditions.are_met_by(finding, unrated_as);
            waivers.for_id(id, finding).filter(covers).collect()
        };
        let own = covering(&finding.id);
        if finding.related_ids.is_empty() || is_cve(&finding.id) || is_blank(&finding.id) {
            return Self { own, related: Vec::new() };
        }
        let mut related = Vec::new();
        for id in finding.related_ids.iter().filter(|id| is_cve(id)) {
            let waivers = covering(id);
            if waivers.is_empty() {
                return Self { own, related: Vec::new() };
            }
            related.push(waivers);
        }
        Self { own, related }
    }

    /// Returns all waivers of the cover.
    pub fn waivers(&self) -> impl Iterator<Item = &'a Waiver> + '_ {
        self.own.iter().chain(self.related.iter().flatten()).copied()
    }

    /// Returns the waivers that cover the finding at an instant: one for its own id, or one for each related CVE. Of several waivers
    /// for one id it is the one with the latest end, and of the two covers the one that ends later. `None`: it is not covered.
    pub fn at(&self, now: Timestamp) -> Option<Covering<'a>> {
        let latest = |waivers: &Vec<&'a Waiver>| {
            let in_force = waivers.iter().copied().filter(|waiver| waiver.holds_at(now));
            in_force.max_by_key(|waiver| (waiver.end(), &waiver.id))
        };
        let own = latest(&self.own).and_then(|waiver| Covering::new(vec![waiver]));
        let related = self.related.iter().map(latest).collect::<Option<_>>().and_then(Covering::new);
        own.into_iter().chain(related).max_by(Covering::compare)
    }
}

/// The waivers that cover a finding together at an instant.
#[derive(Clone, Debug)]
pub struct Covering<'a> {
    /// The end of the cover, exclusive: that of the waiver that ends first.
    pub end: Timestamp,
    /// The waivers in the order of their ids, each once.
    pub waivers: Vec<&'a Waiver>,
}

impl<'a> Covering<'a> {
    /// Returns the cover by waivers that are all needed; `None` without any.
    fn new(mut waivers: Vec<&'a Waiver>) -> Option<Self> {
        waivers.sort_by_key(|waiver| &waiver.id);
        waivers.dedup_by_key(|waiver| &waiver.id);
        let end = waivers.iter().map(|waiver| waiver.end()).min()?;
        Some(Self { end, waivers })
    }

    /// Compares two covers: the greater one ends later.
    pub fn compare(&self, other: &Self) -> Ordering {
        let ids = |covering: &Self| covering.waivers.iter().map(|waiver| &waiver.id).collect::<Vec<_>>();
        self.end.cmp(&other.end).then_with(|| ids(self).cmp(&ids(other)))
    }
}
