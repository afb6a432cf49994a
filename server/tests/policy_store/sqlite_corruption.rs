//! A corrupt file: loading fails and names the unreadable record, since to skip a policy would fail open.

use std::{fs, io::Write as _};

use scangate_server::{
    policy_store::{Error, PolicyStore as _},
    sql::{self, Address, Database, OpenError},
};

use crate::{
    fixtures::{LoadSnapshot as _, create},
    sqlite::{StoreDirectory, shell},
};

/// Runs SQL on a store with `policies/team`, and returns the unreadable record and the cause from the next load.
async fn damaged_by(sql: &'static str) -> (String, String) {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    store.apply(create("team")).await.unwrap();
    shell(&directory.path()).execute_batch(sql).unwrap();

    let loaded = store.load_snapshot().await;
    drop(store);
    let loaded_again = match directory.open().await {
        Ok(store) => store.load_snapshot().await,
        Err(OpenError::Database(sql::Error::Corrupt { what, source })) => Err(Error::Corrupt { what, source }),
        Err(other) => panic!("{other:?}"),
    };

    let (Err(Error::Corrupt { what, source }), Err(Error::Corrupt { .. })) = (&loaded, &loaded_again) else {
        panic!("{loaded:?}, {loaded_again:?}")
    };
    (what.clone(), source.to_string())
}

#[tokio::test]
async fn modified_body_refuses_to_load() {
    let damage = damaged_by("update documents set body = replace(body, 'CRITICAL', 'LOW') where id = 'team'").await;

    assert_eq!(damage, ("policies/team".to_owned(), "the content digest does not match the body".to_owned()));
}

#[tokio::test]
async fn body_without_json_refuses_to_load() {
    // The digest is valid, so that the body is parsed.
    let (what, why) = damaged_by(
        "update documents set body = '{\"mode\":',
         content_digest = 'ebc3d23e7c788c4fdcf960aa4844183d5439299a1d5d3de9a26f060c1c7afce0' where id = 'team'",
    )
    .await;

    assert_eq!(what, "policies/team");
    assert!(why.contains("EOF while parsing"), "{why}");
}

#[tokio::test]
async fn body_with_id_refuses_to_load() {
    let damage = damaged_by(
        "update documents set body = '{\"id\":\"default\"}',
         content_digest = 'ae94813cf7b4a74101441eb14e8bbddb8d3abc142b3808ea4d50393307a3a254' where id = 'team'",
    )
    .await;

    assert_eq!(damage, ("policies/team".to_owned(), "the body contains an id".to_owned()));
}

#[tokio::test]
async fn policy_with_invalid_id_refuses_to_load() {
    let (what, why) =
        damaged_by("pragma foreign_keys = off; update documents set id = 'Not an id' where id = 'team'").await;

    assert_eq!(what, "policies/Not an id");
    assert!(why.contains("must be 1 to 63 lower-case letters"), "{why}");
}

#[tokio::test]
async fn policy_ahead_of_store_refuses_to_load() {
    let damage = damaged_by("update store_revision set revision = 1").await;

    assert_eq!(damage, ("policies/team".to_owned(), "its revision 2 is later than the store's".to_owned()));
}

#[tokio::test]
async fn store_without_default_policy_refuses_to_load() {
    let damage = damaged_by("delete from documents where id = 'default'").await;

    assert_eq!(damage, ("policies/default".to_owned(), "it is missing".to_owned()));
}

#[tokio::test]
async fn damaged_header_is_corruption_while_open() {
    let directory = StoreDirectory::new();
    let store = directory.open().await.unwrap();
    shell(&directory.path()).execute_batch("pragma wal_checkpoint(truncate)").unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(directory.path()).unwrap();
    file.write_all(&[b'x'; 100]).unwrap();

    let loaded = store.load_snapshot().await;

    assert!(matches!(&loaded, Err(Error::Corrupt { what, .. }) if what == "the database file"), "{loaded:?}");
}

#[tokio::test]
async fn column_of_wrong_type_refuses_to_load() {
    let (what, why) = damaged_by("update documents set write_time = 'yesterday' where id = 'team'").await;

    assert_eq!(what, "a row");
    assert!(why.contains("write_time"), "{why}");
}

#[tokio::test]
async fn schema_of_newer_server_refuses_to_open() {
    let directory = StoreDirectory::new();
    drop(directory.open().await.unwrap());
    let newer = "insert into schema_versions (version, checksum) values (9999, 'from the future')";
    shell(&directory.path()).execute_batch(newer).unwrap();

    let refused = directory.open().await.unwrap_err();
    let refused_to_verify = Database::open_existing(&Address::File(directory.path())).await.unwrap_err();

    assert!(matches!(refused, OpenError::NewerSchema(9999)), "{refused:?}");
    assert!(matches!(refused_to_verify, OpenError::NewerSchema(9999)), "{refused_to_verify:?}");
}

#[tokio::test]
async fn schema_of_other_build_refuses_to_open() {
    for other in [
        "update schema_versions set checksum = 'of another text' where version = 1",
        "drop table schema_versions; create table _sqlx_migrations (version bigint)",
    ] {
        let directory = StoreDirectory::new();
        drop(directory.open().await.unwrap());
        shell(&directory.path()).execute_batch(other).unwrap();

        let refused = directory.open().await.unwrap_err();
        let refused_to_verify = Database::open_existing(&Address::File(directory.path())).await.unwrap_err();

        assert!(matches!(refused, OpenError::OtherSchema), "{refused:?}");
        assert!(matches!(refused_to_verify, OpenError::OtherSchema), "{refused_to_verify:?}");
        assert!(refused.to_string().contains("give this server a new store"), "{refused}");
    }
}

#[tokio::test]
async fn foreign_file_refuses_to_open_and_stays_unchanged() {
    let directory = StoreDirectory::new();
    let text = "not a database, and longer than the header of one: ".repeat(20);
    fs::write(directory.path(), &text).unwrap();

    let refused = directory.open().await.unwrap_err();

    assert!(matches!(refused, OpenError::Open { .. }), "{refused:?}");
    assert_eq!(fs::read_to_string(directory.path()).unwrap(), text);
}
