//! Past revisions.

use std::sync::Arc;

use jiff::SignedDuration;
use scangate_core::policy::PolicySet;
use scangate_server::policy_store::{Entry, PolicyStore, Precondition, ResourceName, apply_changes};
use scangate_test_fixtures::noon;

use crate::fixtures::{LoadSnapshot as _, by, create, delete, id, key, later, update, waive, waiver_id};

pub(super) async fn changes_since_revision_are_listed_in_order(store: Arc<dyn PolicyStore>) {
    store.apply(create("team")).await.unwrap();
    let mut since = store.load_snapshot().await.unwrap();
    store.apply(update("team", Precondition::Any)).await.unwrap();
    store.apply(waive(&["w-2", "w-1"])).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap();

    let changes = store.changes(Some(2)).await.unwrap();

    let listed: Vec<_> = changes
        .entries
        .iter()
        .map(|entry| (entry.revision, entry.name.to_string(), entry.resource.is_some()))
        .collect();
    let entry = |revision, name: &str, is_there| (revision, name.to_owned(), is_there);
    assert_eq!(changes.revision, 5);
    assert_eq!(
        listed,
        [
            entry(3, "policies/team", true),
            entry(4, "waivers/w-1", true),
            entry(4, "waivers/w-2", true),
            entry(5, "policies/team", false),
        ]
    );
    apply_changes(&mut since, changes);
    assert_eq!(since, store.load_snapshot().await.unwrap());
    assert_eq!(store.changes(Some(5)).await.unwrap().entries, []);
}

pub(super) async fn changes_come_in_pages_of_whole_revisions(store: Arc<dyn PolicyStore>) {
    let mut set = store.load_snapshot().await.unwrap();
    for revision in 2..=5_u64 {
        let names: Vec<String> = (0..700).map(|number| format!("w-{revision}-{number}")).collect();
        let write = waive(&names.iter().map(String::as_str).collect::<Vec<_>>());
        store.apply(later(SignedDuration::from_hours(1) * i32::try_from(revision).unwrap(), write)).await.unwrap();
    }

    let mut pages = Vec::new();
    while pages.last().is_none_or(|(_, _, has_more, _)| *has_more) {
        let page = store.changes(Some(set.revision)).await.unwrap();
        pages.push((page.revision, page.entries.len(), page.has_more, page.write_time));
        apply_changes(&mut set, page);
    }

    let at = |hours| noon() + SignedDuration::from_hours(hours);
    assert_eq!(pages, [(3, 1_400, true, at(3)), (5, 1_400, false, at(5))]);
    assert_eq!(set, store.load_snapshot().await.unwrap());
}

pub(super) async fn changes_state_times_of_their_revisions(store: Arc<dyn PolicyStore>) {
    let hour = SignedDuration::from_hours(1);
    store.apply(later(hour, create("team"))).await.unwrap();
    store.apply(later(hour + hour, delete("team", Precondition::Any))).await.unwrap();

    let since = store.changes(Some(2)).await.unwrap();
    let now = store.changes(Some(3)).await.unwrap();
    let beyond = store.changes(Some(4)).await.unwrap();

    assert_eq!((since.begin_time, since.write_time), (Some(noon() + hour), noon() + hour + hour));
    assert_eq!((now.begin_time, now.write_time), (Some(noon() + hour + hour), noon() + hour + hour));
    assert_eq!((beyond.begin_time, beyond.revision), (None, 3));
}

pub(super) async fn snapshot_at_past_revision_stays_readable(store: Arc<dyn PolicyStore>) {
    let mut sets: Vec<PolicySet> = vec![store.load_snapshot().await.unwrap()];
    for write in [
        create("team"),
        waive(&["w-1"]),
        update("team", Precondition::Any),
        delete("team", Precondition::Any),
        create("team"),
        update("default", Precondition::Any),
    ] {
        store.apply(write).await.unwrap();
        sets.push(store.load_snapshot().await.unwrap());
    }

    for set in sets {
        assert_eq!(store.snapshot_at(set.revision).await.unwrap(), set);
    }
}

pub(super) async fn history_states_authors(store: Arc<dyn PolicyStore>) {
    store.apply(by("ann", create("team"))).await.unwrap();
    store.apply(by("bob", update("team", Precondition::Any))).await.unwrap();
    store.apply(by("eve", delete("team", Precondition::Any))).await.unwrap();
    store.apply(by("dan", waive(&["w-1"]))).await.unwrap();
    let update_author = |set: &PolicySet, name| set.policies.get(&id(name)).map(|policy| policy.update_author.clone());

    let (past, present) = (store.snapshot_at(3).await.unwrap(), store.load_snapshot().await.unwrap());
    let authors = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.author).collect::<Vec<_>>();

    assert_eq!(authors(store.history(&key("team"), None, 9).await.unwrap()), ["eve", "bob", "ann"]);
    let waiver = ResourceName::Waiver(waiver_id("w-1"));
    assert_eq!(authors(store.history(&waiver, None, 9).await.unwrap()), ["dan"]);
    assert_eq!(authors(store.changes(Some(1)).await.unwrap().entries), ["ann", "bob", "eve", "dan"]);
    assert_eq!(update_author(&past, "team").as_deref(), Some("bob"));
    assert_eq!(update_author(&present, "default").as_deref(), Some(""), "the server itself wrote it");
}

pub(super) async fn history_pages_newest_first_despite_later_writes(store: Arc<dyn PolicyStore>) {
    store.apply(create("team")).await.unwrap();
    store.apply(create("other")).await.unwrap();
    store.apply(update("team", Precondition::Any)).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap();

    let first = store.history(&key("team"), None, 2).await.unwrap();
    store.apply(create("team")).await.unwrap();
    let second = store.history(&key("team"), Some(first[1].revision), 2).await.unwrap();

    let listed: Vec<(u64, bool)> =
        first.iter().chain(&second).map(|entry| (entry.revision, entry.resource.is_some())).collect();
    assert_eq!(listed, [(5, false), (4, true), (2, true)]);
    assert!(first.iter().all(|entry| entry.name == key("team")));
    assert_eq!(store.history(&key("never"), None, 2).await.unwrap(), []);
}
