//! Previews a draft: decides recorded decisions again with it and reports changed verdicts.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    Decision, Verdict,
    decision::{RuleReference, Violation},
    name::PolicyId,
    policy::{self, Mode, Policy, PolicySet},
    waiver::{self, Waiver},
};
use tokio::sync::mpsc;

use super::{Decisions, LoadedDecision};
use crate::{
    auth::Scope,
    decision_log::{Cursor, DecisionId, Filter, Listed},
    policies,
};

/// The number of decisions on one page.
const PAGE_SIZE: usize = 64;

/// A reason why a preview cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No policy snapshot is available that is fresh enough.
    #[error(transparent)]
    Policies(#[from] policies::Error),
    /// The policy to delete does not exist.
    #[error("policy {0} not found")]
    PolicyNotFound(PolicyId),
}

/// A change to preview.
#[derive(Clone, Debug)]
pub enum Draft {
    /// Writes a policy, new or in place of the one with its id.
    Policy(Policy),
    /// Deletes a policy.
    Deletion(PolicyId),
    /// Writes a waiver, new or in place of the one with its id.
    Waiver(Waiver),
}

/// A decision that the draft would have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedVerdict {
    /// The decision.
    pub id: DecisionId,
    /// The recorded verdict.
    pub recorded: Verdict,
    /// The verdict with the draft.
    pub replayed: Verdict,
    /// The first added or removed violation; without one, the policy whose scan is pending.
    pub cause: Option<RuleReference>,
}

/// A report on one page of replayed decisions. Counts include the previous pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviewPage {
    /// The number of decisions evaluated again so far.
    pub evaluated: u64,
    /// The number of changed verdicts so far.
    pub changed: u64,
    /// The number of decisions so far that this server cannot read and so did not replay.
    pub unreadable: u64,
    /// The changed verdicts of this page.
    pub verdicts: Vec<ChangedVerdict>,
    /// Lint notes on the draft; on the first page only.
    pub notes: Vec<String>,
}

/// A preview that is ready to run.
#[derive(Debug)]
pub struct Preview {
    decisions: Arc<Decisions>,
    draft: Draft,
    filter: Filter,
}

impl Draft {
    /// A draft policy, effective at every previewed decision.
    pub fn from_policy(policy: Policy) -> Self {
        Self::Policy(Policy { effective_time: None, ..policy })
    }

    /// A draft waiver, in force at every previewed decision.
    pub fn from_waiver(waiver: Waiver) -> Self {
        Self::Waiver(Waiver { start_time: Timestamp::MIN, expire_time: Timestamp::MAX, ..waiver })
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Self::Policy(policy) => policies::lint(policy),
            Self::Deletion(_) | Self::Waiver(_) => Vec::new(),
        }
    }

    /// Returns the policies and waivers with the draft applied.
    fn apply_to(&self, set: &PolicySet) -> PolicySet {
        let mut set = set.clone();
        match self {
            Self::Policy(policy) => {
                let revision = policy::Revision::unsaved(policy.clone(), set.revision);
                set.policies.insert(policy.id.clone(), Arc::new(revision));
            }
            Self::Deletion(id) => {
                set.policies.remove(id);
            }
            Self::Waiver(waiver) => {
                let (create_time, update_time) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
                let (waiver, revision) = (waiver.clone(), set.revision);
                let not_understood = Vec::new();
                set.waivers.insert(Arc::new(waiver::Revision {
                    waiver,
                    revision,
                    create_time,
                    update_time,
                    not_understood,
                }));
            }
        }
        set
    }
}

impl Preview {
    /// Prepares a preview over the decisions of the last `window`, of those within the scopes. A policy to delete must exist.
    pub async fn prepare(
        decisions: Arc<Decisions>,
        draft: Draft,
        window: Duration,
        within: Option<Vec<Scope>>,
        at_least_as_fresh: Option<u64>,
    ) -> Result<Self, Error> {
        let set = decisions.policies.snapshot_at_least(at_least_as_fresh).await?;
        if let Draft::Deletion(id) = &draft
            && !set.policies.contains_key(id)
        {
            return Err(Error::PolicyNotFound(id.clone()));
        }
        let now = Timestamp::now();
        let start = SignedDuration::try_from(window).ok().and_then(|window| now.checked_sub(window).ok());
        let filter = Filter { start, end: Some(now), within, ..Filter::default() };
        Ok(Self { decisions, draft, filter })
    }

