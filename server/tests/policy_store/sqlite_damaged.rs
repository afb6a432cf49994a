//! A file that holds what no server wrote: it refuses, and names what it cannot read, since a policy passed over would open
//! the gate.

use std::fs;

use scangate_server::{
    policy_store::{Error, PolicyStore as _},
    sql::{self, OpenError},
};

use crate::{
    fixtures::{LoadSnapshot as _, create},
    sqlite::{Place, shell},
};

/// Does this to a store with `policies/team` in it, and tells what the next load finds unreadable, and why.
async fn damaged_by(sql: &'static str) -> (String, String) {
    let place = Place::new();
    let store = place.open().await.unwrap();
    store.apply(create("team")).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut shell(&place.path()).await).await.unwrap();

    let loaded = store.load_snapshot().await;
    drop(store);
    let loaded_again = match place.open().await {
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
async fn a_body_that_is_not_what_was_written_refuses_to_load() {
    let damage = damaged_by("update documents set body = replace(body, 'ENFORCE', 'OFF') where id = 'team'").await;

    assert_eq!(damage, ("policies/team".to_owned(), "the content digest is not that of the body".to_owned()));
}

#[tokio::test]
async fn a_body_that_is_no_json_refuses_to_load() {
    // The digest is right, so that the body is looked at.
    let (what, why) = damaged_by(
        "update documents set body = '{\"mode\":',
         content_digest = 'ebc3d23e7c788c4fdcf960aa4844183d5439299a1d5d3de9a26f060c1c7afce0' where id = 'team'",
    )
    .await;

    assert_eq!(what, "policies/team");
    assert!(why.contains("EOF while parsing"), "{why}");
}

#[tokio::test]
async fn a_body_with_a_field_that_is_not_known_refuses_to_load() {
    let (what, why) = damaged_by(
        "update documents set body = '{\"strictness\":\"high\"}',
         content_digest = 'f1722e2c35d53be234f091ab6fdf81fa22e11e0b06f46fde81e0340eba1544b8' where id = 'team'",
    )
    .await;

    assert_eq!(what, "policies/team");
    assert!(why.contains("unknown field `strictness`"), "{why}");
}

#[tokio::test]
async fn a_body_with_an_id_of_its_own_refuses_to_load() {
    let damage = damaged_by(
        "update documents set body = '{\"id\":\"default\"}',
         content_digest = 'ae94813cf7b4a74101441eb14e8bbddb8d3abc142b3808ea4d50393307a3a254' where id = 'team'",
    )
    .await;

    assert_eq!(damage, ("policies/team".to_owned(), "the body has an id of its own".to_owned()));
}

#[tokio::test]
async fn a_policy_whose_id_is_none_refuses_to_load() {
    let (what, why) =
        damaged_by("pragma foreign_keys = off; update documents set id = 'Not an id' where id = 'team'").await;

    assert_eq!(what, "policies/Not an id");
    assert!(why.contains("must be 1 to 63 lower-case letters"), "{why}");
}

#[tokio::test]
async fn a_policy_from_the_future_refuses_to_load() {
    let damage = damaged_by("update store_revision set revision = 1").await;

    assert_eq!(damage, ("policies/team".to_owned(), "its revision is 2, later than that of the store".to_owned()));
}

#[tokio::test]
async fn a_store_without_the_default_policy_refuses_to_load() {
    let damage = damaged_by("delete from documents where id = 'default'").await;

    assert_eq!(damage, ("policies/default".to_owned(), "it is missing".to_owned()));
}

#[tokio::test]
async fn a_column_of_the_wrong_type_refuses_to_load() {
    let (what, why) = damaged_by("update documents set write_time = 'yesterday' where id = 'team'").await;

    assert_eq!(what, "a row");
    assert!(why.contains("write_time"), "{why}");
}

#[tokio::test]
async fn the_schema_of_a_newer_server_refuses_to_open() {
    let place = Place::new();
    drop(place.open().await.unwrap());
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (9999, 'from the future', true, x'00', 0)";
    sqlx::raw_sql(newer).execute(&mut shell(&place.path()).await).await.unwrap();

    let refused = place.open().await.unwrap_err();

    assert!(matches!(refused, OpenError::Migrate(_)), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_refuses_to_open_and_is_left_as_it_is() {
    let place = Place::new();
    let text = "not a database, and longer than the header of one: ".repeat(20);
    fs::write(place.path(), &text).unwrap();

    let refused = place.open().await.unwrap_err();

    assert!(matches!(refused, OpenError::Open { .. }), "{refused:?}");
    assert_eq!(fs::read_to_string(place.path()).unwrap(), text);
}
