//! Writes of policies.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use scangate_core::{
    expression::Expression,
    finding::Score,
    glob::Glob,
    name::RuleId,
    policy::{Action, Match, Mode, Policy, ScanRequirements},
    rule::{Condition, Effect, FixFilter, Grace, GraceClock, Rule, SeverityChoice},
    severity::Severity,
    unknown::WhenUnknown,
};
use scangate_server::policy_store::{Change, Error, PolicyStore, Precondition, Resource, Write};
use scangate_test_fixtures::noon;

use crate::fixtures::{LoadSnapshot as _, changed, create, delete, id, key, later, update};

pub(super) async fn new_store_holds_default_policy_at_revision_one(store: Arc<dyn PolicyStore>) {
    let set = store.load_snapshot().await.unwrap();

    store.ping().await.unwrap();
    assert_eq!(set.revision, 1);
    assert_eq!(set.policies.len(), 1);
    let default = set.policies.get(&id("default")).unwrap();
    assert_eq!(default.policy, Policy::built_in_default().unwrap());
    assert_eq!(default.revision, 1);
}

pub(super) async fn policy_reads_back_exactly_as_written(store: Arc<dyn PolicyStore>) {
    let written = store
        .apply(Write { change: Change::Create(vec![Resource::Policy(elaborate())]), ..create("any") })
        .await
        .unwrap();
    let set = store.load_snapshot().await.unwrap();

    let revised = written.policy().cloned().unwrap();
    assert_eq!(revised.policy, elaborate());
    assert_eq!((written.revision, revised.revision, set.revision), (2, 2, 2));
    assert_eq!((revised.create_time, revised.update_time), (noon(), noon()));
    assert_eq!(set.policies.get(&id("elaborate")), Some(&revised));
}

pub(super) async fn update_replaces_policy_and_keeps_create_time(store: Arc<dyn PolicyStore>) {
    let created = store.apply(create("team")).await.unwrap().policy().cloned().unwrap();
    let change = later(SignedDuration::from_hours(1), update("team", Precondition::Revision(created.revision)));
    let updated = store.apply(change).await.unwrap().policy().cloned().unwrap();
    let set = store.load_snapshot().await.unwrap();

    assert_eq!(updated.policy, changed("team"));
    assert_eq!(updated.create_time, noon());
    assert_eq!(updated.update_time, noon() + SignedDuration::from_hours(1));
    assert_ne!(updated.content_digest, created.content_digest);
    assert_eq!(set.policies.get(&id("team")), Some(&updated));
}

pub(super) async fn deleted_policy_is_gone(store: Arc<dyn PolicyStore>) {
    store.apply(create("team")).await.unwrap();
    let deleted = store.apply(delete("team", Precondition::Revision(2))).await.unwrap();
    let set = store.load_snapshot().await.unwrap();

    assert_eq!((deleted.revision, deleted.resources), (3, Vec::new()));
    assert_eq!(set.revision, 3);
    assert!(!set.policies.contains_key(&id("team")));
}

