//! The promises of every backend, one function each, over a new store. `requests` has those about idempotency keys.

mod bookmarks;
mod requests;
mod unreadable;

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use scangate_core::{Verdict, image::RepositoryName, name::PolicyId};
use scangate_server::{
    decision_log::{DecisionId, DecisionLog, Error, Filter, Listed, Page, sql::SqlDecisionLog},
    sql::Database,
};
use scangate_test_fixtures::{digest, noon};
use tokio::task::JoinSet;

use self::bookmarks::{
    bookmark_of_another_log_is_refused, bookmark_of_trimmed_decisions_is_refused,
    bookmark_resumes_without_gap_or_repetition, busy_writer_does_not_hide_others, read_from_returns_each_decision_once,
    reading_on_past_trimmed_decisions_is_refused,
};
use self::requests::{
    callers_of_one_batch_do_not_share_ids, concurrent_repeated_requests_record_once,
    concurrent_superseding_requests_record_once, equal_ids_of_callers_are_different_requests,
    only_the_current_decision_is_superseded, repeated_request_returns_first_decision,
    request_is_forgotten_after_its_window, superseding_decision_takes_over_request,
};
use self::unreadable::unreadable_decision_is_listed_in_part;
use crate::fixtures::{append_request, entry, prepared_record, recorded};

pub(crate) type Promise = fn(Arc<Database>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! promises {
    ($($promise:ident,)+) => {
        /// Every promise with its name.
        pub(crate) const PROMISES: &[(&str, Promise)] =
            &[$((stringify!($promise), |store| Box::pin($promise(store)))),+];
    };
}

promises! {
    appended_decision_reads_back_unchanged,
    unknown_decision_is_not_found,
    ids_stay_unique_and_consecutive_across_writers,
    thousand_concurrent_appends_are_all_recorded,
    list_returns_matching_decisions_newest_first,
    list_merges_writers_indexed_or_not,
    list_goes_on_over_quiet_times,
    later_appends_do_not_move_pages,
    indexing_does_not_move_pages,
    writer_continues_after_foreign_indexing,
    partly_trimmed_batch_stays_fully_indexed,
    repeated_request_returns_first_decision,
    equal_ids_of_callers_are_different_requests,
    callers_of_one_batch_do_not_share_ids,
    concurrent_repeated_requests_record_once,
    superseding_decision_takes_over_request,
    only_the_current_decision_is_superseded,
    concurrent_superseding_requests_record_once,
    request_is_forgotten_after_its_window,
    cancelled_append_leaves_whole_record_or_none,
    read_from_returns_each_decision_once,
    busy_writer_does_not_hide_others,
    reading_on_past_trimmed_decisions_is_refused,
    bookmark_resumes_without_gap_or_repetition,
    bookmark_of_trimmed_decisions_is_refused,
    bookmark_of_another_log_is_refused,
    shared_blobs_are_stored_once,
    trim_keeps_remaining_chain_verifiable,
    unreadable_decision_is_listed_in_part,
}

fn log(store: &Arc<Database>) -> Arc<SqlDecisionLog> {
    Arc::new(SqlDecisionLog::new(store))
}

async fn append_all(log: &Arc<SqlDecisionLog>, numbers: impl IntoIterator<Item = u64>) -> Vec<DecisionId> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(recorded(log.append(append_request(number)).await.unwrap()));
    }
    ids
}

async fn verified(log: &SqlDecisionLog) -> u64 {
    let report = log.verify().await.unwrap();
    assert_eq!(report.damage, Vec::<String>::new());
    report.decisions
}

fn numbers<'a>(listed: impl IntoIterator<Item = &'a Listed>) -> Vec<u64> {
    listed.into_iter().map(|listed| entry(listed).labels["number"].parse().unwrap()).collect()
}

fn page_numbers(page: &Page) -> Vec<u64> {
    numbers(page.decisions.iter().map(|(listed, _)| listed))
}

/// Indexes every recorded decision: a trim does so first, and removes nothing at the earliest instant.
async fn index(log: &SqlDecisionLog) {
    assert_eq!(log.trim(Timestamp::MIN).await.unwrap(), 0);
}

