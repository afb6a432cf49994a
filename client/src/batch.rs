//! The decisions on the images of one release.

use crate::{
    decision::{Decision, NotAllowed},
    error::{Error, Rejection},
    v1::{BatchEvaluateGateResponse, EvaluateGateResponse, Verdict, batch_evaluate_gate_item},
};

/// One result for each requested image, in the order of the request.
#[derive(Debug, Clone)]
#[must_use = "an unchecked decision allows nothing: call `require_allowed`"]
pub struct BatchDecision {
    items: Vec<Result<Decision, Rejection>>,
    message: BatchEvaluateGateResponse,
}

impl BatchDecision {
    /// Rejects a response with a missing item: the results that follow would be assigned to the wrong images.
    pub(crate) fn parse(message: BatchEvaluateGateResponse, requested: usize) -> Result<Self, Error> {
        if message.items.len() != requested {
            return Err(Error::Incomplete { missing: "the number of items differs from the number of images" });
        }
        let items = message
            .items
            .iter()
            .map(|item| match &item.result {
                Some(batch_evaluate_gate_item::Result::Response(EvaluateGateResponse {
                    decision: Some(decision),
                    ..
                })) => Ok(Ok(Decision::from(decision.clone()))),
                Some(batch_evaluate_gate_item::Result::Error(error)) => Ok(Err(Rejection::from(error))),
                Some(batch_evaluate_gate_item::Result::Response(_)) | None => {
                    Err(Error::Incomplete { missing: "an item has neither a decision nor an error" })
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { items, message })
    }

    /// The decision on each image, or the error that prevented it, in the order of the request.
    pub fn items(&self) -> &[Result<Decision, Rejection>] {
        &self.items
    }

    /// The response as received.
    pub fn as_message(&self) -> &BatchEvaluateGateResponse {
        &self.message
    }

    /// Converts the decisions into the response as received.
    pub fn into_message(self) -> BatchEvaluateGateResponse {
        self.message
    }

    /// Returns the references to deploy, in the order of the request, if every image is allowed.
    ///
    /// Otherwise returns the error of the first image that is not allowed, by the conditions of
    /// [`Decision::require_allowed`].
    ///
    /// ```no_run
    /// # use scangate_client::{Client, Error, v1::BatchEvaluateGateRequest};
    /// # async fn deploy(client: Client, request: BatchEvaluateGateRequest) -> Result<(), Error> {
    /// let batch = client.batch_evaluate(request).await?;
    /// for reference in batch.require_allowed()? {
    ///     println!("deploy {reference}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
            return Err(NotAllowed::from_batch_verdict(self.message.verdict).into());
        }
        Ok(references)
    }
}
