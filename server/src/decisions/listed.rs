//! Decisions of lists and watches with their outcomes, loaded one by one: each may state many findings.

use std::sync::Arc;

use super::{Decisions, Error, EvaluatedDecision, RecordedDecision};
use crate::decision_log::{Entry, Hash, Listed, Unreadable};

/// A listed decision with its inputs and its outcome.
#[derive(Clone, Debug)]
pub enum ListedDecision {
    /// The decision.
    Recorded(RecordedDecision),
    /// A decision that this server cannot read as a whole.
    Unreadable(Box<Unreadable>),
}

/// Loads listed decisions one after the other. Neighbours often share a record, so the last one is kept.
#[derive(Debug)]
pub struct ListedLoader<'a> {
    decisions: &'a Decisions,
    last: Option<((Hash, Hash), Arc<EvaluatedDecision>)>,
}

impl Decisions {
    /// Begins to load listed decisions.
    pub fn listed_loader(&self) -> ListedLoader<'_> {
        ListedLoader { decisions: self, last: None }
    }
}

impl ListedLoader<'_> {
    /// Adds the inputs and the outcome to a listed decision, without the findings of its scans. One that cannot be read is no
    /// error: it must not hide the others.
    pub async fn load(&mut self, listed: Listed) -> Result<ListedDecision, Error> {
        let entry = match listed {
            Listed::Entry(entry) => entry,
            Listed::Unreadable(unreadable) => return Ok(ListedDecision::Unreadable(unreadable)),
        };
        match self.evaluated(&entry).await {
            Ok(evaluated) => Ok(ListedDecision::Recorded(RecordedDecision::new(entry, evaluated))),
            Err(Error::Damaged { source, .. }) => {
                Ok(ListedDecision::Unreadable(Box::new(Unreadable::from_entry(&entry, source.describe()))))
            }
            Err(error) => Err(error),
        }
    }

    async fn evaluated(&mut self, entry: &Entry) -> Result<Arc<EvaluatedDecision>, Error> {
        let key = (entry.record.inputs, entry.record.outcome);
        if let Some((_, evaluated)) = self.last.as_ref().filter(|(last, _)| *last == key) {
            return Ok(Arc::clone(evaluated));
        }
        // Two large decisions are never held at once.
        self.last = None;
        let evaluated = self.decisions.load_evaluated(entry).await?;
        self.last = Some((key, Arc::clone(&evaluated)));
        Ok(evaluated)
    }
}