/// Lists all decisions that match a filter, in pages.
async fn pages(log: &SqlDecisionLog, filter: &Filter, size: usize) -> Vec<u64> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = log.list(filter, after.as_ref(), size).await.unwrap();
        seen.extend(page_numbers(&page));
        after = page.next;
        if after.is_none() {
            return seen;
        }
    }
}

async fn appended_decision_reads_back_unchanged(store: Arc<Database>) {
    let log = log(&store);
    let request = append_request(7);

    let id = recorded(log.append(request.clone()).await.unwrap());
    let read = log.get(&id).await.unwrap();

    assert_eq!((read.evaluate_time, &read.labels), (request.evaluate_time, &request.labels));
    assert_eq!(read.caller, request.caller);
    assert_eq!(read.record.keys, request.record.keys);
    let blobs = log.blobs(&[read.record.inputs, read.record.outcome]).await.unwrap();
    assert_eq!(blobs[&read.record.inputs].decode::<String>().unwrap(), "inputs 7");
    assert_eq!(verified(&log).await, 1);
}

async fn unknown_decision_is_not_found(store: Arc<Database>) {
    let log = log(&store);
    let id = append_all(&log, [1]).await.remove(0);

    for missing in [DecisionId { sequence: 2, ..id.clone() }, DecisionId { writer: "unknown".into(), ..id }] {
        assert!(matches!(log.get(&missing).await, Err(Error::NotFound(_))));
    }
}

async fn ids_stay_unique_and_consecutive_across_writers(store: Arc<Database>) {
    let writers = [log(&store), log(&store), log(&store)];
    let mut appending = JoinSet::new();
    for number in 0..300 {
        let log = Arc::clone(&writers[usize::try_from(number % 3).unwrap()]);
        appending.spawn(async move { recorded(log.append(append_request(number)).await.unwrap()) });
    }

    let ids: BTreeSet<DecisionId> = appending.join_all().await.into_iter().collect();

    assert_eq!(ids.len(), 300);
    for writer in ids.iter().map(|id| &id.writer).collect::<BTreeSet<_>>() {
        let sequences: Vec<u64> = ids.iter().filter(|id| id.writer == *writer).map(|id| id.sequence).collect();
        assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
    }
    assert_eq!(verified(&writers[0]).await, 300);
}

async fn thousand_concurrent_appends_are_all_recorded(store: Arc<Database>) {
    let log = log(&store);
    let mut callers = JoinSet::new();
    for number in 0..1024 {
        let log = Arc::clone(&log);
        callers.spawn(async move { recorded(log.append(append_request(number)).await.unwrap()) });
    }

    let ids = callers.join_all().await;

    for id in &ids {
        log.get(id).await.unwrap();
    }
    assert_eq!(verified(&log).await, 1024);
}

fn by_caller(name: &str) -> Filter {
    Filter { caller: Some(name.to_owned()), ..Filter::default() }
}