pub(super) async fn stale_revision_conflicts_and_changes_nothing(store: Arc<dyn PolicyStore>) {
    store.apply(create("team")).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    for write in [
        update("team", Precondition::Revision(1)),
        update("team", Precondition::Revision(3)),
        delete("team", Precondition::Revision(1)),
        update("team", Precondition::Revision(u64::MAX)),
    ] {
        let refused = store.apply(write).await;
        assert!(matches!(&refused, Err(Error::Conflict { name, actual: 2 }) if *name == key("team")), "{refused:?}");
    }

    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn missing_policy_is_neither_updated_nor_deleted(store: Arc<dyn PolicyStore>) {
    let before = store.load_snapshot().await.unwrap();

    for write in [
        update("absent", Precondition::Any),
        update("absent", Precondition::Revision(1)),
        delete("absent", Precondition::Any),
        delete("absent", Precondition::Revision(1)),
    ] {
        let refused = store.apply(write).await;
        assert!(matches!(&refused, Err(Error::NotFound(missing)) if *missing == key("absent")), "{refused:?}");
    }

    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn duplicate_create_is_refused_and_changes_nothing(store: Arc<dyn PolicyStore>) {
    store.apply(create("team")).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let refused =
        store.apply(Write { change: Change::Create(vec![Resource::Policy(changed("team"))]), ..create("team") }).await;

    assert!(matches!(&refused, Err(Error::AlreadyExists(taken)) if *taken == key("team")), "{refused:?}");
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn default_policy_can_be_changed_but_not_deleted(store: Arc<dyn PolicyStore>) {
    store.apply(update("default", Precondition::Revision(1))).await.unwrap();
    let refused = [
        store.apply(delete("default", Precondition::Any)).await,
        store.apply(delete("default", Precondition::Revision(2))).await,
        store.apply(delete("default", Precondition::Revision(1))).await,
    ];
    let set = store.load_snapshot().await.unwrap();

    assert!(refused.iter().all(|refused| matches!(refused, Err(Error::DefaultRequired))), "{refused:?}");
    assert_eq!(set.revision, 2);
    assert_eq!(set.policies.get(&id("default")).unwrap().policy, changed("default"));
}

pub(super) async fn recreated_policy_begins_at_later_revision(store: Arc<dyn PolicyStore>) {
    store.apply(create("team")).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap();
    let again =
        store.apply(later(SignedDuration::from_hours(1), create("team"))).await.unwrap().policy().cloned().unwrap();
    let stale = store.apply(update("team", Precondition::Revision(2))).await;

    assert_eq!(again.revision, 4);
    assert_eq!(again.create_time, noon() + SignedDuration::from_hours(1));
    assert!(matches!(stale, Err(Error::Conflict { actual: 4, .. })), "{stale:?}");
}

pub(super) async fn revisions_grow_by_one_per_accepted_write(store: Arc<dyn PolicyStore>) {
    let written = [
        store.apply(create("one")).await,
        store.apply(create("one")).await,
        store.apply(create("two")).await,
        store.apply(update("one", Precondition::Any)).await,
        store.apply(update("one", Precondition::Revision(2))).await,
        // A write counts even if the content does not change.
        store.apply(update("one", Precondition::Any)).await,
        store.apply(delete("default", Precondition::Any)).await,
        store.apply(delete("two", Precondition::Any)).await,
        store.apply(update("default", Precondition::Any)).await,
    ];

    let revisions: Vec<u64> = written.into_iter().filter_map(|written| Some(written.ok()?.revision)).collect();
    assert_eq!(revisions, [2, 3, 4, 5, 6, 7]);
    assert_eq!(store.load_snapshot().await.unwrap().revision, 7);
}

pub(super) async fn policies_differing_in_id_share_digest(store: Arc<dyn PolicyStore>) {
    let one = store.apply(create("one")).await.unwrap().policy().cloned().unwrap();
    let two = store.apply(create("two")).await.unwrap().policy().cloned().unwrap();
    let other = store.apply(update("two", Precondition::Any)).await.unwrap().policy().cloned().unwrap();

    assert_eq!(one.content_digest, two.content_digest);
    assert_ne!(one.content_digest, other.content_digest);
    assert_eq!(one.content_digest.len(), 64);
    assert!(one.content_digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{}", one.content_digest);
}

pub(super) async fn times_are_stored_to_microsecond(store: Arc<dyn PolicyStore>) {
    let at: Timestamp = "2026-03-01T12:00:00.123456789Z".parse().unwrap();
    let stored: Timestamp = "2026-03-01T12:00:00.123456Z".parse().unwrap();

    let written = store.apply(Write { at, ..create("team") }).await.unwrap().policy().cloned().unwrap();

    assert_eq!((written.create_time, written.update_time), (stored, stored));
    assert_eq!(store.load_snapshot().await.unwrap().policies.get(&id("team")), Some(&written));
}

/// A policy with every field set.
fn elaborate() -> Policy {
    let glob = |pattern| Glob::parse(pattern).unwrap();
    Policy {
        id: id("elaborate"),
        description: "Quotes \"'\\, a NUL \0, a line\nbreak, and \u{1f512} – all kept.".to_owned(),
        matches: Match {
            registries: vec![glob("123456789012/eu-*")],
            repositories: vec![glob("team/*"), glob("it's; drop table policies --")],
            environments: vec![glob("prod")],
        },
        mode: Mode::Warn,
        effective_time: Some("2026-04-01T00:00:00.000000001Z".parse().unwrap()),
        replaces_default: true,
        scan: ScanRequirements {
            max_scan_age: Some(SignedDuration::new(86_400, 1)),
            max_basic_scan_age: Some(SignedDuration::new(86_400, 2)),
            max_source_age: Some(SignedDuration::new(86_400, 3)),
            never_scanned: Some(Action::StartScan),
            failed: Some(Action::Warn),
            too_old: Some(Action::Deny),
            ..ScanRequirements::default()
        },
        rules: vec![Rule {
            id: RuleId::parse("likely").unwrap(),
            description: String::new(),
            when: Condition {
                min_severity: Some(Severity::Low),
                severities: vec![SeverityChoice::Unrated, SeverityChoice::Rated(Severity::Critical)],
                fix: FixFilter::None,
                // More digits than a quick parser gets right.
                min_cvss: Some(Score::new(1.813_873_463_050_220_7).unwrap()),
                min_epss: Some(Score::new(f64::MIN_POSITIVE).unwrap()),
                exploit_known: true,
                vulnerability_ids: vec![glob("CVE-2021-*")],
                packages: vec![glob("openssl*")],
                package_managers: vec!["OS".to_owned()],
                expression: Some(
                    Expression::parse("finding.title.matches(r'^\\d') ||\n  now < finding.publish_time").unwrap(),
                ),
                when_unknown: WhenUnknown::NoMatch,
            },
            allowed_count: u32::MAX,
            grace: Some(Grace { period: SignedDuration::new(3_600, 1), clock: GraceClock::FixFirstObserved }),
            effect: Effect::Warn,
            waivable: false,
        }],
        honor_suppression: true,
        unrated_as: Severity::Critical,
    }
}
