//! Concurrent and cancelled calls.

use std::{collections::BTreeSet, sync::Arc};

use scangate_core::policy::PolicySet;
use scangate_server::policy_store::{Error, PolicyStore, Precondition, Write, WriteResult, apply_changes};
use tokio::task::JoinSet;

use crate::fixtures::{LoadSnapshot as _, create, requested, update};

const MANY: u64 = 64;

pub(super) async fn concurrent_writes_at_one_revision_one_wins(store: Arc<dyn PolicyStore>) {
    let outcomes = at_once(&store, (0..MANY).map(|_| update("default", Precondition::Revision(1)))).await;

    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|lost| matches!(lost, Err(Error::Conflict { actual: 2, .. }))), "{lost:?}");
    assert_eq!(store.load_snapshot().await.unwrap().revision, 2);
}

pub(super) async fn concurrent_creates_get_distinct_revisions(store: Arc<dyn PolicyStore>) {
    let outcomes = at_once(&store, (0..MANY).map(|number| create(&format!("policy-{number}")))).await;

    let revisions: BTreeSet<u64> = outcomes.into_iter().map(|written| written.unwrap().revision).collect();
    assert_eq!(revisions, (2..2 + MANY).collect());
    assert_eq!(store.load_snapshot().await.unwrap().policies.len() as u64, 1 + MANY);
}

pub(super) async fn concurrent_repeated_requests_act_once(store: Arc<dyn PolicyStore>) {
    let outcomes = at_once(&store, (0..MANY).map(|_| requested("id", "print", create("team")))).await;

    let revisions: BTreeSet<u64> = outcomes.into_iter().map(|written| written.unwrap().revision).collect();
    assert_eq!(revisions, BTreeSet::from([2]));
    assert_eq!(store.load_snapshot().await.unwrap().revision, 2);
}

pub(super) async fn load_during_writes_sees_one_revision(store: Arc<dyn PolicyStore>) {
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            at_once(&store, (0..MANY).map(|number| create(&format!("policy-{number}")))).await;
        })
    };

    let mut loads = 0;
    while !writing.is_finished() || loads == 0 {
        assert_whole(&store.load_snapshot().await.unwrap());
        loads += 1;
    }

    writing.await.unwrap();
    assert_eq!(store.load_snapshot().await.unwrap().revision, 1 + MANY);
}

pub(super) async fn changes_during_writes_are_complete_and_ordered(store: Arc<dyn PolicyStore>) {
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            at_once(&store, (0..MANY).map(|number| create(&format!("policy-{number}")))).await;
        })
    };

    let mut set = PolicySet::default();
    let mut seen = Vec::new();
    while set.revision < 1 + MANY {
        let changes = store.changes(Some(set.revision)).await.unwrap();
        seen.extend(changes.entries.iter().map(|entry| entry.revision));
        apply_changes(&mut set, changes);
    }

    writing.await.unwrap();
    assert_eq!(seen, (1..=1 + MANY).collect::<Vec<_>>());
    assert_eq!(set, store.load_snapshot().await.unwrap());
}

pub(super) async fn cancelled_write_leaves_all_or_nothing(store: Arc<dyn PolicyStore>) {
    for yields in 0..MANY {
        let name = format!("policy-{yields}");
        tokio::select! {
            biased;
            written = store.apply(create(&name)) => drop(written.unwrap()),
            () = yield_times(yields) => {}
        }
        tokio::select! {
            biased;
            set = store.load_snapshot() => assert_whole(&set.unwrap()),
            () = yield_times(yields) => {}
        }
    }

    store.apply(create("afterwards")).await.unwrap();
    assert_whole(&store.load_snapshot().await.unwrap());
}

/// Asserts that a store with creates only has one policy per revision.
fn assert_whole(set: &PolicySet) {
    let revisions: BTreeSet<u64> = set.policies.values().map(|revised| revised.revision).collect();
    assert_eq!(revisions, (1..=set.revision).collect());
    assert_eq!(set.policies.len() as u64, set.revision);
}

async fn at_once(store: &Arc<dyn PolicyStore>, writes: impl Iterator<Item = Write>) -> Vec<Result<WriteResult, Error>> {
    let mut callers = JoinSet::new();
    for write in writes {
        let store = Arc::clone(store);
        callers.spawn(async move { store.apply(write).await });
    }
    callers.join_all().await
}

/// Lets the other tasks run this many times.
async fn yield_times(count: u64) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}