async fn list_returns_matching_decisions_newest_first(store: Arc<Database>) {
    let log = log(&store);
    append_all(&log, 0..30).await;
    let at = |seconds| Some(noon() + SignedDuration::from_secs(seconds));
    let cases = [
        (Filter::default(), (0..30).rev().collect::<Vec<u64>>()),
        (Filter { digest: Some(digest(7)), ..Filter::default() }, vec![7]),
        (Filter { verdicts: vec![Verdict::Deny], ..Filter::default() }, (0..30).rev().filter(|n| n % 3 == 0).collect()),
        (Filter { verdicts: vec![Verdict::Deny, Verdict::Allow], ..Filter::default() }, (0..30).rev().collect()),
        (
            Filter { repository: Some(RepositoryName::parse("team/even").unwrap()), ..Filter::default() },
            (0..30).rev().filter(|n| n % 2 == 0).collect(),
        ),
        (Filter { start: at(10), end: at(20), ..Filter::default() }, (10..20).rev().collect()),
        (by_caller("caller-1"), (0..30).rev().filter(|n| n % 2 == 1).collect()),
        (Filter { verdicts: vec![Verdict::Deny], ..by_caller("caller-1") }, vec![27, 21, 15, 9, 3]),
        (by_caller("caller"), Vec::new()),
        (Filter { repository: Some(RepositoryName::parse("team/none").unwrap()), ..Filter::default() }, Vec::new()),
        (
            Filter {
                repository: Some(RepositoryName::parse("team/even").unwrap()),
                verdicts: vec![Verdict::Deny],
                policy: Some(PolicyId::parse("default").unwrap()),
                start: at(6),
                ..Filter::default()
            },
            vec![24, 18, 12, 6],
        ),
        (Filter { digest: Some(digest(7)), verdicts: vec![Verdict::Deny], ..Filter::default() }, Vec::new()),
    ];

    for is_indexed in [false, true] {
        if is_indexed {
            index(&log).await;
        }
        for (filter, expected) in &cases {
            let page = log.list(filter, None, 100).await.unwrap();
            assert_eq!(page_numbers(&page), *expected, "{filter:?}, {is_indexed}");
            assert_eq!(page.next, None);
        }
    }
    assert_eq!(verified(&log).await, 30);
}

async fn list_merges_writers_indexed_or_not(store: Arc<Database>) {
    let (one, other) = (log(&store), log(&store));
    for number in 0..60 {
        append_all(if number % 2 == 0 { &one } else { &other }, [number]).await;
        if number == 29 {
            index(&one).await;
        }
    }
    let thirds = Filter { verdicts: vec![Verdict::Deny], ..Filter::default() };

    for is_indexed in [false, true] {
        if is_indexed {
            index(&other).await;
        }
        let all = pages(&one, &Filter::default(), 7).await;
        assert_eq!(all, (0..60).rev().collect::<Vec<u64>>(), "{is_indexed}");
        assert_eq!(pages(&one, &thirds, 4).await, (0..60).rev().filter(|number| number % 3 == 0).collect::<Vec<u64>>());
    }
}

/// Decisions with gaps of five minutes, longer than an index batch may span.
async fn list_goes_on_over_quiet_times(store: Arc<Database>) {
    let log = log(&store);
    let numbers = || (0..150_u64).map(|index| index / 2 * 300 + index % 2);
    append_all(&log, numbers()).await;
    let even = |number: &u64| number.is_multiple_of(2);

    for is_indexed in [false, true] {
        if is_indexed {
            index(&log).await;
        }
        let filter = Filter { repository: Some(RepositoryName::parse("team/even").unwrap()), ..Filter::default() };
        let listed = pages(&log, &filter, 1000).await;
        assert_eq!(listed, numbers().rev().filter(even).collect::<Vec<_>>(), "{is_indexed}");
        let first = Filter { digest: Some(digest(0)), ..Filter::default() };
        assert_eq!(pages(&log, &first, 10).await, [0], "{is_indexed}");
        assert_eq!(pages(&log, &Filter::default(), 7).await, numbers().rev().collect::<Vec<_>>(), "{is_indexed}");
    }
    assert_eq!(verified(&log).await, 150);
}

async fn indexing_does_not_move_pages(store: Arc<Database>) {
    let writers = [log(&store), log(&store)];
    let mut callers = JoinSet::new();
    for number in 0..200 {
        let log = Arc::clone(&writers[usize::try_from(number % 2).unwrap()]);
        callers.spawn(async move { log.append(append_request(number)).await.unwrap() });
    }
    callers.join_all().await;
    let before = pages(&writers[0], &Filter::default(), 1000).await;

    let (mut seen, mut after) = (Vec::new(), None);
    for page in 0.. {
        let listed = writers[0].list(&Filter::default(), after.as_ref(), 7).await.unwrap();
        seen.extend(page_numbers(&listed));
        if page % 3 == 1 {
            append_all(&writers[0], [1000 + page]).await;
            index(&writers[1]).await;
        }
        after = listed.next;
        if after.is_none() {
            break;
        }
    }

    assert_eq!(seen, before);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), (0..200).collect());
}

