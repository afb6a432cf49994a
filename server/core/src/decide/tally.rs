//! One rule over the findings of one manifest: how many count now, and when that will change.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::screen::{Glance, Screen};
use crate::{
    decision::ManifestInput,
    finding::Finding,
    policy::Policy,
    rule::Rule,
    waiver::{ApplicableWaivers, Waiver},
};

/// Why something changes at an instant known now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause<'a> {
    /// A grace period of a rule begins for a finding.
    GraceBegins { policy: &'a Policy, rule: &'a Rule, finding: &'a Finding },
    /// It ends.
    GraceEnds { policy: &'a Policy, rule: &'a Rule, finding: &'a Finding },
    /// A finding begins to match a rule, by its age or the date.
    MatchBegins { policy: &'a Policy, rule: &'a Rule, finding: &'a Finding },
    /// It ceases to.
    MatchEnds { policy: &'a Policy, rule: &'a Rule, finding: &'a Finding },
    /// A waiver begins.
    WaiverBegins(&'a Waiver),
    /// It ends.
    WaiverEnds(&'a Waiver),
    /// A policy becomes effective.
    Effective(&'a Policy),
    /// A scan becomes too old for a policy.
    TooOld(&'a Policy, &'a ManifestInput),
    /// A scan proves something else from then on.
    Evidence(&'a ManifestInput),
}

/// One finding more or less that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Toggle<'a> {
    pub(super) at: Timestamp,
    pub(super) counts: bool,
    pub(super) cause: Cause<'a>,
}

/// What a rule makes of the findings of a manifest.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    /// How many findings count now: records of one finding are one.
    pub(super) matched: u32,
    /// The records that count now, worst first.
    pub(super) counting: Vec<&'a Finding>,
    /// Those that would, were they not in their grace period.
    pub(super) in_grace: Vec<&'a Finding>,
    /// Those that would, were they not waived: where they are in the scan's list, with the waiver that holds longest.
    pub(super) waived: Vec<(usize, &'a Waiver)>,
    /// What will count or no longer count, in order.
    pub(super) toggles: Vec<Toggle<'a>>,
    /// The first instant at which anything of this may differ.
    pub(super) unchanged_until: Option<Timestamp>,
}

/// A record that matches the rule, now or later.
struct Record<'a> {
    finding: &'a Finding,
    /// Whether it matches now.
    matches: bool,
    /// When that turns, and into what.
    turns: Vec<(Timestamp, bool)>,
    /// When it does not count, though it matches.
    grace: Option<(Timestamp, Timestamp)>,
    /// When it is waived: stretches in order that do not touch, each with the waivers that begin and end it.
    waived: Vec<Stretch<'a>>,
}

#[derive(Clone, Copy)]
struct Stretch<'a> {
    from: Timestamp,
    until: Timestamp,
    begins: &'a Waiver,
    ends: &'a Waiver,
}

impl<'a> Record<'a> {
    fn is_in_grace(&self, at: Timestamp) -> bool {
        self.grace.is_some_and(|(from, until)| from <= at && at < until)
    }

    fn is_waived(&self, at: Timestamp) -> bool {
        let next = self.waived.partition_point(|stretch| stretch.until <= at);
        self.waived.get(next).is_some_and(|stretch| stretch.from <= at)
    }

    fn matches(&self, at: Timestamp) -> bool {
        self.turns.iter().rev().find(|(from, _)| *from <= at).map_or(self.matches, |(_, matches)| *matches)
    }

    fn counts(&self, at: Timestamp) -> bool {
        self.matches(at) && !self.is_in_grace(at) && !self.is_waived(at)
    }

    fn boundaries(&self, policy: &'a Policy, rule: &'a Rule) -> impl Iterator<Item = (Timestamp, Cause<'a>)> {
        let finding = self.finding;
        let grace = self.grace.into_iter().flat_map(move |(from, until)| {
            [(from, Cause::GraceBegins { policy, rule, finding }), (until, Cause::GraceEnds { policy, rule, finding })]
        });
        let turns = self.turns.iter().map(move |(at, matches)| {
            let cause = if *matches {
                Cause::MatchBegins { policy, rule, finding }
            } else {
                Cause::MatchEnds { policy, rule, finding }
            };
            (*at, cause)
        });
        let waived = self.waived.iter().flat_map(|stretch| {
            [(stretch.from, Cause::WaiverBegins(stretch.begins)), (stretch.until, Cause::WaiverEnds(stretch.ends))]
        });
        turns.chain(grace).chain(waived)
    }
}

/// Counts the findings of a manifest, of each of which there is a glance, under a rule.
pub(super) fn tally<'a>(
    policy: &'a Policy,
    rule: &'a Rule,
    examined: &'a ManifestInput,
    glances: &[Glance],
    waivers: &ApplicableWaivers<'a>,
    now: Timestamp,
) -> Tally<'a> {
    let mut tally = Tally {
        matched: 0,
        counting: Vec::new(),
        in_grace: Vec::new(),
        waived: Vec::new(),
        toggles: Vec::new(),
        unchanged_until: None,
    };
    let mut records = Vec::new();
    let mut is_timed = false;
    let screen = Screen::of(&rule.when, policy);
    for (at, (finding, glance)) in examined.scan.findings().iter().zip(glances).enumerate() {
        if screen.passes_by(glance) || !policy.counts(finding) {
            continue;
        }
        let matches = rule.when.matches(finding, policy.unrated_as, now);
        let turns = rule.when.changes(finding, policy.unrated_as, now);
        if !matches && turns.is_empty() {
            continue;
        }
        let grace = rule.grace.and_then(|grace| grace.window(finding, &examined.first_seen));
        let covering: Vec<&Waiver> = if rule.waivable && !waivers.is_empty() {
            waivers
                .for_finding(finding)
                .filter(|waiver| waiver.conditions.are_met_by(finding, policy.unrated_as))
                .collect()
        } else {
            Vec::new()
        };
        let lasting =
            covering.iter().filter(|waiver| waiver.holds_at(now)).max_by_key(|waiver| (waiver.end(), &waiver.id));
        let boundaries = covering.iter().flat_map(|waiver| [waiver.start_time, waiver.end()]);
        let boundaries = boundaries.chain(turns.iter().map(|(at, _)| *at));
        let boundaries = boundaries.chain(grace.into_iter().flat_map(|(from, until)| [from, until]));
        tally.unchanged_until = boundaries.filter(|at| *at > now).chain(tally.unchanged_until).min();
        let record = Record { finding, matches, turns, grace, waived: united(covering.clone()) };
        match lasting {
            _ if !matches => {}
            Some(waiver) => tally.waived.push((at, *waiver)),
            None if record.is_in_grace(now) => tally.in_grace.push(finding),
            None => tally.counting.push(finding),
        }
        is_timed |= !record.turns.is_empty() || record.grace.is_some() || !record.waived.is_empty();
        records.push(record);
    }
    // As long as there are too few records to break the rule, nobody needs to know which of them are about one finding.
    let records_counting = u32::try_from(tally.counting.len()).unwrap_or(u32::MAX);
    tally.matched = if is_timed || records_counting > rule.allow {
        distinct(tally.counting.iter().copied())
    } else {
        records_counting
    };
    if is_timed {
        tally.toggles = toggles(policy, rule, &records, now);
    }
    tally
}

/// How many findings these records are about.
pub(super) fn distinct<'a>(records: impl Iterator<Item = &'a Finding>) -> u32 {
    let identities: HashSet<_> = records.map(Finding::identity).collect();
    u32::try_from(identities.len()).unwrap_or(u32::MAX)
}

/// Stretches of time in which any of the waivers holds.
fn united(mut waivers: Vec<&Waiver>) -> Vec<Stretch<'_>> {
    waivers.retain(|waiver| waiver.start_time < waiver.end());
    waivers.sort_by_key(|waiver| (waiver.start_time, waiver.end(), &waiver.id));
    let mut stretches: Vec<Stretch<'_>> = Vec::with_capacity(waivers.len());
    for waiver in waivers {
        match stretches.last_mut() {
            Some(last) if waiver.start_time <= last.until => {
                if waiver.end() > last.until {
                    (last.until, last.ends) = (waiver.end(), waiver);
                }
            }
            Some(_) | None => {
                stretches.push(Stretch { from: waiver.start_time, until: waiver.end(), begins: waiver, ends: waiver });
            }
        }
    }
    stretches
}