    /// Sends a report per page until all decisions are replayed or the receiver is closed. An error is sent and ends the preview.
    pub async fn run(self, sender: mpsc::Sender<Result<PreviewPage, super::Error>>) {
        let mut total = PreviewPage { notes: self.draft.notes(), ..PreviewPage::default() };
        let mut after: Option<Cursor> = None;
        loop {
            let next = match self.preview_page(after.as_ref(), &mut total).await {
                Ok(next) => next,
                Err(error) => {
                    sender.send(Err(error)).await.ok();
                    return;
                }
            };
            let page = total.clone();
            (total.verdicts, total.notes) = (Vec::new(), Vec::new());
            if sender.send(Ok(page)).await.is_err() || next.is_none() {
                return;
            }
            after = next;
        }
    }

    /// Replays one page of decisions, adds it to the totals, and returns the start of the next page.
    async fn preview_page(
        &self,
        after: Option<&Cursor>,
        total: &mut PreviewPage,
    ) -> Result<Option<Cursor>, super::Error> {
        let page = self.decisions.list(&self.filter, after, PAGE_SIZE).await?;
        let mut cached_set: Option<PolicySet> = None;
        for (listed, _) in page.decisions {
            let Some(decision) = self.load(listed).await? else {
                total.unreadable = total.unreadable.saturating_add(1);
                continue;
            };
            let set = self.decisions.policies_of(&decision).await?;
            // Neighbouring decisions mostly share a revision, and so the set with the draft.
            let with_draft = match cached_set.take() {
                Some(cached) if cached.revision == set.revision => cached,
                Some(_) | None => self.draft.apply_to(&set),
            };
            total.evaluated = total.evaluated.saturating_add(1);
            if let Some(changed) = changed_verdict(&decision, &with_draft) {
                total.changed = total.changed.saturating_add(1);
                total.verdicts.push(changed);
            }
            cached_set = Some(with_draft);
            // Deciding is CPU-bound: let other tasks run in between.
            tokio::task::yield_now().await;
        }
        Ok(page.next)
    }

    /// Loads a decision; `None` if this server cannot read it.
    async fn load(&self, listed: Listed) -> Result<Option<LoadedDecision>, super::Error> {
        let Listed::Entry(entry) = listed else { return Ok(None) };
        match self.decisions.load(entry).await {
            Ok(decision) => Ok(Some(decision)),
            Err(super::Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn changed_verdict(loaded: &LoadedDecision, set: &PolicySet) -> Option<ChangedVerdict> {
    let recorded = &loaded.outcome.decision;
    let replayed = loaded.decide(set);
    (replayed.verdict != recorded.verdict).then(|| ChangedVerdict {
        id: loaded.id.clone(),
        recorded: recorded.verdict,
        replayed: replayed.verdict,
        cause: first_new_violation(&replayed, recorded)
            .or_else(|| first_new_violation(recorded, &replayed))
            .or_else(|| first_pending_policy(&replayed, recorded))
            .or_else(|| first_pending_policy(recorded, &replayed)),
    })
}

/// The first violation of one decision that the other lacks.
fn first_new_violation(one: &Decision, other: &Decision) -> Option<RuleReference> {
    let is_new =
        |violation: &&Violation| !other.violations.iter().any(|known| known.reference() == violation.reference());
    one.violations.iter().find(is_new).map(Violation::reference)
}

/// If `one` is INDETERMINATE, returns its first enforced policy that is missing from `other` or differs there. Pending scans are
/// not violations, so they need their own search.
fn first_pending_policy(one: &Decision, other: &Decision) -> Option<RuleReference> {
    let is_pending = one.verdict == Verdict::Indeterminate;
    let enforced = one.policies.iter().filter(|applied| is_pending && applied.mode == Mode::Enforce);
    enforced
        .filter(|applied| !other.policies.contains(applied))
        .map(|applied| RuleReference { policy: applied.id.clone(), rule: None })
        .next()
}
