//! Lists waivers by state, by end and by effect.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    name::WaiverId,
    waiver::{Revision, State},
};

use super::{Error, StoredWaiver, Waivers};

/// With `matches_findings`, the maximum number of waivers examined for one page, because each can cost a query.
const MAX_SCANNED: usize = 1_000;

/// Conditions on waivers; all given ones must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The states; empty: any.
    pub states: Vec<State>,
    /// The longest time until the waiver ends. Waivers that have ended never match.
    pub expires_within: Option<Duration>,
    /// `Some(false)`: only waivers in whose scope no finding was ever seen; `Some(true)`: only the others.
    pub matches_findings: Option<bool>,
}

/// A query for one page of waivers.
#[derive(Clone, Debug)]
pub struct Query {
    /// The conditions.
    pub filter: Filter,
    /// The minimum revision to read at.
    pub at_least_as_fresh: Option<u64>,
    /// The last waiver of the previous page; `None`: the first page.
    pub after: Option<WaiverId>,
    /// The most waivers to return.
    pub page_size: usize,
}

/// One page of waivers, in the order of their ids.
#[derive(Clone, Debug)]
pub struct WaiverPage {
    /// The waivers; possibly fewer than requested although a next page exists.
    pub waivers: Vec<StoredWaiver>,
    /// The waiver after which the next page begins; `None`: this page is the last.
    pub next: Option<WaiverId>,
    /// The revision that was read.
    pub revision: u64,
}

impl Filter {
    fn matches(&self, revision: &Revision, now: Timestamp) -> bool {
        let waiver = &revision.waiver;
        let within = self.expires_within.and_then(|within| SignedDuration::try_from(within).ok());
        let horizon = within.and_then(|within| now.saturating_add(within).ok());
        (self.states.is_empty() || (revision.is_understood() && self.states.contains(&waiver.state(now))))
            && horizon.is_none_or(|horizon| now < waiver.end() && waiver.end() <= horizon)
    }
}

impl Waivers {
    /// Returns one page of waivers.
    pub async fn list(&self, query: Query) -> Result<WaiverPage, Error> {
        let Query { filter, at_least_as_fresh, mut after, page_size } = query;
        let set = self.policies.snapshot_at_least(at_least_as_fresh).await?;
        let now = Timestamp::now();
        let mut waivers = Vec::new();
        let mut is_last = true;
        for (scanned, revision) in set.waivers.after(after.clone().as_ref()).enumerate() {
            if waivers.len() == page_size || (filter.matches_findings.is_some() && scanned == MAX_SCANNED) {
                is_last = false;
                break;
            }
            after = Some(revision.waiver.id.clone());
            if !filter.matches(revision, now) {
                continue;
            }
            let stored = self.with_match_state(Arc::clone(revision)).await?;
            if filter.matches_findings.is_none_or(|matches| matches == stored.matches_findings) {
                waivers.push(stored);
            }
        }
        Ok(WaiverPage { waivers, next: after.filter(|_| !is_last), revision: set.revision })
    }
}
