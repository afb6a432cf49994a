//! A server, or its database, that is killed at any moment: what was acknowledged is in the log, and the chain holds.

use std::{
    collections::BTreeSet,
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use scangate_core::image::RepositoryName;
use scangate_server::{
    decision_log::sql::SqlDecisionLog,
    decision_log::{DecisionId, DecisionLog as _, Filter},
    sql::{Address, Database},
};
use scangate_test_postgres::Cluster;
use tempfile::TempDir;

use crate::fixtures::{record, recorded};

/// Where the test below tells its child what to write to.
const STORE: &str = "SCANGATE_TEST_KILLED_LOG";
/// The child's test.
const CHILD: &str = "killed::appends_until_it_is_killed";
/// Begins the line of an acknowledged decision, among what the test runner prints.
const ACKNOWLEDGED: &str = "acknowledged ";
/// Callers at once.
const CALLERS: u64 = 64;

#[tokio::test]
async fn every_acknowledged_decision_survives_a_kill_of_the_server_on_sqlite() {
    let place = TempDir::new().unwrap();
    survives(place.path().join("scangate.db").to_str().unwrap()).await;
}

#[tokio::test]
async fn every_acknowledged_decision_survives_a_kill_of_the_server_on_postgres() {
    let cluster = Cluster::start();
    survives(&cluster.database()).await;
}

async fn survives(store: &str) {
    let mut acknowledged = Vec::new();
    for decisions in [1, 50, 1000, 3000] {
        acknowledged.extend(kill_after(decisions, store));
        let store = Database::open(&Address::parse(store)).await.unwrap();
        let log = SqlDecisionLog::new(&store);
        let report = log.verify().await.unwrap();
        assert_eq!(report.damage, Vec::<String>::new());
        for id in &acknowledged {
            log.get(id).await.unwrap();
        }
        // What the killed have left, before and after somebody has indexed it.
        for _ in 0..2 {
            let listed = listed(&log).await;
            assert!(acknowledged.iter().all(|id| listed.contains(id)));
            log.trim(Timestamp::MIN).await.unwrap();
        }
        assert_eq!(log.verify().await.unwrap(), report);
        log.close().await;
    }
    assert!(acknowledged.len() >= 4051, "{}", acknowledged.len());
}

/// The names of all that are listed under the repositories of the child's decisions.
async fn listed(log: &SqlDecisionLog) -> BTreeSet<DecisionId> {
    let mut listed = BTreeSet::new();
    for repository in ["team/even", "team/odd"] {
        let filter = Filter { repository: Some(RepositoryName::parse(repository).unwrap()), ..Filter::default() };
        let mut after = None;
        loop {
            let page = log.list(&filter, after.as_ref(), 1000).await.unwrap();
            listed.extend(page.decisions.into_iter().map(|recorded| recorded.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    listed
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "only the tests above run it, as their child"]
async fn appends_until_it_is_killed() {
    let Ok(store) = env::var(STORE) else { return };
    let store = Database::open(&Address::parse(&store)).await.unwrap();
    let log = Arc::new(SqlDecisionLog::new(&store));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let log = Arc::clone(&log);
        callers.spawn(async move {
            for number in (caller..).step_by(usize::try_from(CALLERS).unwrap()) {
                let id = recorded(log.append(record(number % 500)).await.unwrap());
                let mut out = io::stdout().lock();
                writeln!(out, "{ACKNOWLEDGED}{id}").unwrap();
            }
        });
    }
    callers.join_all().await;
}

/// Runs the child until it has acknowledged this many decisions, kills it while it goes on, and returns all that it acknowledged.
fn kill_after(decisions: usize, store: &str) -> Vec<DecisionId> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .env(STORE, store)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        // The runner prints the test's name first, and does not end the line; the last line may be cut.
        .filter_map(|line| line.split_once(ACKNOWLEDGED)?.1.parse::<DecisionId>().ok());
    let mut acknowledged: Vec<DecisionId> = lines.by_ref().take(decisions).collect();
    child.kill().unwrap();
    let mut rest: Vec<DecisionId> = lines.collect();
    // A line that was cut short would be read as another decision's.
    rest.pop();
    acknowledged.extend(rest);
    let status = child.wait().unwrap();

    assert!(!status.success() && status.code().is_none(), "the child ended by itself: {status}");
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_decision_survives_a_crash_of_the_database_and_the_writer_goes_on() {
    let mut cluster = Cluster::start();
    let database = cluster.database();
    let store = Database::open(&Address::parse(&database)).await.unwrap();
    let log = Arc::new(SqlDecisionLog::new(&store));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let log = Arc::clone(&log);
        callers.spawn(async move {
            let mut acknowledged = Vec::new();
            while let Ok(appended) = log.append(record(caller)).await {
                acknowledged.push(recorded(appended));
            }
            acknowledged
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.crash();
    let acknowledged: Vec<DecisionId> = callers.join_all().await.into_iter().flatten().collect();
    cluster.start_server();

    let began = std::time::Instant::now();
    let mut later = log.append(record(7)).await;
    while later.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "{later:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        later = log.append(record(7)).await;
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    for id in &acknowledged {
        log.get(id).await.unwrap();
    }
    assert_eq!(log.verify().await.unwrap().damage, Vec::<String>::new());
}
