//! The cover of one finding: the waivers for its own id, and those for its related ids.

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

    /// Returns the waiver that ends the cover of an instant: of several waivers for one id the one with the latest end, and
    /// of the related CVEs the one whose waiver ends first. `None`: the finding is not covered.
    pub fn decisive_at(&self, now: Timestamp) -> Option<&'a Waiver> {
        let latest = |waivers: &[&'a Waiver]| {
            waivers
                .iter()
                .copied()
                .filter(|waiver| waiver.holds_at(now))
                .max_by_key(|waiver| (waiver.end(), &waiver.id))
        };
        let needed = self.related.iter().map(|waivers| latest(waivers));
        let through_related = needed.reduce(|first, next| {
            let (first, next) = first.zip(next)?;
            Some(if (next.end(), &next.id) < (first.end(), &first.id) { next } else { first })
        });
        let candidates = [latest(&self.own), through_related.flatten()];
        candidates.into_iter().flatten().max_by_key(|waiver| (waiver.end(), &waiver.id))
    }
}
