//! Writes of waivers.

use std::sync::Arc;

use scangate_core::{
    finding::Score,
    glob::Glob,
    image::{Digest, Platform},
    name::Environment,
    severity::Severity,
    waiver::{Approval, Conditions, Revocation, Scope, Waiver},
};
use scangate_server::policy_store::{Change, Error, PolicyStore, Precondition, Resource, ResourceName, Revision};
use scangate_test_fixtures::noon;

use crate::fixtures::{LoadSnapshot as _, create, requested, waive, waiver, waiver_id, write};

pub(super) async fn waiver_reads_back_exactly_as_written(store: Arc<dyn PolicyStore>) {
    let written = store.apply(write(Change::Create(vec![Resource::Waiver(elaborate())]))).await.unwrap();
    let set = store.load_snapshot().await.unwrap();

    let revised = written.waivers().next().unwrap();
    assert_eq!(revised.waiver, elaborate());
    assert_eq!((revised.revision, revised.create_time, revised.update_time), (2, noon(), noon()));
    assert_eq!(set.waivers.get(&waiver_id("elaborate")), Some(revised));
}

pub(super) async fn waivers_created_together_share_revision(store: Arc<dyn PolicyStore>) {
    let ids: Vec<String> = (0..1000).map(|number| format!("w-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();

    let written = store.apply(waive(&ids)).await.unwrap();

    assert_eq!((written.revision, written.resources.len()), (2, 1000));
    assert!(written.waivers().all(|revised| revised.revision == 2));
    assert_eq!(store.load_snapshot().await.unwrap().waivers.len(), 1000);
}

pub(super) async fn one_existing_waiver_refuses_whole_create(store: Arc<dyn PolicyStore>) {
    store.apply(waive(&["w-2"])).await.unwrap();

    for ids in [["w-1", "w-2"], ["w-3", "w-3"]] {
        let refused = store.apply(waive(&ids)).await;
        assert!(matches!(refused, Err(Error::AlreadyExists(ResourceName::Waiver(_)))), "{refused:?}");
    }

    let set = store.load_snapshot().await.unwrap();
    assert_eq!((set.revision, set.waivers.len()), (2, 1));
}

pub(super) async fn create_takes_one_to_thousand_resources(store: Arc<dyn PolicyStore>) {
    let names: Vec<String> = (0..=1_000).map(|number| format!("w-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();

    let nothing = store.apply(waive(&[])).await;
    let too_much = store.apply(waive(&names)).await;
    let most = store.apply(waive(&names[1..])).await.unwrap();

    assert!(matches!(nothing, Err(Error::BatchSize)), "{nothing:?}");
    assert!(matches!(too_much, Err(Error::BatchSize)), "{too_much:?}");
    assert_eq!((most.revision, most.resources.len()), (2, 1_000));
    assert!(most.resources.is_sorted_by_key(Revision::name));
}

pub(super) async fn waiver_and_policy_may_share_id(store: Arc<dyn PolicyStore>) {
    store.apply(create("same")).await.unwrap();
    store.apply(waive(&["same"])).await.unwrap();

    let set = store.load_snapshot().await.unwrap();

    assert_eq!((set.policies.len(), set.waivers.len()), (2, 1));
}

pub(super) async fn waiver_update_needs_expected_revision(store: Arc<dyn PolicyStore>) {
    store.apply(waive(&["w-1"])).await.unwrap();
    let revoked = revoked("w-1");
    let update = |expected| write(Change::Update { resource: Resource::Waiver(revoked.clone()), expected });

    let refused = store.apply(update(Precondition::Revision(1))).await;
    let written = store.apply(update(Precondition::Revision(2))).await.unwrap();

    assert!(matches!(refused, Err(Error::Conflict { actual: 2, .. })), "{refused:?}");
    assert_eq!(written.waivers().next().unwrap().waiver, revoked);
    let absent = write(Change::Update { resource: Resource::Waiver(waiver("w-9")), expected: Precondition::Any });
    assert!(matches!(store.apply(absent).await, Err(Error::NotFound(ResourceName::Waiver(_)))));
}

pub(super) async fn revoked_waiver_stays_revoked(store: Arc<dyn PolicyStore>) {
    store.apply(waive(&["w-1"])).await.unwrap();
    let update = |waiver, expected| write(Change::Update { resource: Resource::Waiver(waiver), expected });
    let ended = store.apply(update(revoked("w-1"), Precondition::Any)).await.unwrap();

    for expected in [Precondition::Any, Precondition::Revision(ended.revision)] {
        let refused = store.apply(update(waiver("w-1"), expected)).await;
        assert!(matches!(&refused, Err(Error::Revoked(id)) if *id == waiver_id("w-1")), "{refused:?}");
    }

    let set = store.load_snapshot().await.unwrap();
    assert_eq!(set.revision, ended.revision);
    assert_eq!(set.waivers.get(&waiver_id("w-1")).unwrap().waiver, revoked("w-1"));
    store.apply(update(revoked("w-1"), Precondition::Any)).await.unwrap();
}

pub(super) async fn repeated_import_returns_first_result(store: Arc<dyn PolicyStore>) {
    let import = || requested("id", "print", waive(&["w-1", "w-2"]));
    let first = store.apply(import()).await.unwrap();
    store.apply(create("team")).await.unwrap();

    let again = store.apply(import()).await.unwrap();

    assert_eq!(again, first);
    assert_eq!(again.resources.len(), 2);
}

fn revoked(name: &str) -> Waiver {
    Waiver { revocation: Some(Revocation { at: noon(), reason: "fixed".to_owned() }), ..waiver(name) }
}

/// A waiver with every field set.
fn elaborate() -> Waiver {
    let glob = |pattern| Some(Glob::parse(pattern).unwrap());
    Waiver {
        scope: Scope {
            vulnerability: Glob::parse("CVE-2021-*").unwrap(),
            package: glob("log4j*"),
            repository: glob("it's; drop table documents --"),
            digest: Some(Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap()),
            environment: glob(Environment::parse("prod").unwrap().as_str()),
            platform: Some(Platform::parse("linux/arm64/v8").unwrap()),
            everywhere: false,
        },
        conditions: Conditions {
            until_fixed: true,
            max_severity: Some(Severity::High),
            max_epss: Some(Score::new(0.1).unwrap()),
            while_not_exploited: true,
        },
        reason: "Quotes \"'\\, a line\nbreak, and \u{1f512}.".to_owned(),
        ticket: "SEC-1".to_owned(),
        requested_by: "ann".to_owned(),
        approval: Some(Approval::Given { by: "bob".to_owned(), at: noon() }),
        revocation: Some(Revocation { at: noon(), reason: "over".to_owned() }),
        ..waiver("elaborate")
    }
}
