//! What every backend promises, a function each, over a store that nobody has written to.

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use scangate_core::{Verdict, glob::Glob, image::RepositoryName, name::Environment, waiver::Scope};
use scangate_server::{
    decision_log::sql::SqlDecisionLog,
    decision_log::{AppendResult, DecisionId, DecisionLog, Entry, Error, Filter},
    observations::{Observations as _, SeenFinding, sql::SqlObservations},
    sql::Database,
};
use tokio::task::JoinSet;

use crate::fixtures::{case, digest, noon, record, recorded, repository, requested};

pub(crate) type Promise = fn(Arc<Database>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! promises {
    ($($promise:ident,)+) => {
        /// Every promise, by its name.
        pub(crate) const PROMISES: &[(&str, Promise)] =
            &[$((stringify!($promise), |store| Box::pin($promise(store)))),+];
    };
}

promises! {
    a_decision_comes_back_as_it_was_recorded,
    a_decision_that_was_never_made_is_not_found,
    names_are_unique_and_count_on_across_writers,
    a_thousand_callers_at_once_are_all_recorded_in_few_batches,
    decisions_are_listed_newest_first_and_only_those_asked_for,
    decisions_of_several_writers_are_listed_newest_first_indexed_or_not,
    pages_are_not_moved_by_later_decisions,
    pages_are_not_moved_when_decisions_are_indexed,
    a_writer_goes_on_after_somebody_else_has_indexed_its_decisions,
    what_is_left_of_a_chapter_is_found_by_all_that_it_is_about,
    a_request_sent_again_gets_the_decision_that_it_got,
    a_request_sent_many_times_at_once_is_recorded_once,
    a_caller_that_gives_up_leaves_a_whole_record_or_none,
    whoever_follows_sees_each_decision_once,
    what_decisions_rest_on_is_kept_once,
    retention_keeps_the_rest_provable_and_what_it_rests_on,
    a_clock_begins_once_and_never_again,
    what_was_allowed_is_remembered_of_the_environment_that_it_was_allowed_into,
    a_waiver_that_matches_nothing_is_told_from_one_that_does,
}

fn log(store: &Arc<Database>) -> Arc<SqlDecisionLog> {
    Arc::new(SqlDecisionLog::new(store))
}

async fn append_all(log: &Arc<SqlDecisionLog>, numbers: impl IntoIterator<Item = u64>) -> Vec<DecisionId> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(recorded(log.append(record(number)).await.unwrap()));
    }
    ids
}

async fn verified(log: &SqlDecisionLog) -> u64 {
    let report = log.verify().await.unwrap();
    assert_eq!(report.damage, Vec::<String>::new());
    report.decisions
}

fn numbers(recorded: &[Entry]) -> Vec<u64> {
    recorded.iter().map(|recorded| recorded.labels["number"].parse().unwrap()).collect()
}

/// Has everything indexed that is recorded: nothing is from before all time.
async fn index(log: &SqlDecisionLog) {
    assert_eq!(log.trim(Timestamp::MIN).await.unwrap(), 0);
}

/// All that a filter admits, in pages of that size.
async fn pages(log: &SqlDecisionLog, filter: &Filter, size: usize) -> Vec<u64> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = log.list(filter, after.as_ref(), size).await.unwrap();
        seen.extend(numbers(&page.decisions));
        after = page.next;
        if after.is_none() {
            return seen;
        }
    }
}

async fn a_decision_comes_back_as_it_was_recorded(store: Arc<Database>) {
    let log = log(&store);
    let given = record(7);

    let id = recorded(log.append(given.clone()).await.unwrap());
    let read = log.get(&id).await.unwrap();

    assert_eq!((read.evaluated_at, &read.labels), (given.evaluated_at, &given.labels));
    assert_eq!(read.case.keys, given.case.keys);
    let blobs = log.blobs(&[read.case.inputs, read.case.outcome]).await.unwrap();
    assert_eq!(blobs[&read.case.inputs].read::<String>().unwrap(), "inputs 7");
    assert_eq!(verified(&log).await, 1);
}

