//! Requests with an idempotency key: a retry gets the recorded decision while that holds, and a new one afterwards.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use scangate_core::{Decision, Verdict, evidence::CLOCK_SLACK};

use super::{Error, EvaluateRequest, Evaluated, Evaluator, PreparedDecision};
use crate::{
    decision_log::{AppendRequest, AppendResult},
    decisions::{EvaluatedDecision, Known, RecordedDecision},
    idempotency::RequestKey,
};

impl Evaluator {
    /// Returns the decision that the key stands for, if it still holds. Otherwise decides, and makes the key stand for the new
    /// decision. A decision whose record is unreadable, such as one of a newer server, does not hold.
    ///
    /// Of concurrent calls with one key, one decision is recorded. The other calls return it if it holds or equals their own answer;
    /// otherwise they supersede it. Each repetition follows an append of another call, so that some call makes progress.
    pub(super) async fn evaluate_with_key(
        &self,
        mut request: EvaluateRequest,
        key: RequestKey,
        deadline: Option<Instant>,
    ) -> Result<Evaluated, Error> {
        let mut superseded = None;
        let mut known = self.decisions.find_by_request(&key).await?;
        loop {
            match known.take() {
                Some(Known::Readable(recorded)) => {
                    // No decision supersedes one that was made on later policies.
                    let revision = Some(recorded.evaluated.evaluation.decision.revision);
                    request.at_least_as_fresh = request.at_least_as_fresh.max(revision);
                    if self.still_holds(&request, &recorded).await? {
                        return Ok(Evaluated { recorded, replayed: true });
                    }
                    superseded = Some(recorded.id);
                }
                Some(Known::Unreadable(id)) => superseded = Some(id),
                None => {}
            }
            let (PreparedDecision { record, evaluated }, evaluate_time) = self.prepare(&request, deadline).await?;
            request.wait = Duration::ZERO; // A repetition does not wait again.
            let append = AppendRequest { supersedes: superseded.clone(), ..request.append(record, evaluate_time) };
            let id = match self.decisions.record(append).await? {
                AppendResult::Recorded(id) => {
                    let EvaluateRequest { caller, labels, .. } = request;
                    let recorded = RecordedDecision { id, evaluated, evaluate_time, caller, labels };
                    return Ok(Evaluated { recorded, replayed: false });
                }
                AppendResult::Replayed(id) => id,
            };
            // Not the decision that this call found outdated, so that of a concurrent call.
            if superseded.as_ref() != Some(&id) {
                known = match self.decisions.get_known(id).await? {
                    Known::Readable(recorded) if is_same_answer(&recorded.evaluated, &evaluated) => {
                        return Ok(Evaluated { recorded, replayed: true });
                    }
                    concurrent @ (Known::Readable(_) | Known::Unreadable(_)) => Some(concurrent),
                };
            }
        }
    }

    /// True if a recorded decision is final, and no known fact may have changed it: neither time, nor a write of policies or
    /// waivers, nor a newer reading.
    async fn still_holds(&self, request: &EvaluateRequest, recorded: &RecordedDecision) -> Result<bool, Error> {
        let revision = self.snapshot(request).await?.revision;
        let evaluation = &recorded.evaluated.evaluation;
        let repository = evaluation.repository();
        let is_final = match evaluation.decision.verdict {
            Verdict::Allow | Verdict::Deny => true,
            Verdict::Indeterminate => false,
        };
        // A clock that went back proves nothing about the end of validity.
        let is_past = recorded.evaluate_time <= Timestamp::now().saturating_add(CLOCK_SLACK).unwrap_or(Timestamp::MAX);
        Ok(is_final
            && is_past
            && evaluation.decision.revision == revision
            && is_valid_now(&evaluation.decision)
            && !evaluation
                .inputs
                .iter()
                .any(|input| self.registry.is_outdated(&repository, &input.manifest, input.scan.read_time)))
    }
}

/// True if a decision that a concurrent call recorded gives the answer that this call has just found itself.
fn is_same_answer(recorded: &EvaluatedDecision, own: &EvaluatedDecision) -> bool {
    let (theirs, ours) = (&recorded.evaluation.decision, &own.evaluation.decision);
    theirs.verdict == ours.verdict
        && theirs.revision == ours.revision
        && recorded.evaluation.image.digest == own.evaluation.image.digest
        && recorded.deploy == own.deploy
        && is_valid_now(theirs)
}

fn is_valid_now(decision: &Decision) -> bool {
    decision.next_change.as_ref().is_none_or(|change| Timestamp::now() < change.change_time)
}
