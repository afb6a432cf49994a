//! Reading on from a position. Bookmarks: a reader that comes back gets exactly the decisions after the ones that it read.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use scangate_server::{
    decision_log::{Bookmark, Cursors, DecisionLog, Error, sql::SqlDecisionLog},
    sql::Database,
};
use scangate_test_fixtures::noon;

use super::{append_all, log, numbers};
use crate::fixtures::append_request;

/// Reads up to the end, a few decisions at a time, and takes a bookmark after every single one.
async fn read_all(log: &SqlDecisionLog, mut cursors: Cursors, now: Timestamp) -> Vec<(u64, Bookmark)> {
    let mut read = Vec::new();
    loop {
        let mut progress = cursors.clone();
        let entries = log.read_from(&mut cursors, 3).await.unwrap();
        if entries.is_empty() {
            return read;
        }
        progress.look_ahead(&cursors);
        for entry in entries {
            progress.advance(entry.id());
            read.push((numbers(std::slice::from_ref(&entry))[0], progress.bookmark(now)));
        }
    }
}

pub(super) async fn read_from_returns_each_decision_once(store: Arc<Database>) {
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

pub(super) async fn busy_writer_does_not_hide_others(store: Arc<Database>) {
    let mut writers = [(log(&store), 0), (log(&store), 1)];
    let mut names = Vec::new();
    for (log, number) in &writers {
        names.push(append_all(log, [*number]).await.remove(0).writer);
    }
    if names[1] < names[0] {
        writers.reverse();
    }
    let [(busy, _), (quiet, _)] = writers;
    let mut followed = busy.tail_positions().await.unwrap();
    append_all(&busy, 2..10).await;
    append_all(&quiet, [100]).await;

    let mut seen = numbers(&busy.read_from(&mut followed, 4).await.unwrap());
    append_all(&busy, 10..20).await;
    seen.extend(numbers(&busy.read_from(&mut followed, 4).await.unwrap()));

    assert_eq!(seen.len(), 8);
    assert!(seen.contains(&100), "{seen:?}");
    assert!(followed.has_unread());
}

pub(super) async fn reading_on_past_trimmed_decisions_is_refused(store: Arc<Database>) {
    let log = log(&store);
    let mut followed = log.tail_positions().await.unwrap();
    append_all(&log, 0..6).await;
    let trim = async |second| log.trim(noon() + SignedDuration::from_secs(second)).await.unwrap();

    let first = log.read_from(&mut followed, 2).await.unwrap();
    trim(2).await;
    let next = log.read_from(&mut followed, 2).await.unwrap();
    trim(5).await;
    let missed = log.read_from(&mut followed, 2).await;

    assert_eq!((numbers(&first), numbers(&next)), (vec![0, 1], vec![2, 3]));
    assert!(matches!(missed, Err(Error::Trimmed)), "{missed:?}");
}

pub(super) async fn bookmark_resumes_without_gap_or_repetition(store: Arc<Database>) {
    let (old, one, other) = (log(&store), log(&store), log(&store));
    let start = one.tail_positions().await.unwrap();
    append_all(&old, [1, 2]).await;
    append_all(&one, 3..8).await;
    append_all(&other, 8..12).await;
    // A day later, only the readers of unfinished chains list them.
    for now in [noon(), noon() + SignedDuration::from_hours(25)] {
        let read = read_all(&one, start.clone(), now).await;
        let order: Vec<u64> = read.iter().map(|(number, _)| *number).collect();
        assert_eq!(order.len(), 11);

        for (seen, (number, bookmark)) in read.iter().enumerate() {
            let resumed = one.resume(bookmark).await.unwrap();
            let mut rest: Vec<u64> = read_all(&one, resumed, now).await.into_iter().map(|(number, _)| number).collect();
            let mut expected = order[seen + 1..].to_vec();
            // The chains take turns from another one on; each keeps its own order.
            let chain = |number: &u64| [1..3, 3..8, 8..12].iter().position(|numbers| numbers.contains(number));
            rest.sort_by_key(chain);
            expected.sort_by_key(chain);

            assert_eq!(rest, expected, "after {number}: {bookmark:?}");
        }
    }

    let now = noon() + SignedDuration::from_hours(25);
    let (_, last) = read_all(&one, start, now).await.pop().unwrap();
    assert_eq!(last.chains, BTreeMap::new(), "chains that are read for a day are listed");
    let mut late = append_request(12);
    late.evaluate_time = now;
    one.append(late).await.unwrap();
    let resumed = one.resume(&last).await.unwrap();
    let rest: Vec<u64> = read_all(&one, resumed, now).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(rest, [12]);
}

pub(super) async fn bookmark_of_trimmed_decisions_is_refused(store: Arc<Database>) {
    let log = log(&store);
    let start = log.tail_positions().await.unwrap();
    append_all(&log, 0..6).await;
    let bookmarks = read_all(&log, start.clone(), noon()).await;
    log.trim(noon() + SignedDuration::from_secs(3)).await.unwrap();

    for (number, bookmark) in bookmarks {
        let resumed = log.resume(&bookmark).await;

        // Decisions 0, 1 and 2 are gone: a reader that has not seen them has missed them.
        assert_eq!(matches!(resumed, Err(Error::Trimmed)), number < 2, "{number}: {resumed:?}");
    }
    let empty = start.bookmark(noon());
    assert!(matches!(log.resume(&empty).await, Err(Error::Trimmed)));
}

pub(super) async fn bookmark_of_another_log_is_refused(store: Arc<Database>) {
    let log = log(&store);
    let id = append_all(&log, 0..3).await.remove(2);

    for (writer, sequence) in [("elsewhere1", 1), (&*id.writer, 4)] {
        let chains = BTreeMap::from([(Arc::from(writer), sequence)]);
        let bookmark = Bookmark { settled: noon().as_microsecond(), chains };

        assert!(matches!(log.resume(&bookmark).await, Err(Error::OtherLog)), "{writer}");
    }
}