async fn a_decision_that_was_never_made_is_not_found(store: Arc<Database>) {
    let log = log(&store);
    let id = append_all(&log, [1]).await.remove(0);

    for missing in [DecisionId { sequence: 2, ..id.clone() }, DecisionId { writer: "nobody".into(), ..id }] {
        assert!(matches!(log.get(&missing).await, Err(Error::NotFound(_))));
    }
}

async fn names_are_unique_and_count_on_across_writers(store: Arc<Database>) {
    let writers = [log(&store), log(&store), log(&store)];
    let mut appending = JoinSet::new();
    for number in 0..300 {
        let log = Arc::clone(&writers[usize::try_from(number % 3).unwrap()]);
        appending.spawn(async move { recorded(log.append(record(number)).await.unwrap()) });
    }

    let ids: BTreeSet<DecisionId> = appending.join_all().await.into_iter().collect();

    assert_eq!(ids.len(), 300);
    for writer in ids.iter().map(|id| &id.writer).collect::<BTreeSet<_>>() {
        let sequences: Vec<u64> = ids.iter().filter(|id| id.writer == *writer).map(|id| id.sequence).collect();
        assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
    }
    assert_eq!(verified(&writers[0]).await, 300);
}

async fn a_thousand_callers_at_once_are_all_recorded_in_few_batches(store: Arc<Database>) {
    let log = log(&store);
    let mut callers = JoinSet::new();
    for number in 0..1024 {
        let log = Arc::clone(&log);
        callers.spawn(async move { recorded(log.append(record(number)).await.unwrap()) });
    }

    let ids = callers.join_all().await;

    for id in &ids {
        log.get(id).await.unwrap();
    }
    assert_eq!(verified(&log).await, 1024);
}

async fn decisions_are_listed_newest_first_and_only_those_asked_for(store: Arc<Database>) {
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
        (Filter { repository: Some(RepositoryName::parse("team/none").unwrap()), ..Filter::default() }, Vec::new()),
    ];

    for is_indexed in [false, true] {
        if is_indexed {
            index(&log).await;
        }
        for (filter, expected) in &cases {
            let page = log.list(filter, None, 100).await.unwrap();
            assert_eq!(numbers(&page.decisions), *expected, "{filter:?}, {is_indexed}");
            assert_eq!(page.next, None);
        }
    }
    assert_eq!(verified(&log).await, 30);
}

