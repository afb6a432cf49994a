//! Damage in the log makes what it hits unreadable. It hides no other decision from reads, lists, watches and the index.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use scangate_core::{Verdict, image::RepositoryName};
use scangate_server::{
    decision_log::{Cursors, DecisionId, DecisionLog as _, Error, Filter, Listed, sql::SqlDecisionLog},
    sql::{Address, Database},
};
use scangate_test_fixtures::noon;
use tempfile::TempDir;

use crate::fixtures::{append_request, recorded, rewrite_segment};

/// The number of decisions, each in a segment of its own, before a segment of two.
const COUNT: u64 = 6;

/// A log of eight decisions in a file, and the operator's shell.
struct Damaged {
    database: Arc<Database>,
    log: SqlDecisionLog,
    shell: Connection,
    ids: Vec<DecisionId>,
    _directory: TempDir,
}

impl Damaged {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("scangate.db");
        let database = Database::open(&Address::File(path.clone())).await.unwrap();
        let log = SqlDecisionLog::new(&database);
        let mut ids = Vec::new();
        for number in 0..COUNT {
            ids.push(recorded(log.append(append_request(number)).await.unwrap()));
        }
        let (one, other) = tokio::join!(log.append(append_request(COUNT)), log.append(append_request(COUNT + 1)));
        ids.extend([recorded(one.unwrap()), recorded(other.unwrap())]);
        let shell = Connection::open(&path).unwrap();
        Self { database, log, shell, ids, _directory: directory }
    }

    fn damage(&self, sql: &str) {
        assert!(self.shell.execute(sql, []).unwrap() > 0, "{sql} changes nothing");
    }

    /// Indexes the tail from what is stored: a trim does so first, and removes nothing at the earliest instant.
    async fn index(&self) {
        assert_eq!(self.log.trim(Timestamp::MIN).await.unwrap(), 0);
    }

    async fn list(&self, filter: &Filter) -> Vec<Listed> {
        let page = self.log.list(filter, None, 100).await.unwrap();
        page.decisions.into_iter().map(|(listed, _)| listed).collect()
    }

    async fn watch(&self) -> Vec<Listed> {
        let (mut cursors, mut seen) = (Cursors::default(), Vec::new());
        loop {
            let more = self.log.read_from(&mut cursors, 3).await.unwrap();
            if more.is_empty() {
                return seen;
            }
            seen.extend(more);
        }
    }

    /// Checks that exactly these decisions are listed, of which some are unreadable. They are numbered from 0.
    #[track_caller]
    fn check(&self, listed: &[Listed], expected: &[usize], unreadable: &[usize]) {
        let id = |number: &usize| &self.ids[*number];
        let found: Vec<&DecisionId> = listed.iter().map(Listed::id).collect();
        assert_eq!(found, expected.iter().map(id).collect::<Vec<_>>());
        let damaged = listed.iter().filter(|listed| matches!(listed, Listed::Unreadable(_)));
        let damaged: BTreeSet<&DecisionId> = damaged.map(Listed::id).collect();
        assert_eq!(damaged, unreadable.iter().map(id).collect::<BTreeSet<_>>());
    }
}

fn of_repository(name: &str) -> Filter {
    Filter { repository: Some(RepositoryName::parse(name).unwrap()), ..Filter::default() }
}

#[tokio::test]
async fn damaged_segment_hides_no_other() {
    for body in ["x'00ff'", "x''", "(select body from decision_segments where first_sequence = 7)"] {
        for is_indexed in [false, true] {
            let log = Damaged::new().await;
            if is_indexed {
                log.index().await;
            }

            log.damage(&format!("update decision_segments set body = {body} where first_sequence = 3"));

            log.check(&log.list(&Filter::default()).await, &[7, 6, 5, 4, 3, 2, 1, 0], &[2]);
            log.check(&log.list(&of_repository("team/even")).await, &[6, 4, 2, 0], &[2]);
            log.check(&log.watch().await, &[0, 1, 2, 3, 4, 5, 6, 7], &[2]);
            let read = log.log.get(&log.ids[2]).await;
            assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
            assert!(log.log.get(&log.ids[3]).await.is_ok());
        }
    }
}

