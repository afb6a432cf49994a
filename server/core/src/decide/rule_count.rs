//! The number of findings of one manifest that count under one rule, now and over time.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::{
    prefilter::{FindingSummary, Prefilter},
    record::{Record, covered_intervals},
};
use crate::{
    cause::Cause,
    decision::ManifestInput,
    finding::Finding,
    policy::Policy,
    rule::Rule,
    waiver::{ApplicableWaivers, Cover, Covering},
};

/// A change of the count by one finding.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountChange<'a> {
    pub(super) at: Timestamp,
    /// True if the finding counts from then on, false if it no longer counts.
    pub(super) begins_to_count: bool,
    pub(super) cause: Cause<'a>,
}

/// The findings of a manifest as a rule counts them.
#[derive(Debug, Default)]
pub(super) struct RuleCount<'a> {
    /// The number of findings that count now; several records of one finding count once.
    pub(super) total: u32,
    /// The records that count now, worst first.
    pub(super) counted_records: Vec<&'a Finding>,
    /// The records that would count if they were not in their grace period.
    pub(super) in_grace: Vec<&'a Finding>,
    /// The records that waivers exclude: the index in the scan's list and the waivers that cover it.
    pub(super) waived: Vec<(usize, Covering<'a>)>,
    /// The changes to come, in order.
    pub(super) changes: Vec<CountChange<'a>>,
    /// The first instant at which any of these fields may differ.
    pub(super) unchanged_until: Option<Timestamp>,
}

impl RuleCount<'_> {
    /// Returns the first instant from `since` on at which more than `allowed` findings count.
    pub(super) fn breach_start(&self, allowed: u32, since: Timestamp) -> Option<Timestamp> {
        let mut total = i64::from(self.total);
        let mut from = since;
        for change in &self.changes {
            if change.at > from && total > i64::from(allowed) {
                return Some(from);
            }
            total += if change.begins_to_count { 1 } else { -1 };
            from = from.max(change.at);
        }
        (total > i64::from(allowed)).then_some(from)
    }
}

/// Counts the findings of a manifest under a rule. `summaries` has one summary for each finding.
pub(super) fn count_findings<'a>(
    policy: &'a Policy,
    rule: &'a Rule,
    input: &'a ManifestInput,
    summaries: &[FindingSummary],
    waivers: &ApplicableWaivers<'a>,
    now: Timestamp,
) -> RuleCount<'a> {
    let mut counter = Counter {
        policy,
        rule,
        input,
        waivers,
        now,
        result: RuleCount::default(),
        records: Vec::new(),
        can_change_over_time: false,
    };
    let prefilter = Prefilter::new(&rule.when, policy);
    for (index, (finding, summary)) in input.scan.findings().iter().zip(summaries).enumerate() {
        if !prefilter.rejects(summary) && policy.counts(finding) {
            counter.add(index, finding);
        }
    }
    counter.finish()
}

/// Returns the number of findings that these records describe.
pub(super) fn count_distinct<'a>(records: impl Iterator<Item = &'a Finding>) -> u32 {
    let identities: HashSet<_> = records.map(Finding::identity).collect();
    u32::try_from(identities.len()).unwrap_or(u32::MAX)
}

struct Counter<'a, 'w> {
    policy: &'a Policy,
    rule: &'a Rule,
    input: &'a ManifestInput,
    waivers: &'w ApplicableWaivers<'a>,
    now: Timestamp,
    result: RuleCount<'a>,
    records: Vec<Record<'a>>,
    /// True if time alone can change the number of findings that count.
    can_change_over_time: bool,
}

impl<'a> Counter<'a, '_> {
    // The prefilter rejects most findings, and its loop stays small without this function in it.
    #[inline(never)]
    fn add(&mut self, index: usize, finding: &'a Finding) {
        let (when, usage, unrated_as, now) =
            (&self.rule.when, &self.input.scan.usage, self.policy.unrated_as, self.now);
        let matches = when.matches(finding, usage, unrated_as, now);
        let transitions = when.changes(finding, usage, unrated_as, now);
        if !matches && transitions.is_empty() {
            return;
        }
        let grace = self.rule.grace.and_then(|grace| grace.window(finding, &self.input.first_seen));
        let cover = self.cover(finding);

        let boundaries = cover.waivers().flat_map(|waiver| [waiver.start_time, waiver.end()]);
        let boundaries = boundaries.chain(transitions.iter().map(|(at, _)| *at));
        let boundaries = boundaries.chain(grace.into_iter().flat_map(|(from, until)| [from, until]));
        self.result.unchanged_until = boundaries.filter(|at| *at > now).chain(self.result.unchanged_until).min();

        let record = Record { finding, matches, transitions, grace, waived: covered_intervals(&cover) };
        match cover.at(now) {
            _ if !matches => {}
            Some(covering) => self.result.waived.push((index, covering)),
            None if record.is_in_grace(now) => self.result.in_grace.push(finding),
            None => self.result.counted_records.push(finding),
        }
        self.can_change_over_time |= record.can_change_over_time();
        self.records.push(record);
    }

    fn cover(&self, finding: &'a Finding) -> Cover<'a> {
        if self.rule.waivable { Cover::of(finding, self.waivers, self.policy.unrated_as) } else { Cover::default() }
    }

    fn finish(self) -> RuleCount<'a> {
        let mut result = self.result;
        // If at most `allowed_count` records count, the rule holds, so duplicates need not be removed.
        let records = u32::try_from(result.counted_records.len()).unwrap_or(u32::MAX);
        result.total = if self.can_change_over_time || records > self.rule.allowed_count {
            count_distinct(result.counted_records.iter().copied())
        } else {
            records
        };
        if self.can_change_over_time {
            result.changes = count_changes(self.policy, self.rule, &self.records, self.now);
        }
        result
    }
}

/// Returns the instants after `now` at which findings begin or cease to count, in order. A finding counts while any of
/// its records does.
fn count_changes<'a>(
    policy: &'a Policy,
    rule: &'a Rule,
    records: &[Record<'a>],
    now: Timestamp,
) -> Vec<CountChange<'a>> {
    let mut changes = Vec::new();
    for records in by_finding(records) {
        let is_counted_at = |at| records.iter().any(|record| record.counts(at));
        let boundaries = records.iter().flat_map(|record| record.boundaries(policy, rule));
        let mut boundaries: Vec<_> = boundaries.filter(|(at, _)| *at > now).collect();
        // A stable sort: boundaries at one instant stay in the order of their records.
        boundaries.sort_by_key(|(at, _)| *at);
        let mut was_counted = is_counted_at(now);
        for (at, cause) in boundaries {
            let is_counted = is_counted_at(at);
            if is_counted != was_counted {
                was_counted = is_counted;
                changes.push(CountChange { at, begins_to_count: is_counted, cause });
            }
        }
    }
    changes.sort_by_key(|change| change.at);
    changes
}

/// Groups records by finding, in the order of their first record.
fn by_finding<'r, 'a>(records: &'r [Record<'a>]) -> Vec<Vec<&'r Record<'a>>> {
    let mut groups: Vec<Vec<&Record<'a>>> = Vec::new();
    let mut indices = HashMap::new();
    for record in records {
        let index = *indices.entry(record.finding.identity()).or_insert(groups.len());
        match groups.get_mut(index) {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    groups
}
