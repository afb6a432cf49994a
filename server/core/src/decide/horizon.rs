//! The horizon: the first instant at which a reason known now changes the verdict.
//!
//! Every policy over every manifest is a cell. What may change with time alone is an event; the events are gone through in
//! order, each in constant time, until the verdict is another one.

use jiff::Timestamp;

use super::tally::{Cause, Tally};
use crate::{
    decision::{NextChange, Verdict},
    policy::Mode,
};

/// What an event does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// The scan of a cell gives this verdict from then on.
    Scan { cell: usize, verdict: Verdict },
    /// One finding more or less counts under a rule.
    Count { rule: usize, counts: bool },
    /// A policy is enforced from then on.
    Enforce { policy: usize },
}

#[derive(Clone, Copy, Debug)]
struct Event<'a> {
    at: Timestamp,
    effect: Effect,
    cause: Cause<'a>,
}

/// How a policy stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Its mode now.
    pub(super) mode: Mode,
    /// Whether it is the default.
    pub(super) is_default: bool,
    /// Whether it takes the default's place while it is enforced.
    pub(super) displaces: bool,
}

#[derive(Debug)]
struct Cell {
    policy: usize,
    scan: Verdict,
    broken: usize,
}

impl Cell {
    fn verdict(&self) -> Verdict {
        match self.scan {
            Verdict::Allow if self.broken > 0 => Verdict::Deny,
            scan @ (Verdict::Allow | Verdict::Indeterminate | Verdict::Deny) => scan,
        }
    }
}

#[derive(Debug)]
struct Count {
    cell: usize,
    matched: i64,
    allowed: i64,
}

impl Count {
    fn is_broken(&self) -> bool {
        self.matched > self.allowed
    }
}

/// All that the verdict hangs on, now and later.
#[derive(Debug, Default)]
pub(super) struct Horizon<'a> {
    policies: Vec<Standing>,
    cells: Vec<Cell>,
    rules: Vec<Count>,
    events: Vec<Event<'a>>,
    unchanged_until: Option<Timestamp>,
}

impl<'a> Horizon<'a> {
    pub(super) fn policy(&mut self, standing: Standing) {
        self.policies.push(standing);
    }

    /// The policy of that index is enforced from an instant on.
    pub(super) fn enforce(&mut self, policy: usize, at: Timestamp, cause: Cause<'a>) {
        self.event(at, Effect::Enforce { policy }, cause);
    }

    /// Adds a manifest under the policy of that index, with what its scan gives now.
    pub(super) fn cell(&mut self, policy: usize, scan: Verdict) -> usize {
        self.cells.push(Cell { policy, scan, broken: 0 });
        self.cells.len() - 1
    }

    pub(super) fn scan(&mut self, cell: usize, at: Timestamp, verdict: Verdict, cause: Cause<'a>) {
        self.event(at, Effect::Scan { cell, verdict }, cause);
    }

    /// Adds a rule that denies.
    pub(super) fn rule(&mut self, cell: usize, tally: &Tally<'a>, allowed: u32) {
        let count = Count { cell, matched: tally.matched.into(), allowed: allowed.into() };
        if let Some(cell) = self.cells.get_mut(cell)
            && count.is_broken()
        {
            cell.broken += 1;
        }
        self.rules.push(count);
        let rule = self.rules.len() - 1;
        for toggle in &tally.toggles {
            self.event(toggle.at, Effect::Count { rule, counts: toggle.counts }, toggle.cause);
        }
    }

    /// Something that the decision tells may differ from that instant on.
    pub(super) fn notice(&mut self, at: Option<Timestamp>) {
        self.unchanged_until = self.unchanged_until.into_iter().chain(at).min();
    }

    fn event(&mut self, at: Timestamp, effect: Effect, cause: Cause<'a>) {
        self.notice(Some(at));
        self.events.push(Event { at, effect, cause });
    }

    pub(super) fn unchanged_until(&self) -> Option<Timestamp> {
        self.unchanged_until
    }

    /// The first instant at which the verdict is another one, with the cause of it.
    pub(super) fn next_change(mut self, now: Verdict) -> Option<NextChange> {
        let mut events = std::mem::take(&mut self.events);
        // Stable, so that of several causes at one instant the first that was told is named.
        events.sort_by_key(|event| event.at);
        let mut sweep = Sweep::new(self);
        for at_once in events.chunk_by(|a, b| a.at == b.at) {
            let mut cause = None;
            for event in at_once {
                if sweep.apply(event.effect) {
                    cause = cause.or(Some(event.cause));
                }
            }
            if let (Some(cause), Some(first)) = (cause, at_once.first())
                && sweep.verdict() != now
            {
                return Some(NextChange { time: first.at, verdict: sweep.verdict(), reason: cause.to_string() });
            }
        }
        None
    }
}

