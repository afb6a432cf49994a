//! Crashes of a server: acknowledged writes are in the file, and no write is there in part.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use rusqlite::Connection;
use scangate_server::{
    policy_store::{PolicyStore as _, Precondition, WriteResult},
    sql::Address,
};
use tempfile::TempDir;

use crate::{
    fixtures::{LoadSnapshot as _, create, delete, open, requested, update},
    sqlite::shell,
};

/// The environment variable with the child's store.
const STORE: &str = "SCANGATE_TEST_KILLED_STORE";
/// The test that runs as the child.
const CHILD: &str = "sqlite_crash_recovery::child_writes_until_killed";
/// The mark of an acknowledged write in the output of the child's test runner.
const ACKNOWLEDGED: &str = "acknowledged ";

#[tokio::test]
async fn acknowledged_writes_survive_kill_whole() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("policies.db");
    let mut acknowledged = Vec::new();

    for writes in [0, 1, 2, 3, 10, 50, 200, 5] {
        acknowledged.extend(kill_after(writes, &path));
        assert_intact(&path, &acknowledged).await;
    }

    assert!(acknowledged.len() >= 271, "{}", acknowledged.len());
}

#[tokio::test]
#[ignore = "child process of the test above"]
async fn child_writes_until_killed() {
    let Some(path) = env::var_os(STORE) else { return };
    let store = open(&Address::File(path.into())).await.unwrap();
    let begin = store.load_snapshot().await.unwrap().revision;
    acknowledge("ready");
    for number in begin.. {
        let name = format!("policy-{number}");
        for (step, write) in
            [create(&name), update(&name, Precondition::Any), delete(&name, Precondition::Any)].into_iter().enumerate()
        {
            // Some policies stay.
            if step == 2 && number % 2 == 0 {
                continue;
            }
            let written = store.apply(requested(&format!("{name}-{step}"), "print", write)).await.unwrap();
            acknowledge(&line(&written));
        }
    }
}

fn acknowledge(what: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{ACKNOWLEDGED}{what}").unwrap();
    out.flush().unwrap();
}

/// Formats a write like its row in the file.
fn line(written: &WriteResult) -> String {
    let digest = written.policy().map_or("removed", |policy| &policy.content_digest);
    format!("{} {digest}", written.revision)
}

/// Kills the child once it has acknowledged this many writes, and returns all that it acknowledged.
fn kill_after(writes: usize, path: &Path) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .env(STORE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        // The runner prints the test's name in front of the first line.
        .filter_map(|line| Some(line.split_once(ACKNOWLEDGED)?.1.to_owned()));

    assert_eq!(lines.next().as_deref(), Some("ready"));
    let mut acknowledged: Vec<String> = lines.by_ref().take(writes).collect();
    child.kill().unwrap();
    // Adds the writes between the last line read and the kill.
    acknowledged.extend(lines);
    let status = child.wait().unwrap();

    assert!(!status.success() && status.code().is_none(), "the child ended by itself: {status}");
    acknowledged
}

async fn assert_intact(path: &Path, acknowledged: &[String]) {
    let store = open(&Address::File(path.to_owned())).await.unwrap();
    let set = store.load_snapshot().await.unwrap();
    let shell = shell(path);
    let recorded = recorded(&shell);

    let missing: Vec<&String> = acknowledged.iter().filter(|line| !recorded.contains(line)).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    let revisions: Vec<u64> = recorded.iter().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
    assert_eq!(revisions, (1..=set.revision).collect::<Vec<_>>());
    assert_eq!(disagreements(&shell), Vec::<String>::new());
}

fn recorded(shell: &Connection) -> Vec<String> {
    lines(
        shell,
        "select revision || ' ' || coalesce(content_digest, 'removed') from document_revisions order by revision",
    )
}

/// Returns the first column of a result.
fn lines(shell: &Connection, select: &str) -> Vec<String> {
    shell.prepare(select).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Returns current policies that are not the last revision of their history, last revisions that should be current, and revisions
/// without an idempotency key.
fn disagreements(shell: &Connection) -> Vec<String> {
    lines(
        shell,
        "with latest as (
             select id, revision, body, content_digest from document_revisions
             where (id, revision) in (select id, max(revision) from document_revisions group by id)
         )
         select 'current: ' || id from (
             select id, revision, body, content_digest from documents except select * from latest
         )
         union all select 'recorded: ' || id from (
             select * from latest where body is not null
             except select id, revision, body, content_digest from documents
         )
         union all select 'without a request: ' || revision from document_revisions
             where revision > 1 and revision not in (select sequence from requests where kind = 'write')",
    )
}