async fn decisions_of_several_writers_are_listed_newest_first_indexed_or_not(store: Arc<Database>) {
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

async fn pages_are_not_moved_when_decisions_are_indexed(store: Arc<Database>) {
    let writers = [log(&store), log(&store)];
    let mut callers = JoinSet::new();
    for number in 0..200 {
        let log = Arc::clone(&writers[usize::try_from(number % 2).unwrap()]);
        callers.spawn(async move { log.append(record(number)).await.unwrap() });
    }
    callers.join_all().await;
    let before = pages(&writers[0], &Filter::default(), 1000).await;

    let (mut seen, mut after) = (Vec::new(), None);
    for page in 0.. {
        let listed = writers[0].list(&Filter::default(), after.as_ref(), 7).await.unwrap();
        seen.extend(numbers(&listed.decisions));
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

async fn a_writer_goes_on_after_somebody_else_has_indexed_its_decisions(store: Arc<Database>) {
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

async fn what_is_left_of_a_chapter_is_found_by_all_that_it_is_about(store: Arc<Database>) {
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

async fn pages_are_not_moved_by_later_decisions(store: Arc<Database>) {
    let log = log(&store);
    let mut callers = JoinSet::new();
    // At once, so that pages end within batches.
    for number in 0..100 {
        let log = Arc::clone(&log);
        callers.spawn(async move { log.append(record(number)).await.unwrap() });
    }
    callers.join_all().await;

    let (mut seen, mut after) = (Vec::new(), None);
    for later in 0.. {
        let page = log.list(&Filter::default(), after.as_ref(), 7).await.unwrap();
        seen.extend(numbers(&page.decisions));
        append_all(&log, [1000 + later]).await;
        after = page.next;
        if after.is_none() {
            break;
        }
    }

    assert_eq!(seen.len(), 100);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), (0..100).collect());
}

async fn a_request_sent_again_gets_the_decision_that_it_got(store: Arc<Database>) {
    let (log, other) = (log(&store), log(&store));
    let id = recorded(log.append(requested("r-1", "print", record(1))).await.unwrap());

    let again = other.append(requested("r-1", "print", record(2))).await.unwrap();
    let reused = other.append(requested("r-1", "other", record(2))).await;

    assert_eq!(again, AppendResult::Replayed(id.clone()));
    assert!(matches!(reused, Err(Error::RequestIdReused)), "{reused:?}");
    let asked = requested("r-1", "print", record(1)).request.unwrap();
    assert_eq!(other.answered(&asked).await.unwrap(), Some(id));
    assert_eq!(verified(&log).await, 1);
}

async fn a_request_sent_many_times_at_once_is_recorded_once(store: Arc<Database>) {
    let writers = [log(&store), log(&store)];
    let mut callers = JoinSet::new();
    for number in 0..64 {
        let log = Arc::clone(&writers[usize::try_from(number % 2).unwrap()]);
        callers.spawn(async move { log.append(requested("r-1", "print", record(number))).await.unwrap() });
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

async fn a_caller_that_gives_up_leaves_a_whole_record_or_none(store: Arc<Database>) {
    let log = log(&store);
    for number in 0..50 {
        tokio::select! {
            biased;
            appended = log.append(record(number)) => drop(appended.unwrap()),
            () = async { for _ in 0..number { tokio::task::yield_now().await; } } => {}
        }
    }

    append_all(&log, [99]).await;

    assert!(verified(&log).await <= 51);
}

async fn whoever_follows_sees_each_decision_once(store: Arc<Database>) {
    let (one, other) = (log(&store), log(&store));
    append_all(&one, [1]).await;
    let mut followed = one.tail_positions().await.unwrap();

    let mut seen = Vec::new();
    for number in 2..40 {
        append_all(if number % 2 == 0 { &one } else { &other }, [number]).await;
        if number % 5 == 0 {
            seen.extend(numbers(&one.read_from(&mut followed, 3).await.unwrap()));
        }
    }
    loop {
        let more = one.read_from(&mut followed, 3).await.unwrap();
        if more.is_empty() {
            break;
        }
        seen.extend(numbers(&more));
    }

    seen.sort_unstable();
    assert_eq!(seen, (2..40).collect::<Vec<_>>());
}

async fn what_decisions_rest_on_is_kept_once(store: Arc<Database>) {
    let (log, other) = (log(&store), log(&store));
    for _ in 0..20 {
        append_all(&log, [4]).await;
        append_all(&other, [4]).await;
    }

    let report = log.verify().await.unwrap();

    assert_eq!((report.decisions, report.blobs, report.damage), (40, 3, Vec::new()));
}

async fn retention_keeps_the_rest_provable_and_what_it_rests_on(store: Arc<Database>) {
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
    let last = case(4, Verdict::Allow);
    assert_eq!(log.blobs(&[last.case.hash()]).await.unwrap().len(), 1);
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).unwrap()
}

fn met(vulnerability: &str, package: &str, fix_seen: bool) -> SeenFinding {
    SeenFinding { vulnerability: vulnerability.into(), package: package.into(), fix_seen }
}

async fn a_clock_begins_once_and_never_again(store: Arc<Database>) {
    let store = SqlObservations::new(&store);
    let here = repository("team/app");
    let many: Vec<SeenFinding> = (0..2000).map(|number| met(&format!("CVE-{number}"), "openssl", false)).collect();
    let later = noon() + SignedDuration::from_hours(1);

    let first = store.observe(&here, None, &many, noon()).await.unwrap();
    let again =
        store.observe(&here, None, &[met("CVE-7", "openssl", true), met("CVE-7", "zlib", false)], later).await.unwrap();
    let elsewhere =
        store.observe(&repository("team/other"), None, &[met("CVE-7", "openssl", false)], later).await.unwrap();

    let clocks: Vec<(Arc<str>, Arc<str>, scangate_core::first_seen::FirstSeen)> = first.into();
    assert_eq!(clocks.len(), 2000);
    assert!(
        clocks.iter().all(|(_, _, clock)| clock.first_observed_at == Some(noon()) && clock.fix_first_seen_at.is_none())
    );
    let clocks: Vec<(Arc<str>, Arc<str>, scangate_core::first_seen::FirstSeen)> = again.into();
    let told: Vec<_> = clocks
        .iter()
        .map(|(_, package, clock)| (&**package, clock.first_observed_at, clock.fix_first_seen_at))
        .collect();
    assert_eq!(told, [("openssl", Some(noon()), Some(later)), ("zlib", Some(later), None)]);
    let clocks: Vec<(Arc<str>, Arc<str>, scangate_core::first_seen::FirstSeen)> = elsewhere.into();
    assert_eq!(clocks[0].2.first_observed_at, Some(later));
}

async fn what_was_allowed_is_remembered_of_the_environment_that_it_was_allowed_into(store: Arc<Database>) {
    let store = SqlObservations::new(&store);
    let here = repository("team/app");
    let (production, staging) = (environment("production"), environment("staging"));
    let later = noon() + SignedDuration::from_hours(1);
    store.observe(&here, None, &[met("CVE-1", "openssl", false)], noon()).await.unwrap();

    let found = [met("CVE-1", "openssl", false)];
    store.admit(&here, Some(&production), &found, later).await.unwrap();
    store.admit(&here, Some(&production), &found, later + SignedDuration::from_hours(1)).await.unwrap();

    for (environment, expected) in [(Some(&production), Some(later)), (Some(&staging), None), (None, None)] {
        let clocks = store.observe(&here, environment, &found, later).await.unwrap();
        let clocks: Vec<(Arc<str>, Arc<str>, scangate_core::first_seen::FirstSeen)> = clocks.into();
        assert_eq!((clocks[0].2.first_observed_at, clocks[0].2.first_admitted_at), (Some(noon()), expected));
    }
}

async fn a_waiver_that_matches_nothing_is_told_from_one_that_does(store: Arc<Database>) {
    let store = SqlObservations::new(&store);
    store.observe(&repository("team/app"), None, &[met("CVE-2021-44228", "log4j-core", false)], noon()).await.unwrap();
    let glob = |pattern| Glob::parse(pattern).unwrap();
    let scope = |vulnerability, package: Option<&str>, repository: Option<&str>| Scope {
        vulnerability: glob(vulnerability),
        package: package.map(|package| Glob::parse(package).unwrap()),
        repository: repository.map(|repository| Glob::parse(repository).unwrap()),
        digest: None,
        environment: None,
        platform: None,
    };

    for (scope, expected) in [
        (scope("CVE-2021-44228", None, None), true),
        (scope("CVE-2021-*", Some("log4j*"), Some("team/*")), true),
        (scope("*", None, None), true),
        (scope("CVE-2021-44229", None, None), false),
        (scope("CVE-2021-44228", Some("zlib"), None), false),
        (scope("CVE-2021-44228", None, Some("other/*")), false),
        (scope("GHSA-*", None, None), false),
    ] {
        assert_eq!(store.was_seen(&scope).await.unwrap(), expected, "{scope:?}");
    }
}