/// When findings begin and cease to count after `now`, in order. A finding counts while any record of it does.
fn toggles<'a>(policy: &'a Policy, rule: &'a Rule, records: &[Record<'a>], now: Timestamp) -> Vec<Toggle<'a>> {
    let mut places = HashMap::new();
    let mut findings: Vec<Vec<&Record<'a>>> = Vec::new();
    for record in records {
        let place = *places.entry(record.finding.identity()).or_insert(findings.len());
        if place == findings.len() {
            findings.push(Vec::new());
        }
        if let Some(finding) = findings.get_mut(place) {
            finding.push(record);
        }
    }
    let mut toggles = Vec::new();
    for finding in findings {
        let counts = |at| finding.iter().any(|record| record.counts(at));
        let boundaries = finding.iter().flat_map(|record| record.boundaries(policy, rule));
        let mut boundaries: Vec<_> = boundaries.filter(|(at, _)| *at > now).collect();
        // Stable: of two at one instant the first record's comes first, whatever the order of the input was.
        boundaries.sort_by_key(|(at, _)| *at);
        let mut counted = counts(now);
        for (at, cause) in boundaries {
            let counts = counts(at);
            if counts != counted {
                counted = counts;
                toggles.push(Toggle { at, counts, cause });
            }
        }
    }
    toggles.sort_by_key(|toggle| toggle.at);
    toggles
}

impl Tally<'_> {
    /// The first instant from `since` on at which more than `allowed` findings count.
    pub(super) fn broken_from(&self, allowed: u32, since: Timestamp) -> Option<Timestamp> {
        let mut count = i64::from(self.matched);
        let mut from = since;
        for toggle in &self.toggles {
            if toggle.at > from && count > i64::from(allowed) {
                return Some(from);
            }
            count += if toggle.counts { 1 } else { -1 };
            from = from.max(toggle.at);
        }
        (count > i64::from(allowed)).then_some(from)
    }
}
