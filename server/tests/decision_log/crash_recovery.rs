//! Crashes of a server or its database: acknowledged decisions are in the log, and the chain is intact.

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
    decision_log::{DecisionId, DecisionLog as _, Filter, sql::SqlDecisionLog},
    sql::{Address, Database},
};
use scangate_test_postgres::Cluster;
use tempfile::TempDir;

use crate::fixtures::{append_request, recorded};

/// The environment variable with the child's store.
const STORE: &str = "SCANGATE_TEST_KILLED_LOG";
/// The test that runs as the child.
const CHILD: &str = "crash_recovery::child_appends_until_killed";
/// The mark of an acknowledged decision in the output of the child's test runner.
const ACKNOWLEDGED: &str = "acknowledged ";
/// The number of concurrent callers.
const CALLERS: u64 = 64;

#[tokio::test]
async fn acknowledged_decisions_survive_kill_on_sqlite() {
    let directory = TempDir::new().unwrap();
    survives(directory.path().join("scangate.db").to_str().unwrap()).await;
}

#[tokio::test]
async fn acknowledged_decisions_survive_kill_on_postgres() {
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
        // Lists the decisions of killed writers before and after their tails are indexed.
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

/// Lists the ids of the decisions in the repositories of the child's decisions.
async fn listed(log: &SqlDecisionLog) -> BTreeSet<DecisionId> {
    let mut listed = BTreeSet::new();
    for repository in ["team/even", "team/odd"] {
        let filter = Filter { repository: Some(RepositoryName::parse(repository).unwrap()), ..Filter::default() };
        let mut after = None;
        loop {
            let page = log.list(&filter, after.as_ref(), 1000).await.unwrap();
            listed.extend(page.decisions.into_iter().map(|(listed, _)| listed.id().clone()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    listed
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "child process of the tests above"]
async fn child_appends_until_killed() {
    let Ok(store) = env::var(STORE) else { return };
    let store = Database::open(&Address::parse(&store)).await.unwrap();
    let log = Arc::new(SqlDecisionLog::new(&store));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let log = Arc::clone(&log);
        callers.spawn(async move {
            for number in (caller..).step_by(usize::try_from(CALLERS).unwrap()) {
                let id = recorded(log.append(append_request(number % 500)).await.unwrap());
                let mut out = io::stdout().lock();
                writeln!(out, "{ACKNOWLEDGED}{id}").unwrap();
            }
        });
    }
    callers.join_all().await;
}

/// Kills the child once it has acknowledged this many decisions, and returns all that it acknowledged.
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
        // The runner prints the test's name in front of the first line; the last line may be truncated.
        .filter_map(|line| line.split_once(ACKNOWLEDGED)?.1.parse::<DecisionId>().ok());
    let mut acknowledged: Vec<DecisionId> = lines.by_ref().take(decisions).collect();
    child.kill().unwrap();
    let mut rest: Vec<DecisionId> = lines.collect();
    // A truncated line would parse as another decision's id.
    rest.pop();
    acknowledged.extend(rest);
    let status = child.wait().unwrap();

    assert!(!status.success() && status.code().is_none(), "the child ended by itself: {status}");
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_decisions_survive_database_crash() {
    let mut cluster = Cluster::start();
    let database = cluster.database();
    let store = Database::open(&Address::parse(&database)).await.unwrap();
    let log = Arc::new(SqlDecisionLog::new(&store));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let log = Arc::clone(&log);
        callers.spawn(async move {
            let mut acknowledged = Vec::new();
            while let Ok(appended) = log.append(append_request(caller)).await {
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
    let mut later = log.append(append_request(7)).await;
    while later.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "{later:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        later = log.append(append_request(7)).await;
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    for id in &acknowledged {
        log.get(id).await.unwrap();
    }
    assert_eq!(log.verify().await.unwrap().damage, Vec::<String>::new());
}
