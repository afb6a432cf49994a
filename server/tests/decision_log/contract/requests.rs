//! Idempotency keys.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::SignedDuration;
use scangate_server::{
    decision_log::{AppendRequest, AppendResult, DecisionId, DecisionLog, Error},
    sql::Database,
};
use tokio::task::JoinSet;

use super::{log, verified};
use crate::fixtures::{append_request, by, recorded, with_request_key};

pub(super) async fn repeated_request_returns_first_decision(store: Arc<Database>) {
    let (log, other) = (log(&store), log(&store));
    let id = recorded(log.append(with_request_key("r-1", "print", append_request(1))).await.unwrap());

    let again = other.append(with_request_key("r-1", "print", append_request(2))).await.unwrap();
    let reused = other.append(with_request_key("r-1", "other", append_request(2))).await;

    assert_eq!(again, AppendResult::Replayed(id.clone()));
    assert!(matches!(reused, Err(Error::RequestIdReused)), "{reused:?}");
    let key = with_request_key("r-1", "print", append_request(1)).request_key.unwrap();
    assert_eq!(other.find_by_request(&key).await.unwrap(), Some(id));
    assert_eq!(verified(&log).await, 1);
}

pub(super) async fn equal_ids_of_callers_are_different_requests(store: Arc<Database>) {
    let (log, other) = (log(&store), log(&store));
    let request = |caller, print| by(caller, with_request_key("r-1", print, append_request(1)));
    let first = recorded(log.append(request("ann", "print")).await.unwrap());
    let unknown = log.find_by_request(&request("bob", "print").request_key.unwrap()).await.unwrap();

    let both = [request("bob", "other"), request("ann", "print"), request("bob", "other")];
    let mut answers = Vec::new();
    for request in both {
        answers.push(other.append(request).await.unwrap());
    }
    let superseded = superseding(&first, by("eve", with_request_key("r-1", "print", append_request(1))));
    let third = recorded(log.append(superseded).await.unwrap());

    let second = recorded(answers[0].clone());
    assert_eq!((unknown, &answers[1]), (None, &AppendResult::Replayed(first.clone())));
    assert_eq!(answers[2], AppendResult::Replayed(second.clone()));
    for (caller, print, id) in [("ann", "print", first), ("bob", "other", second), ("eve", "print", third)] {
        assert_eq!(log.find_by_request(&request(caller, print).request_key.unwrap()).await.unwrap(), Some(id));
    }
    assert_eq!(verified(&log).await, 3);
}

pub(super) async fn callers_of_one_batch_do_not_share_ids(store: Arc<Database>) {
    let log = log(&store);
    let mut callers = JoinSet::new();
    for number in 0..64 {
        let (log, caller) = (Arc::clone(&log), format!("caller-{}", number % 4));
        let request = by(&caller, with_request_key("r-1", &caller, append_request(number)));
        callers.spawn(async move { log.append(request).await.unwrap() });
    }

    let answers = callers.join_all().await;

    assert_eq!(answers.iter().filter(|answer| matches!(answer, AppendResult::Recorded(_))).count(), 4);
    assert_eq!(answers.iter().map(id_of).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(verified(&log).await, 4);
}

pub(super) async fn concurrent_repeated_requests_record_once(store: Arc<Database>) {
    let writers = [log(&store), log(&store)];
    let mut callers = JoinSet::new();
    for number in 0..64 {
        let log = Arc::clone(&writers[usize::try_from(number % 2).unwrap()]);
        callers
            .spawn(async move { log.append(with_request_key("r-1", "print", append_request(number))).await.unwrap() });
    }

    let answers = callers.join_all().await;

    let ids: BTreeSet<DecisionId> = answers
        .iter()
        .map(|answer| match answer {
            AppendResult::Recorded(id) | AppendResult::Replayed(id) => id.clone(),
        })
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, AppendResult::Recorded(_))).count(), 1);
    assert_eq!(verified(&writers[0]).await, 1);
}

/// Makes a request supersede a decision.
fn superseding(id: &DecisionId, request: AppendRequest) -> AppendRequest {
    AppendRequest { supersedes: Some(id.clone()), ..request }
}

fn id_of(result: &AppendResult) -> DecisionId {
    match result {
        AppendResult::Recorded(id) | AppendResult::Replayed(id) => id.clone(),
    }
}

pub(super) async fn superseding_decision_takes_over_request(store: Arc<Database>) {
    let (log, other) = (log(&store), log(&store));
    let request = |number| with_request_key("r-1", "print", append_request(number));
    let first = recorded(log.append(request(1)).await.unwrap());

    let second = recorded(other.append(superseding(&first, request(2))).await.unwrap());

    assert_ne!(first, second);
    let key = request(1).request_key.unwrap();
    assert_eq!(log.find_by_request(&key).await.unwrap(), Some(second.clone()));
    assert_eq!(log.append(request(3)).await.unwrap(), AppendResult::Replayed(second));
    assert!(log.get(&first).await.is_ok(), "the superseded decision stays");
    assert_eq!(verified(&log).await, 2);
}

pub(super) async fn only_the_current_decision_is_superseded(store: Arc<Database>) {
    let log = log(&store);
    let request = |number| with_request_key("r-1", "print", append_request(number));
    let first = recorded(log.append(request(1)).await.unwrap());
    let second = recorded(log.append(superseding(&first, request(2))).await.unwrap());

    let late = log.append(superseding(&first, request(3))).await.unwrap();
    let reused = log.append(superseding(&second, with_request_key("r-1", "other", append_request(4)))).await;

    assert_eq!(late, AppendResult::Replayed(second));
    assert!(matches!(reused, Err(Error::RequestIdReused)), "{reused:?}");
    assert_eq!(verified(&log).await, 2);
}

pub(super) async fn concurrent_superseding_requests_record_once(store: Arc<Database>) {
    let writers = [log(&store), log(&store)];
    let request = |number| with_request_key("r-1", "print", append_request(number));
    let first = recorded(writers[0].append(request(0)).await.unwrap());
    let mut callers = JoinSet::new();
    for number in 1..=64 {
        let log = Arc::clone(&writers[usize::try_from(number % 2).unwrap()]);
        let append = superseding(&first, request(number));
        callers.spawn(async move { log.append(append).await.unwrap() });
    }

    let answers = callers.join_all().await;

    let ids: BTreeSet<DecisionId> = answers.iter().map(id_of).collect();
    assert!(ids.len() == 1 && !ids.contains(&first), "{ids:?}");
    assert_eq!(answers.iter().filter(|answer| matches!(answer, AppendResult::Recorded(_))).count(), 1);
    assert_eq!(verified(&writers[0]).await, 2);
}

pub(super) async fn request_is_forgotten_after_its_window(store: Arc<Database>) {
    let log = log(&store);
    let request = |window, number| {
        let mut request = with_request_key("r-1", "print", append_request(number));
        request.request_key.as_mut().unwrap().window = window;
        request
    };
    let first = recorded(log.append(request(SignedDuration::from_micros(1), 1)).await.unwrap());
    tokio::time::sleep(Duration::from_millis(1)).await;

    let key = request(SignedDuration::from_hours(1), 2).request_key.unwrap();
    let forgotten = log.find_by_request(&key).await.unwrap();
    let second = recorded(log.append(request(SignedDuration::from_hours(1), 2)).await.unwrap());

    assert_eq!(forgotten, None);
    assert_ne!(first, second);
    assert_eq!(log.find_by_request(&key).await.unwrap(), Some(second));
    assert_eq!(verified(&log).await, 2);
}