/// The state at an instant, with what it adds up to.
struct Sweep<'a> {
    of: Horizon<'a>,
    cells_of: Vec<Vec<usize>>,
    default: Option<usize>,
    displacing: usize,
    enforced: usize,
    denying: usize,
    waiting: usize,
}

impl<'a> Sweep<'a> {
    fn new(of: Horizon<'a>) -> Self {
        let mut cells_of = vec![Vec::new(); of.policies.len()];
        for (index, cell) in of.cells.iter().enumerate() {
            if let Some(cells) = cells_of.get_mut(cell.policy) {
                cells.push(index);
            }
        }
        let displacing = of.policies.iter().filter(|policy| policy.displaces && policy.mode == Mode::Enforce).count();
        let default = of.policies.iter().position(|policy| policy.is_default);
        let mut sweep = Self { of, cells_of, default, displacing, enforced: 0, denying: 0, waiting: 0 };
        for policy in 0..sweep.of.policies.len() {
            if sweep.is_active(policy) {
                sweep.activate(policy, true);
            }
        }
        sweep
    }

    fn is_active(&self, policy: usize) -> bool {
        let active =
            |standing: &Standing| standing.mode == Mode::Enforce && !(standing.is_default && self.displacing > 0);
        self.of.policies.get(policy).is_some_and(active)
    }

    fn activate(&mut self, policy: usize, active: bool) {
        step(&mut self.enforced, active);
        let cells = self.cells_of.get(policy).into_iter().flatten();
        let verdicts: Vec<Verdict> = cells.filter_map(|cell| self.of.cells.get(*cell)).map(Cell::verdict).collect();
        for verdict in verdicts {
            self.tally(verdict, active);
        }
    }

    fn tally(&mut self, verdict: Verdict, more: bool) {
        match verdict {
            Verdict::Allow => {}
            Verdict::Indeterminate => step(&mut self.waiting, more),
            Verdict::Deny => step(&mut self.denying, more),
        }
    }

    /// Applies an event, and says whether anything hangs on it.
    fn apply(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Scan { cell, verdict } => self.change(cell, |cell| cell.scan = verdict),
            Effect::Count { rule, counts } => {
                let Some(count) = self.of.rules.get_mut(rule) else { return false };
                let was_broken = count.is_broken();
                count.matched += if counts { 1 } else { -1 };
                let (cell, is_broken) = (count.cell, count.is_broken());
                was_broken != is_broken && self.change(cell, |cell| step(&mut cell.broken, is_broken))
            }
            Effect::Enforce { policy } => self.enforce(policy),
        }
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Cell)) -> bool {
        let Some(cell) = self.of.cells.get_mut(index) else { return false };
        let (policy, was) = (cell.policy, cell.verdict());
        change(cell);
        let is = cell.verdict();
        if was == is || !self.is_active(policy) {
            return false;
        }
        self.tally(was, false);
        self.tally(is, true);
        true
    }

    fn enforce(&mut self, index: usize) -> bool {
        let Some(policy) = self.of.policies.get_mut(index) else { return false };
        policy.mode = Mode::Enforce;
        let displaces = policy.displaces;
        let default = self.default.filter(|default| *default != index && self.is_active(*default));
        self.displacing += usize::from(displaces);
        if let Some(default) = default.filter(|default| !self.is_active(*default)) {
            self.activate(default, false);
        }
        if self.is_active(index) {
            self.activate(index, true);
        }
        true
    }

    /// Whether the default governs and is not enforced: then nothing allows what is left to it.
    fn is_left_open(&self) -> bool {
        let default = self.default.and_then(|default| self.of.policies.get(default));
        self.displacing == 0 && default.is_some_and(|default| default.mode != Mode::Enforce)
    }

    fn verdict(&self) -> Verdict {
        if self.enforced == 0 || self.of.cells.is_empty() || self.denying > 0 || self.is_left_open() {
            Verdict::Deny
        } else if self.waiting > 0 {
            Verdict::Indeterminate
        } else {
            Verdict::Allow
        }
    }
}

fn step(count: &mut usize, more: bool) {
    *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
}
