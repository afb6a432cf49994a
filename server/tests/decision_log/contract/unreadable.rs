//! The promise about decisions that a newer server records.

use std::sync::Arc;

use scangate_core::{Verdict, image::RepositoryName};
use scangate_server::{
    decision_log::{AppendRequest, Blob, DecisionLog as _, Error, Filter, Listed, PreparedRecord, Unreadable},
    sql::Database,
};
use serde_json::{Value, json};

use super::{append_all, index, log};
use crate::fixtures::{append_request, recorded};

/// A decision whose record has a field that this server does not know.
fn newer_request(number: u64) -> AppendRequest {
    let request = append_request(number);
    let mut record: Value = request.record.blob.decode().unwrap();
    record["caller"] = json!("pipeline");
    let prepared = PreparedRecord { blob: Blob::encode(&record).unwrap(), ..(*request.record).clone() };
    AppendRequest { record: Arc::new(prepared), ..request }
}

pub(super) async fn unreadable_decision_is_listed_in_part(store: Arc<Database>) {
    let log = log(&store);
    let mut cursors = log.tail_positions().await.unwrap();
    append_all(&log, [1]).await;
    let newer = newer_request(2);
    let id = recorded(log.append(newer.clone()).await.unwrap());
    append_all(&log, [3]).await;
    let even = Filter { repository: Some(RepositoryName::parse("team/even").unwrap()), ..Filter::default() };
    let denied = Filter { verdicts: vec![Verdict::Deny], ..even.clone() };

    let all = log.list(&Filter::default(), None, 10).await.unwrap().decisions;
    let matching = log.list(&even, None, 10).await.unwrap().decisions;
    let followed = log.read_from(&mut cursors, 10).await.unwrap();

    assert_eq!((all.len(), followed.len()), (3, 3));
    let [(Listed::Unreadable(unreadable), _)] = &matching[..] else { panic!("{matching:?}") };
    let Unreadable { id: listed_id, evaluate_time, caller, labels, outline, cause } = &**unreadable;
    assert_eq!((listed_id, *evaluate_time, labels), (&id, Some(newer.evaluate_time), &newer.labels));
    assert_eq!(caller.as_ref(), Some(&newer.caller));
    assert_eq!((outline.keys.verdict, outline.keys.policies.as_ref().map(Vec::len)), (Some(Verdict::Allow), Some(1)));
    assert!(cause.contains("caller"), "{cause}");
    index(&log).await;
    // Not under its terms, which the indexer could not read.
    assert_eq!(log.list(&even, None, 10).await.unwrap().decisions, matching);
    assert!(log.list(&denied, None, 10).await.unwrap().decisions.is_empty());
    // By itself it is an error: a decision must never rest on a part of a record.
    assert!(matches!(log.get(&id).await, Err(Error::Corrupt { .. })));
}
