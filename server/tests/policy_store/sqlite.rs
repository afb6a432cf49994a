//! SQLite: the contract, and what is promised of the file.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::SignedDuration;
use scangate_server::{
    policy_store::{Error, PolicyStore as _, Precondition, sql::SqlPolicyStore},
    sql::{Address, OpenError},
};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::{
    contract::{FILL, PROMISES, a_full_store_takes_changes_and_no_more_policies},
    fixtures::{LoadSnapshot as _, changed, create, delete, id, later, open, requested, update},
};

/// A place for a store that does not exist yet.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
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

/// The file as an operator's shell opens it.
pub(crate) async fn shell(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_every_promise_of_the_contract() {
    let mut broken = Vec::new();
    for (name, promise) in PROMISES {
        let place = Place::new();
        let store = Arc::new(place.open().await.unwrap());
        if let Err(failure) = tokio::spawn(promise(store)).await {
            broken.push((name, failure));
        }
    }

    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test]
async fn a_full_store_takes_no_more() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    sqlx::raw_sql(FILL).execute(&mut shell(&place.path()).await).await.unwrap();

    assert_eq!(store.load_snapshot().await.unwrap().policies.len(), 10_000);
    a_full_store_takes_changes_and_no_more_policies(Arc::new(store)).await;
}

#[tokio::test]
async fn what_was_written_is_there_when_the_file_is_opened_again() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    store.apply(create("kept")).await.unwrap();
    store.apply(create("deleted")).await.unwrap();
    store.apply(delete("deleted", Precondition::Any)).await.unwrap();
    let first = store.apply(requested("id", "print", update("kept", Precondition::Any))).await.unwrap();
    let before = store.load_snapshot().await.unwrap();
    drop(store);

    let store = place.open().await.unwrap();

    assert_eq!(store.load_snapshot().await.unwrap(), before);
    assert_eq!(store.apply(requested("id", "print", update("kept", Precondition::Any))).await.unwrap(), first);
}

#[tokio::test]
async fn the_default_policy_is_seeded_once_and_never_again() {
    let place = Place::new();
    drop(place.open().await.unwrap());
    let store = place.open().await.unwrap();
    assert_eq!(store.load_snapshot().await.unwrap().revision, 1);
    store.apply(update("default", Precondition::Any)).await.unwrap();
    drop(store);

    let set = place.open().await.unwrap().load_snapshot().await.unwrap();

    assert_eq!(set.revision, 2);
    assert_eq!(set.policies.get(&id("default")).unwrap().policy, changed("default"));
}

#[tokio::test]
async fn every_write_leaves_its_revision_behind() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    store.apply(create("team")).await.unwrap();
    store.apply(update("team", Precondition::Any)).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap_err();

    let mut shell = shell(&place.path()).await;
    let revisions: Vec<(i64, String, bool)> =
        sqlx::query_as("select revision, id, body is not null from document_revisions order by revision")
            .fetch_all(&mut shell)
            .await
            .unwrap();

    let entry = |revision, id: &str, has_body| (revision, id.to_owned(), has_body);
    let expected = [entry(1, "default", true), entry(2, "team", true), entry(3, "team", true), entry(4, "team", false)];
    assert_eq!(revisions, expected);
}

#[tokio::test]
async fn a_store_that_is_open_is_refused_to_a_second_server_by_whatever_name() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    let other_name = place.directory.path().join("other.db");
    symlink(place.path(), &other_name).unwrap();

    for path in [place.path(), other_name] {
        let refused = open(&Address::File(path)).await.unwrap_err();
        assert!(matches!(refused, OpenError::InUse(_)), "{refused:?}");
    }

    drop(store);
    place.open().await.unwrap();
}

#[tokio::test]
async fn nobody_but_the_owner_can_read_what_is_made() {
    let place = Place::new();
    let directory = place.directory.path().join("made/for/it");
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
async fn a_directory_that_cannot_be_made_is_named() {
    let place = Place::new();
    fs::write(place.path(), "").unwrap();

    let refused = open(&Address::File(place.path().join("policies.db"))).await.unwrap_err();

    assert!(refused.to_string().contains("policies.db"), "{refused}");
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_write_that_the_database_rolls_back_by_itself_leaves_the_store_usable() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    let mut shell = shell(&place.path()).await;
    // What SQLite does where the disk is full: it ends the whole transaction, not the statement alone.
    let full = "create trigger full before insert on documents begin select raise(rollback, 'disk full'); end";
    sqlx::raw_sql(full).execute(&mut shell).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let failed = store.apply(create("team")).await;
    let after_failure = store.load_snapshot().await.unwrap();
    sqlx::raw_sql("drop trigger full").execute(&mut shell).await.unwrap();
    let written = store.apply(create("team")).await;

    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    assert_eq!(after_failure, before);
    assert_eq!(written.unwrap().revision, 2);
}

#[tokio::test]
async fn requests_that_have_expired_are_removed_from_the_file() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    store.apply(requested("old", "print", create("team"))).await.unwrap();
    store.apply(later(SignedDuration::from_hours(24), create("other"))).await.unwrap();

    let mut shell = shell(&place.path()).await;
    let remembered: i64 = sqlx::query_scalar("select count(*) from requests").fetch_one(&mut shell).await.unwrap();

    assert_eq!(remembered, 0);
}
