//! A record of a finding that matches a rule, with the periods in which it counts.

use jiff::Timestamp;

use crate::{
    cause::Cause,
    finding::Finding,
    policy::Policy,
    rule::Rule,
    waiver::{Cover, Waiver},
};

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

/// A period in which waivers cover a record, with the waivers that begin and end it.
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

/// Returns the periods in which a finding is covered: by a waiver for its own id, or by waivers for every related CVE.
pub(super) fn covered_intervals<'a>(cover: &Cover<'a>) -> Vec<Interval<'a>> {
    let mut intervals = any_in_force(&cover.own);
    if let Some((first, others)) = cover.related.split_first() {
        let through_related = others.iter().fold(any_in_force(first), |all, one| intersect(&all, &any_in_force(one)));
        intervals.extend(through_related);
    }
    merge(intervals)
}

/// Returns the periods in which at least one of the waivers is in force.
fn any_in_force<'a>(waivers: &[&'a Waiver]) -> Vec<Interval<'a>> {
    let in_force = waivers.iter().filter(|waiver| waiver.start_time < waiver.end());
    merge(
        in_force
            .map(|waiver| Interval { from: waiver.start_time, until: waiver.end(), begins: waiver, ends: waiver })
            .collect(),
    )
}

/// Joins periods that overlap or meet; returns them sorted and disjoint.
fn merge(mut intervals: Vec<Interval<'_>>) -> Vec<Interval<'_>> {
    intervals.sort_by_key(|interval| (interval.from, interval.until, &interval.begins.id, &interval.ends.id));
    let mut merged: Vec<Interval<'_>> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        match merged.last_mut() {
            Some(last) if interval.from <= last.until => {
                if interval.until > last.until {
                    (last.until, last.ends) = (interval.until, interval.ends);
                }
            }
            Some(_) | None => merged.push(interval),
        }
    }
    merged
}

/// Returns the periods that both lists have in common. Both are sorted and disjoint.
fn intersect<'a>(left: &[Interval<'a>], right: &[Interval<'a>]) -> Vec<Interval<'a>> {
    let mut common = Vec::new();
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        let later = if other.from > one.from { other } else { one };
        let sooner = if other.until < one.until { other } else { one };
        if later.from < sooner.until {
            common.push(Interval { from: later.from, until: sooner.until, begins: later.begins, ends: sooner.ends });
        }
        if other.until < one.until {
            right.next();
        } else {
            left.next();
        }
    }
    common
}