#[tokio::test]
async fn all_decisions_of_damaged_segment_are_listed() {
    let log = Damaged::new().await;

    log.damage("update decision_segments set body = x'00ff' where first_sequence = 7");

    log.check(&log.list(&of_repository("team/odd")).await, &[7, 6, 5, 3, 1], &[6, 7]);
    log.check(&log.watch().await, &[0, 1, 2, 3, 4, 5, 6, 7], &[6, 7]);
}

#[tokio::test]
async fn damage_before_indexing_matches_every_filter() {
    for sql in [
        "update decision_segments set body = x'00ff' where first_sequence = 3",
        "update decision_blobs set body = x'00ff' where hash = (
             select hash from decision_blobs where is_case = 1 order by rowid limit 1 offset 2)",
        "delete from decision_blobs where hash = (
             select hash from decision_blobs where is_case = 1 order by rowid limit 1 offset 2)",
    ] {
        let log = Damaged::new().await;
        log.damage(sql);

        log.index().await;

        let none = Filter { verdicts: vec![Verdict::Indeterminate], ..of_repository("team/none") };
        log.check(&log.list(&none).await, &[2], &[2]);
        log.check(&log.list(&of_repository("team/even")).await, &[6, 4, 2, 0], &[2]);
        log.check(&log.list(&Filter::default()).await, &[7, 6, 5, 4, 3, 2, 1, 0], &[2]);
    }
}

#[tokio::test]
async fn unreadable_caller_matches_every_caller() {
    for is_indexed in [false, true] {
        let log = Damaged::new().await;
        rewrite_segment(&log.shell, 3, r#""caller":"caller-0""#, r#""caller":7"#);
        if is_indexed {
            log.index().await;
        }

        let listed = log.list(&Filter { caller: Some("caller-1".to_owned()), ..Filter::default() }).await;

        log.check(&listed, &[7, 5, 3, 2, 1], &[2]);
        log.check(&log.list(&Filter::default()).await, &[7, 6, 5, 4, 3, 2, 1, 0], &[2]);
        log.check(&log.watch().await, &[0, 1, 2, 3, 4, 5, 6, 7], &[2]);
    }
}

#[tokio::test]
async fn missing_segment_hides_no_other() {
    for is_indexed in [false, true] {
        let log = Damaged::new().await;
        if is_indexed {
            log.index().await;
        }

        log.damage("delete from decision_segments where first_sequence in (3, 7)");

        log.index().await;
        log.check(&log.list(&of_repository("team/even")).await, &[4, 0], &[]);
        log.check(&log.list(&of_repository("team/odd")).await, &[5, 3, 1], &[]);
        log.check(&log.watch().await, &[0, 1, 2, 3, 4, 5, 6, 7], &[2, 6, 7]);
        let read = log.log.get(&log.ids[2]).await;
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    }
}

#[tokio::test]
async fn damaged_hash_stops_no_reader() {
    let log = Damaged::new().await;
    log.damage("update decision_writers set hash = x'00'");
    log.damage("update decision_segments set hash = x'00' where first_sequence = 3");

    log.index().await;

    log.check(&log.list(&of_repository("team/even")).await, &[6, 4, 2, 0], &[]);
    log.check(&log.watch().await, &[0, 1, 2, 3, 4, 5, 6, 7], &[]);
}

#[tokio::test]
async fn damaged_chain_stops_no_other_retention() {
    let log = Damaged::new().await;
    // Chains have random names: with three others, hardly a run reads the damaged one last.
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(recorded(SqlDecisionLog::new(&log.database).append(append_request(1)).await.unwrap()));
    }
    log.damage("update decision_segments set hash = x'00' where first_sequence = 7");

    let trimmed = log.log.trim(noon() + SignedDuration::from_secs(60)).await;

    assert!(matches!(trimmed, Err(Error::Corrupt { .. })), "{trimmed:?}");
    for id in &others {
        assert!(matches!(log.log.get(id).await, Err(Error::NotFound(_))));
    }
    log.check(&log.list(&Filter::default()).await, &[7, 6, 5, 4, 3, 2, 1, 0], &[]);
}

#[tokio::test]
async fn damaged_end_of_segment_hides_no_others() {
    for end in ["1000", "0", "-1"] {
        let log = Damaged::new().await;
        log.damage(&format!("update decision_segments set last_sequence = {end} where first_sequence = 3"));

        log.check(&log.watch().await, &[0, 1, 2, 3, 4, 5, 6, 7], &[2]);
    }
}
