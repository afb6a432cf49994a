//! What becomes of each record of a batch: it is recorded as the next one, or its request was answered before.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    idempotency_keys::{self, Request},
    segment::Head,
};
use crate::{
    decision_log::{AppendRequest, AppendResult, DecisionId, Error},
    idempotency::{DEDUP_WINDOW, RequestKey},
    sql::{self, Connection},
};

/// The answer to each record, and which of them are to be recorded.
pub(super) struct Answers<'a> {
    pub(super) given: Vec<Result<AppendResult, Error>>,
    pub(super) fresh: Vec<&'a AppendRequest>,
    writer: Arc<str>,
    after: u64,
}

impl<'a> Answers<'a> {
    /// All of them are recorded, after the head of a writer: no request has come with them.
    pub(super) fn without_requests(
        writer: &Arc<str>,
        head: &Head,
        records: impl Iterator<Item = &'a AppendRequest>,
    ) -> Self {
        let mut answers = Self::none(writer, head);
        for record in records {
            let id = answers.record(record);
            answers.given.push(Ok(AppendResult::Recorded(id)));
        }
        answers
    }

    /// The same where some have come by request: those that are not known are claimed.
    pub(super) async fn to(
        connection: &mut Connection,
        writer: &Arc<str>,
        head: &Head,
        records: impl Iterator<Item = &'a AppendRequest> + Clone,
    ) -> Result<Self, sql::Error> {
        let now = Timestamp::now();
        let expire_time = now.saturating_add(DEDUP_WINDOW).unwrap_or(Timestamp::MAX).as_microsecond();
        let now = now.as_microsecond();
        let mut asked: BTreeMap<&str, &RequestKey> = BTreeMap::new();
        for request in records.clone().filter_map(|record| record.request.as_ref()) {
            asked.entry(&request.id).or_insert(request);
        }
        let taken = idempotency_keys::claim(connection, &asked, writer, expire_time, now).await?;
        let mut answers = Self::none(writer, head);
        let mut given: HashMap<&str, DecisionId> = HashMap::new();
        for record in records {
            let answer = match &record.request {
                None => Ok(AppendResult::Recorded(answers.record(record))),
                Some(request) => before(request, &taken, &asked, &given).unwrap_or_else(|| {
                    let id = answers.record(record);
                    given.insert(&request.id, id.clone());
                    Ok(AppendResult::Recorded(id))
                }),
            };
            answers.given.push(answer);
        }
        let numbered: Vec<(&str, u64)> = given.into_iter().map(|(id, decision)| (id, decision.sequence)).collect();
        idempotency_keys::number(connection, &numbered).await?;
        if !asked.is_empty() {
            // As many go as come, and more, so that they never pile up.
            idempotency_keys::forget(connection, now).await?;
        }
        Ok(answers)
    }

    fn none(writer: &Arc<str>, head: &Head) -> Self {
        Self { given: Vec::new(), fresh: Vec::new(), writer: Arc::clone(writer), after: head.sequence }
    }

    /// The name of a record that is to be recorded as the next one.
    fn record(&mut self, record: &'a AppendRequest) -> DecisionId {
        self.fresh.push(record);
        let sequence = self.after.saturating_add(u64::try_from(self.fresh.len()).unwrap_or(u64::MAX));
        DecisionId { writer: Arc::clone(&self.writer), sequence }
    }
}

/// The answer to a request that was answered before, or earlier in the same batch.
fn before(
    request: &RequestKey,
    taken: &BTreeMap<String, Request>,
    asked: &BTreeMap<&str, &RequestKey>,
    given: &HashMap<&str, DecisionId>,
) -> Option<Result<AppendResult, Error>> {
    let id = request.id.as_str();
    let (fingerprint, decision) = match (taken.get(id), given.get(id), asked.get(id)) {
        (Some(taken), ..) => {
            (&taken.fingerprint, DecisionId { writer: taken.writer.as_str().into(), sequence: taken.sequence })
        }
        (None, Some(given), Some(first)) => (&first.fingerprint, given.clone()),
        (None, ..) => return None,
    };
    let is_same = *fingerprint == request.fingerprint;
    Some(if is_same { Ok(AppendResult::Replayed(decision)) } else { Err(Error::RequestIdReused) })
}
