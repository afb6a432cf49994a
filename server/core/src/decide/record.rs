//! A record of a finding that matches a rule, with the periods in which it counts.

use jiff::Timestamp;

use crate::{cause::Cause, finding::Finding, policy::Policy, rule::Rule, waiver::Waiver};

/// A record that matches the rule, now or later.
pub(super) struct Record<'a> {
    pub(super) finding: &'a Finding,
    /// True if the record matches now.
    pub(super) matches: bool,
    /// The later instants at which `matches` changes, each with its new value, in order.
    pub(super) transitions: Vec<(Timestamp, bool)>,
    /// The period in which the record does not count although it matches.
    pub(super) grace: Option<(Timestamp, Timestamp)>,
    /// The periods in which the record is waived, sorted and disjoint.
    pub(super) waived: Vec<Interval<'a>>,
}

/// A period in which at least one waiver is in force, with the waivers that begin and end it.
#[derive(Clone, Copy)]
pub(super) struct Interval<'a> {
    from: Timestamp,
    until: Timestamp,
    begins: &'a Waiver,
    ends: &'a Waiver,
}

impl<'a> Record<'a> {
    pub(super) fn is_in_grace(&self, at: Timestamp) -> bool {
        self.grace.is_some_and(|(from, until)| from <= at && at < until)
    }

    /// True if time alone can change how the record counts.
    pub(super) fn can_change_over_time(&self) -> bool {
        !self.transitions.is_empty() || self.grace.is_some() || !self.waived.is_empty()
    }

    pub(super) fn counts(&self, at: Timestamp) -> bool {
        self.matches(at) && !self.is_in_grace(at) && !self.is_waived(at)
    }

    fn is_waived(&self, at: Timestamp) -> bool {
        let next = self.waived.partition_point(|interval| interval.until <= at);
        self.waived.get(next).is_some_and(|interval| interval.from <= at)
    }

    fn matches(&self, at: Timestamp) -> bool {
        self.transitions.iter().rev().find(|(from, _)| *from <= at).map_or(self.matches, |(_, matches)| *matches)
    }

    /// The instants at which the record may begin or cease to count.
    pub(super) fn boundaries(
        &self,
        policy: &'a Policy,
        rule: &'a Rule,
    ) -> impl Iterator<Item = (Timestamp, Cause<'a>)> {
        let finding = self.finding;
        let grace = self.grace.into_iter().flat_map(move |(from, until)| {
            [(from, Cause::GraceBegins { policy, rule, finding }), (until, Cause::GraceEnds { policy, rule, finding })]
        });
        let transitions = self.transitions.iter().map(move |(at, matches)| {
            let cause = if *matches {
                Cause::MatchBegins { policy, rule, finding }
            } else {
                Cause::MatchEnds { policy, rule, finding }
            };
            (*at, cause)
        });
        let waived = self.waived.iter().flat_map(|interval| {
            [(interval.from, Cause::WaiverBegins(interval.begins)), (interval.until, Cause::WaiverEnds(interval.ends))]
        });
        transitions.chain(grace).chain(waived)
    }
}

/// Returns the periods in which at least one of the waivers is in force.
pub(super) fn merge_intervals(mut waivers: Vec<&Waiver>) -> Vec<Interval<'_>> {
    waivers.retain(|waiver| waiver.start_time < waiver.end());
    waivers.sort_by_key(|waiver| (waiver.start_time, waiver.end(), &waiver.id));
    let mut intervals: Vec<Interval<'_>> = Vec::with_capacity(waivers.len());
    for waiver in waivers {
        match intervals.last_mut() {
            Some(last) if waiver.start_time <= last.until => {
                if waiver.end() > last.until {
                    (last.until, last.ends) = (waiver.end(), waiver);
                }
            }
            Some(_) | None => {
                intervals.push(Interval { from: waiver.start_time, until: waiver.end(), begins: waiver, ends: waiver });
            }
        }
    }
    intervals
}
