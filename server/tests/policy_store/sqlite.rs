//! SQLite: the contract, and the database file.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use jiff::SignedDuration;
use rusqlite::Connection;
use scangate_server::{
    policy_store::{Error, PolicyStore as _, Precondition, sql::SqlPolicyStore},
    sql::{Address, OpenError},
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    contract::{FILL, PROMISES, full_store_takes_changes_but_no_new_policies},
    fixtures::{LoadSnapshot as _, changed, create, delete, id, later, open, requested, update},
    newer_documents,
};

/// A directory for a store that does not exist yet.
pub(crate) struct StoreDirectory {
    directory: TempDir,
}

impl StoreDirectory {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("policies.db")
    }

    pub(crate) async fn open(&self) -> Result<SqlPolicyStore, OpenError> {
        open(&Address::File(self.path())).await
    }
}

/// Opens the file as an operator's shell does.
pub(crate) fn shell(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_meets_contract() {
    let mut broken = Vec::new();
    for (name, promise) in PROMISES {
        let directory = StoreDirectory::new();
        let store = Arc::new(directory.open().await.unwrap());
        if let Err(failure) = tokio::spawn(promise(store)).await {
            broken.push((name, failure));
        }
    }

    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test]
async fn full_store_refuses_further_policies() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    shell(&directory.path()).execute_batch(FILL).unwrap();

    assert_eq!(store.load_snapshot().await.unwrap().policies.len(), 10_000);
    full_store_takes_changes_but_no_new_policies(Arc::new(store)).await;
}

#[tokio::test]
async fn newer_documents_stop_only_themselves() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    shell(&directory.path()).execute_batch(&newer_documents::sql()).unwrap();

    newer_documents::newer_documents_are_read_in_part(Arc::new(store)).await;
}

#[tokio::test]
async fn writes_persist_across_reopening() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    store.apply(create("kept")).await.unwrap();
    store.apply(create("deleted")).await.unwrap();
    store.apply(delete("deleted", Precondition::Any)).await.unwrap();
    let first = store.apply(requested("id", "print", update("kept", Precondition::Any))).await.unwrap();
    let before = store.load_snapshot().await.unwrap();
    drop(store);

    let store = directory.open().await.unwrap();

    assert_eq!(store.load_snapshot().await.unwrap(), before);
    assert_eq!(store.apply(requested("id", "print", update("kept", Precondition::Any))).await.unwrap(), first);
}

#[tokio::test]
async fn default_policy_is_seeded_once() {
    let directory = StoreDirectory::new();
    drop(directory.open().await.unwrap());
    let store = directory.open().await.unwrap();
    assert_eq!(store.load_snapshot().await.unwrap().revision, 1);
    store.apply(update("default", Precondition::Any)).await.unwrap();
    drop(store);

    let set = directory.open().await.unwrap().load_snapshot().await.unwrap();

    assert_eq!(set.revision, 2);
    assert_eq!(set.policies.get(&id("default")).unwrap().policy, changed("default"));
}

#[tokio::test]
async fn each_write_adds_its_revision_to_history() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    store.apply(create("team")).await.unwrap();
    store.apply(update("team", Precondition::Any)).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap_err();

    let shell = shell(&directory.path());
    let select = "select revision, id, body is not null from document_revisions order by revision";
    let mut select = shell.prepare(select).unwrap();
    let revisions: Vec<(i64, String, bool)> =
        select.query_map([], |row| row.try_into()).unwrap().map(Result::unwrap).collect();

    let entry = |revision, id: &str, has_body| (revision, id.to_owned(), has_body);
    let expected = [entry(1, "default", true), entry(2, "team", true), entry(3, "team", true), entry(4, "team", false)];
    assert_eq!(revisions, expected);
}

#[tokio::test]
async fn open_store_is_refused_to_second_server() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    let other_name = directory.directory.path().join("other.db");
    symlink(directory.path(), &other_name).unwrap();

    for path in [directory.path(), other_name] {
        let refused = open(&Address::File(path)).await.unwrap_err();
        assert!(matches!(refused, OpenError::InUse(_)), "{refused:?}");
    }

    drop(store);
    directory.open().await.unwrap();
}

#[tokio::test]
async fn created_files_are_readable_by_owner_only() {
    let directory = StoreDirectory::new();
    let directory = directory.directory.path().join("made/for/it");
    let store = open(&Address::File(directory.join("policies.db"))).await.unwrap();
    store.apply(create("team")).await.unwrap();

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files: Vec<(String, u32)> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), mode(&entry.path())))
        .collect();

    assert!(files.len() >= 3, "{files:?}");
    assert!(files.iter().all(|(_, mode)| *mode == 0o600), "{files:?}");
    assert!(directory.ancestors().take(3).all(|directory| mode(directory) == 0o700));
}

#[tokio::test]
async fn directory_error_names_its_path() {
    let directory = StoreDirectory::new();
    fs::write(directory.path(), "").unwrap();

    let refused = open(&Address::File(directory.path().join("policies.db"))).await.unwrap_err();

    assert!(refused.to_string().contains("policies.db"), "{refused}");
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
}

#[tokio::test]
async fn write_rolled_back_by_sqlite_leaves_store_usable() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    let shell = shell(&directory.path());
    // On a full disk SQLite rolls back the whole transaction, not only the statement.
    let full = "create trigger full before insert on documents begin select raise(rollback, 'disk full'); end";
    shell.execute_batch(full).unwrap();
    let before = store.load_snapshot().await.unwrap();

    let failed = store.apply(create("team")).await;
    let after_failure = store.load_snapshot().await.unwrap();
    shell.execute_batch("drop trigger full").unwrap();
    let written = store.apply(create("team")).await;

    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    assert_eq!(after_failure, before);
    assert_eq!(written.unwrap().revision, 2);
}

#[tokio::test]
async fn full_queue_refuses_further_operations() {
    let directory = StoreDirectory::new();
    let store = Arc::new(directory.open().await.unwrap());
    let shell = shell(&directory.path());
    shell.execute_batch("begin immediate").unwrap();

    let mut writes = JoinSet::new();
    for _ in 0..16_400 {
        let store = Arc::clone(&store);
        writes.spawn(async move { store.apply(delete("unknown", Precondition::Any)).await });
    }
    let refused = writes.join_next().await.unwrap().unwrap();

    let Err(Error::Unavailable(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(why.to_string(), "too many operations wait for the database file; retry later");
}

#[tokio::test]
async fn read_that_exceeds_limit_is_interrupted() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    let endless = "alter table document_revisions rename to revisions;
        create view document_revisions as
            with recursive n (i) as (select 1 union all select i + 1 from n)
            select 'policies' as kind, 'default' as id, i as revision, '' as content_digest from n";
    shell(&directory.path()).execute_batch(endless).unwrap();

    let read = store.content_digest(&id("default"), 1).await;
    // The threads end before the store is closed.
    let (closed, is_closed) = mpsc::channel();
    thread::spawn(move || {
        drop(store);
        closed.send(())
    });

    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    assert!(is_closed.recv_timeout(Duration::from_secs(5)).is_ok(), "the read goes on");
}

#[tokio::test]
async fn expired_requests_are_deleted() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    store.apply(requested("old", "print", create("team"))).await.unwrap();
    store.apply(later(SignedDuration::from_hours(24), create("other"))).await.unwrap();

    let shell = shell(&directory.path());
    let stored: i64 = shell.query_one("select count(*) from requests", [], |row| row.get(0)).unwrap();

    assert_eq!(stored, 0);
}
