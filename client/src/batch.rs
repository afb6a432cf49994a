//! The decisions on the images of one release.

use crate::{
    decision::{Decision, NotAllowed},
    error::{Error, Rejection},
    v1::{BatchEvaluateGateResponse, Verdict, batch_evaluate_gate_item},
};

/// One result for each image that was asked about, in that order.
#[derive(Debug, Clone)]
#[must_use = "an unread answer allows nothing: call `require_allowed`"]
pub struct BatchDecision {
    items: Vec<Result<Decision, Rejection>>,
    message: BatchEvaluateGateResponse,
}

impl BatchDecision {
    /// Refuses an answer that leaves an image out: its place in the list would go to another one.
    pub(crate) fn parse(message: BatchEvaluateGateResponse, asked: usize) -> Result<Self, Error> {
        if message.items.len() != asked {
            return Err(Error::Incomplete { missing: "not one item for each image" });
        }
        let items = message
            .items
            .iter()
            .map(|item| match &item.result {
                Some(batch_evaluate_gate_item::Result::Decision(decision)) => Ok(Ok(Decision::from(decision.clone()))),
                Some(batch_evaluate_gate_item::Result::Error(status)) => Ok(Err(Rejection::from(status))),
                None => Err(Error::Incomplete { missing: "an item with neither decision nor error" }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { items, message })
    }

    /// A decision or the reason why there is none, for each image in the order that they were asked in.
    pub fn items(&self) -> &[Result<Decision, Rejection>] {
        &self.items
    }

    /// The answer as the gate sent it.
    pub fn into_inner(self) -> BatchEvaluateGateResponse {
        self.message
    }

    /// The references to deploy, in the order that was asked in, if the gate allows every single one.
    ///
    /// The first image that is not allowed is the error; see [`Decision::require_allowed`] for what allowed means.
    pub fn require_allowed(&self) -> Result<Vec<&str>, Error> {
        let references = self
            .items
            .iter()
            .map(|item| match item {
                Ok(decision) => Ok(decision.require_allowed()?),
                Err(rejection) => Err(Error::Rejected(Box::new(rejection.clone()))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if self.message.verdict != i32::from(Verdict::Allow) {
            return Err(NotAllowed::of_batch(self.message.verdict).into());
        }
        Ok(references)
    }
}
