//! What a draft would have decided: recorded decisions, decided again with it.

use std::sync::Arc;

use scangate_core::{
    Decision, Verdict,
    decision::{Breach, Violation},
    name::PolicyId,
    policy::{self, Mode, Policy, PolicySet},
    waiver::{self, Waiver},
};

use super::{Decisions, Error, LoadedDecision};
use crate::decision_log::{Cursor, DecisionId, Filter};

/// Decisions that are decided again in one go.
const AT_ONCE: usize = 64;

/// What to try.
#[derive(Clone, Debug)]
pub enum Draft {
    /// A policy, new or in place of the one of its id.
    Policy(Policy),
    /// No such policy.
    Deletion(PolicyId),
    /// A waiver, new or in place of the one of its id.
    Waiver(Waiver),
}

/// A decision that would have been another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flipped {
    /// Which.
    pub id: DecisionId,
    /// What was decided.
    pub was: Verdict,
    /// What would have been.
    pub would_be: Verdict,
    /// The first violation that comes or goes, as `policy/rule`; where none does, the policy whose scan is waited for.
    pub by: String,
}

/// Some more decisions, decided again.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// How many.
    pub replayed: u64,
    /// Those that flip.
    pub flipped: Vec<Flipped>,
    /// Where to go on; `None`: that was all.
    pub next: Option<Cursor>,
}

impl Draft {
    /// The policies and waivers with the draft among them.
    fn over(&self, set: &PolicySet) -> PolicySet {
        let mut set = set.clone();
        let epoch = jiff::Timestamp::UNIX_EPOCH;
        match self {
            Self::Policy(policy) => {
                let revised = policy::Revision {
                    policy: policy.clone(),
                    revision: set.revision,
                    content_digest: String::new(),
                    create_time: epoch,
                    update_time: epoch,
                };
                set.policies.insert(policy.id.clone(), Arc::new(revised));
            }
            Self::Deletion(id) => {
                set.policies.remove(id);
            }
            Self::Waiver(waiver) => {
                let revision = set.revision;
                let revised =
                    waiver::Revision { waiver: waiver.clone(), revision, create_time: epoch, update_time: epoch };
                set.waivers.insert(Arc::new(revised));
            }
        }
        set
    }
}

/// Decides some decisions again with a draft; only those whose policies the gate chose itself.
pub async fn step(
    decisions: &Decisions,
    draft: &Draft,
    filter: &Filter,
    after: Option<&Cursor>,
) -> Result<Step, Error> {
    let (reopened, next) = decisions.reopen_page(filter, after, AT_ONCE).await?;
    let mut step = Step { next, ..Step::default() };
    let mut drafted: Option<(u64, PolicySet)> = None;
    for reopened in reopened.iter().filter(|reopened| reopened.outcome.decision.authoritative) {
        let set = decisions.set_of(reopened).await?;
        let set = match drafted.take() {
            Some((revision, drafted)) if revision == set.revision => drafted,
            Some(_) | None => draft.over(&set),
        };
        step.replayed += 1;
        step.flipped.extend(flipped(reopened, &set));
        drafted = Some((set.revision, set));
        // Deciding is work for the processor: others get their turn in between.
        tokio::task::yield_now().await;
    }
    Ok(step)
}

fn flipped(reopened: &LoadedDecision, set: &PolicySet) -> Option<Flipped> {
    let recorded = &reopened.outcome.decision;
    let would_be = reopened.decide(set);
    (would_be.verdict != recorded.verdict).then(|| Flipped {
        id: reopened.id.clone(),
        was: recorded.verdict,
        would_be: would_be.verdict,
        by: first_of(&would_be, recorded)
            .or_else(|| first_of(recorded, &would_be))
            .or_else(|| waited_for(&would_be, recorded))
            .or_else(|| waited_for(recorded, &would_be))
            .unwrap_or_default(),
    })
}

/// The first violation of one decision that the other does not have.
fn first_of(one: &Decision, other: &Decision) -> Option<String> {
    let new = |violation: &&Violation| !other.violations.iter().any(|known| name(known) == name(violation));
    one.violations.iter().find(new).map(name)
}

/// The first policy that one decision waits for a scan under, and that the other does not rest on as it is: waiting breaks nothing.
fn waited_for(one: &Decision, other: &Decision) -> Option<String> {
    let waits = one.verdict == Verdict::Indeterminate;
    let enforced = one.policies.iter().filter(|applied| waits && applied.mode == Mode::Enforce);
    enforced.filter(|applied| !other.policies.contains(applied)).map(|applied| format!("{}/scan", applied.id)).next()
}

fn name(violation: &Violation) -> String {
    match &violation.breach {
        Breach::Rule { rule, .. } => format!("{}/{rule}", violation.policy),
        Breach::Scan(_) => format!("{}/scan", violation.policy),
    }
}