async fn writer_continues_after_foreign_indexing(store: Arc<Database>) {
    let (log, other) = (log(&store), log(&store));
    append_all(&log, 0..5).await;
    index(&other).await;
    append_all(&log, 5..10).await;
    log.close().await;

    let even = Filter { repository: Some(RepositoryName::parse("team/even").unwrap()), ..Filter::default() };
    assert_eq!(pages(&other, &even, 100).await, [8, 6, 4, 2, 0]);
    index(&other).await;
    assert_eq!(pages(&other, &even, 100).await, [8, 6, 4, 2, 0]);
    assert_eq!(verified(&other).await, 10);
}

async fn partly_trimmed_batch_stays_fully_indexed(store: Arc<Database>) {
    let log = log(&store);
    append_all(&log, 0..40).await;
    index(&log).await;

    for cut in [5, 17, 18, 31] {
        log.trim(noon() + SignedDuration::from_secs(cut)).await.unwrap();

        let from = u64::try_from(cut).unwrap();
        for (repository, rest) in [("team/even", 0), ("team/odd", 1)] {
            let filter = Filter { repository: Some(RepositoryName::parse(repository).unwrap()), ..Filter::default() };
            let expected: Vec<u64> = (from..40).rev().filter(|number| number % 2 == rest).collect();
            assert_eq!(pages(&log, &filter, 3).await, expected, "{cut}");
        }
        assert_eq!(verified(&log).await, 40 - from);
    }
}

async fn later_appends_do_not_move_pages(store: Arc<Database>) {
    let log = log(&store);
    let mut callers = JoinSet::new();
    // Concurrently, so that pages end within segments.
    for number in 0..100 {
        let log = Arc::clone(&log);
        callers.spawn(async move { log.append(append_request(number)).await.unwrap() });
    }
    callers.join_all().await;

    let (mut seen, mut after) = (Vec::new(), None);
    for later in 0.. {
        let page = log.list(&Filter::default(), after.as_ref(), 7).await.unwrap();
        seen.extend(page_numbers(&page));
        append_all(&log, [1000 + later]).await;
        after = page.next;
        if after.is_none() {
            break;
        }
    }

    assert_eq!(seen.len(), 100);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), (0..100).collect());
}

async fn cancelled_append_leaves_whole_record_or_none(store: Arc<Database>) {
    let log = log(&store);
    for number in 0..50 {
        tokio::select! {
            biased;
            appended = log.append(append_request(number)) => drop(appended.unwrap()),
            () = async { for _ in 0..number { tokio::task::yield_now().await; } } => {}
        }
    }

    append_all(&log, [99]).await;

    assert!(verified(&log).await <= 51);
}

async fn shared_blobs_are_stored_once(store: Arc<Database>) {
    let (log, other) = (log(&store), log(&store));
    for _ in 0..20 {
        append_all(&log, [4]).await;
        append_all(&other, [4]).await;
    }

    let report = log.verify().await.unwrap();

    assert_eq!((report.decisions, report.blobs, report.damage), (40, 3, Vec::new()));
}

async fn trim_keeps_remaining_chain_verifiable(store: Arc<Database>) {
    let log = log(&store);
    let ids = append_all(&log, 0..20).await;

    let removed = log.trim(noon() + SignedDuration::from_secs(10)).await.unwrap();

    assert_eq!(removed, 10);
    assert_eq!(verified(&log).await, 10);
    assert!(matches!(log.get(&ids[9]).await, Err(Error::NotFound(_))));
    assert_eq!(log.get(&ids[10]).await.unwrap().labels["number"], "10");
    append_all(&log, [4]).await;
    assert_eq!(verified(&log).await, 11);
    assert_eq!(log.trim(noon() + SignedDuration::from_secs(10)).await.unwrap(), 0);
    let last = prepared_record(4, Verdict::Allow);
    assert_eq!(log.blobs(&[last.blob.hash()]).await.unwrap().len(), 1);
}
