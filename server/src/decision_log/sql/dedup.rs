//! Deduplication of a batch: each append gets the next id, or the result that its idempotency key already has.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use super::segment::Head;
use crate::{
    decision_log::{AppendRequest, AppendResult, DecisionId, Error},
    idempotency::{
        Key, RequestKey,
        sql::{self as requests, Claim, Kind, StoredRequest},
    },
    sql::{self, Connection},
};

/// The result of each append of a batch, and the requests to record.
pub(super) struct Deduplicated<'a> {
    pub(super) results: Vec<Result<AppendResult, Error>>,
    pub(super) new_requests: Vec<&'a AppendRequest>,
    writer: Arc<str>,
    after: u64,
}

impl<'a> Deduplicated<'a> {
    /// Numbers requests without idempotency keys: all of them are recorded.
    pub(super) fn without_request_keys(writer: &Arc<str>, head: &Head, requests: &'a [AppendRequest]) -> Self {
        Self::number(writer, head, requests, &BTreeMap::new(), &BTreeMap::new()).0
    }

    /// Claims the idempotency keys of a batch, and numbers the requests whose key is new or absent.
    pub(super) async fn claim(
        connection: &mut Connection,
        writer: &Arc<str>,
        head: &Head,
        requests: &'a [AppendRequest],
    ) -> Result<Self, sql::Error> {
        let now = Timestamp::now();
        let mut claims: BTreeMap<Key<'a>, Claim<'a>> = BTreeMap::new();
        for request in requests {
            if let Some(key) = &request.request_key {
                // Of several requests with one key, the first is recorded.
                let supersedes = request.supersedes.as_ref().map(|id| (&*id.writer, id.sequence));
                claims.entry(key.key()).or_insert(Claim { key, supersedes });
            }
        }
        let stored = requests::claim(connection, Kind::Decision, &claims, now).await?;
        let (deduplicated, claimed) = Self::number(writer, head, requests, &stored, &claims);
        let sequences: Vec<(Key<'_>, u64)> =
            claimed.into_iter().map(|(key, decision)| (key, decision.sequence)).collect();
        if !claims.is_empty() {
            requests::set_targets(connection, Kind::Decision, writer, &sequences, now).await?;
        }
        Ok(deduplicated)
    }

    /// Numbers the requests, and returns the ids assigned to idempotency keys.
    fn number(
        writer: &Arc<str>,
        head: &Head,
        requests: &'a [AppendRequest],
        stored: &BTreeMap<Key<'a>, StoredRequest>,
        claims: &BTreeMap<Key<'a>, Claim<'a>>,
    ) -> (Self, HashMap<Key<'a>, DecisionId>) {
        let (writer, after) = (Arc::clone(writer), head.sequence);
        let mut deduplicated = Self { results: Vec::new(), new_requests: Vec::new(), writer, after };
        let mut claimed: HashMap<Key<'a>, DecisionId> = HashMap::new();
        for request in requests {
            let result = match &request.request_key {
                None => Ok(AppendResult::Recorded(deduplicated.push_new(request))),
                Some(key) => previous_result(key, stored, claims, &claimed).unwrap_or_else(|| {
                    let id = deduplicated.push_new(request);
                    claimed.insert(key.key(), id.clone());
                    Ok(AppendResult::Recorded(id))
                }),
            };
            deduplicated.results.push(result);
        }
        (deduplicated, claimed)
    }

    /// Adds a request to record, and returns its id.
    fn push_new(&mut self, request: &'a AppendRequest) -> DecisionId {
        self.new_requests.push(request);
        let sequence = self.after.saturating_add(u64::try_from(self.new_requests.len()).unwrap_or(u64::MAX));
        DecisionId { writer: Arc::clone(&self.writer), sequence }
    }
}

/// Returns the result of an earlier request with this key, from the database or from the same batch.
fn previous_result(
    key: &RequestKey,
    stored: &BTreeMap<Key<'_>, StoredRequest>,
    claims: &BTreeMap<Key<'_>, Claim<'_>>,
    claimed: &HashMap<Key<'_>, DecisionId>,
) -> Option<Result<AppendResult, Error>> {
    let id = key.key();
    let (fingerprint, decision) = match (stored.get(&id), claimed.get(&id), claims.get(&id)) {
        (Some(stored), ..) => {
            (&stored.fingerprint, DecisionId { writer: stored.writer.as_str().into(), sequence: stored.sequence })
        }
        (None, Some(claimed), Some(first)) => (&first.key.fingerprint, claimed.clone()),
        (None, ..) => return None,
    };
    let is_same = *fingerprint == key.fingerprint;
    Some(if is_same { Ok(AppendResult::Replayed(decision)) } else { Err(Error::RequestIdReused) })
}
