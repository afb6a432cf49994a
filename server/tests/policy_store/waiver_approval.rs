//! Waivers where the approval of another caller is demanded.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use scangate_core::waiver::{Approval, State, Waiver};
use scangate_server::{
    observations::sql::SqlObservations,
    policies::{self, Policies, WriteOptions},
    policy_store::{self, Precondition, WriteResult, sql::SqlPolicyStore},
    sql::{Address, Database},
    waivers::{Error, Waivers},
};
use tempfile::TempDir;

use crate::fixtures::waiver_id;

/// The use cases over a new store, with approval demanded or not.
struct Store {
    policies: Arc<Policies>,
    observations: Arc<SqlObservations>,
    _directory: TempDir,
}

impl Store {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let database = Database::open(&Address::File(directory.path().join("scangate.db"))).await.unwrap();
        let store = SqlPolicyStore::open(&database).await.unwrap();
        let policies = Policies::load(Arc::new(store), Duration::from_secs(5)).await.unwrap();
        Self { policies, observations: Arc::new(SqlObservations::new(&database)), _directory: directory }
    }

    fn waivers(&self, is_demanded: bool) -> Waivers {
        Waivers::new(Arc::clone(&self.policies), Arc::clone(&self.observations) as _, is_demanded)
    }
}

fn by(caller: &str) -> WriteOptions {
    WriteOptions { caller: caller.to_owned(), validate_only: false, request_key: None }
}

/// A waiver as a client sends it, with forged fields.
fn forged() -> Waiver {
    let approval = Some(Approval::Given { by: "eve".to_owned(), at: Timestamp::now() });
    let start = Timestamp::now() - SignedDuration::from_hours(1);
    Waiver { requested_by: "eve".to_owned(), approval, ..scangate_test_fixtures::waiver("w", "CVE-2021-44228", start) }
}

async fn approve(waivers: &Waivers, caller: &str) -> Result<WriteResult, Error> {
    let current = waivers.current(&waiver_id("w"), Precondition::Any).await?;
    waivers.approve(current, by(caller)).await
}

async fn change(waivers: &Waivers, caller: &str, change: impl FnOnce(&mut Waiver)) -> Result<WriteResult, Error> {
    let current = waivers.current(&waiver_id("w"), Precondition::Any).await?;
    let mut waiver = current.revision.waiver.clone();
    change(&mut waiver);
    // An update never takes these from its request.
    (waiver.requested_by, waiver.approval) = (forged().requested_by, forged().approval);
    waivers.update(waiver, current, by(caller)).await
}

async fn read(waivers: &Waivers) -> Waiver {
    waivers.get(&waiver_id("w"), None).await.unwrap().0.revision.waiver.clone()
}

fn widen(waiver: &mut Waiver) {
    waiver.expire_time += SignedDuration::from_hours(1);
}

fn narrow(waiver: &mut Waiver) {
    waiver.expire_time -= SignedDuration::from_hours(1);
}

fn reword(waiver: &mut Waiver) {
    waiver.reason += "!";
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Approve,
    Widen,
    Narrow,
    Reword,
}

/// The rules of approval, stated a second time.
struct Model {
    approved_by: Option<&'static str>,
    /// The callers who wrote a version since the last approval.
    authors: BTreeSet<&'static str>,
}

impl Model {
    /// Returns true if the step is accepted.
    fn take(&mut self, step: Step, caller: &'static str) -> bool {
        match step {
            Step::Approve => {
                let is_own = caller == REQUESTER || self.authors.contains(caller);
                if !is_own && self.approved_by.is_none() {
                    (self.approved_by, self.authors) = (Some(caller), BTreeSet::new());
                }
                !is_own
            }
            Step::Narrow if self.approved_by.is_some() => true,
            Step::Widen | Step::Narrow | Step::Reword => {
                self.approved_by = None;
                self.authors.insert(caller);
                true
            }
        }
    }
}

const REQUESTER: &str = "ann";

async fn check(steps: Vec<(Step, &'static str)>) {
    let store = Store::new().await;
    let waivers = store.waivers(true);
    waivers.create(forged(), by(REQUESTER)).await.unwrap();
    let mut model = Model { approved_by: None, authors: BTreeSet::from([REQUESTER]) };
    for (step, caller) in steps {
        let outcome = match step {
            Step::Approve => approve(&waivers, caller).await,
            Step::Widen => change(&waivers, caller, widen).await,
            Step::Narrow => change(&waivers, caller, narrow).await,
            Step::Reword => change(&waivers, caller, reword).await,
        };

        if model.take(step, caller) {
            outcome.unwrap();
        } else {
            assert!(matches!(outcome, Err(Error::SelfApproval(_))), "{step:?} by {caller}: {outcome:?}");
        }
        let waiver = read(&waivers).await;
        let state = if model.approved_by.is_some() { State::Active } else { State::Proposed };
        assert_eq!((waiver.approver(), waiver.state(Timestamp::now())), (model.approved_by, state), "{step:?}");
        assert_eq!(waiver.requested_by, REQUESTER);
        assert_eq!(waiver.holds_at(Timestamp::now()), model.approved_by.is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn waiver_is_approved_by_others_only(steps in prop::collection::vec(
        (
            prop::sample::select(vec![Step::Approve, Step::Approve, Step::Widen, Step::Narrow, Step::Reword]),
            prop::sample::select(vec![REQUESTER, "bob", "eve", "dan"]),
        ),
        0..16,
    )) {
        tokio::runtime::Runtime::new().unwrap().block_on(check(steps));
    }
}

#[tokio::test]
async fn trivial_change_hides_no_author() {
    check(vec![
        (Step::Approve, "bob"),
        (Step::Widen, "eve"),
        (Step::Reword, "dan"),
        (Step::Approve, "eve"),
        (Step::Approve, "dan"),
        (Step::Approve, "bob"),
    ])
    .await;
}

#[tokio::test]
async fn long_history_hides_no_author() {
    let mut steps = vec![(Step::Widen, "eve")];
    steps.extend([(Step::Reword, "dan"); 250]);
    steps.extend([(Step::Approve, "eve"), (Step::Approve, "bob")]);

    check(steps).await;
}

#[tokio::test]
async fn ended_waiver_is_not_approved() {
    let store = Store::new().await;
    let waivers = store.waivers(true);
    waivers.create(forged(), by("ann")).await.unwrap();
    let end = |waiver: &mut Waiver| waiver.expire_time = Timestamp::now() - SignedDuration::from_secs(1);
    change(&waivers, "ann", end).await.unwrap();
    let expired = approve(&waivers, "bob").await;
    let current = waivers.current(&waiver_id("w"), Precondition::Any).await.unwrap();
    waivers.revoke(current, "over", by("ann")).await.unwrap();

    let revoked = approve(&waivers, "bob").await;

    assert!(matches!(expired, Err(Error::Expired(_))), "{expired:?}");
    let is_revoked = matches!(revoked, Err(Error::Policies(policies::Error::Store(policy_store::Error::Revoked(_)))));
    assert!(is_revoked, "{revoked:?}");
}

#[tokio::test]
async fn approval_is_of_the_version_read() {
    let store = Store::new().await;
    let waivers = store.waivers(true);
    waivers.create(forged(), by("ann")).await.unwrap();
    let read = waivers.current(&waiver_id("w"), Precondition::Any).await.unwrap();
    change(&waivers, "ann", widen).await.unwrap();

    let stale = waivers.approve(read, by("bob")).await;

    let is_conflict =
        matches!(stale, Err(Error::Policies(policies::Error::Store(policy_store::Error::Conflict { .. }))));
    assert!(is_conflict, "{stale:?}");
}

#[tokio::test]
async fn dry_run_approves_nothing() {
    let store = Store::new().await;
    let waivers = store.waivers(true);
    waivers.create(forged(), by("ann")).await.unwrap();
    let current = waivers.current(&waiver_id("w"), Precondition::Any).await.unwrap();

    let tried = waivers.approve(current, WriteOptions { validate_only: true, ..by("bob") }).await.unwrap();

    assert_eq!(tried.waivers().next().unwrap().waiver.approver(), Some("bob"));
    assert!(read(&waivers).await.awaits_approval());
}

#[tokio::test]
async fn repeated_approval_keeps_first_approver() {
    let store = Store::new().await;
    let waivers = store.waivers(true);
    waivers.create(forged(), by("ann")).await.unwrap();
    let first = approve(&waivers, "bob").await.unwrap();

    let again = approve(&waivers, "eve").await.unwrap();

    let notes = waivers.describe_approval(&again).await.unwrap().notes;
    assert_eq!((again.revision, read(&waivers).await.approver()), (first.revision, Some("bob")));
    assert!(notes.iter().any(|note| note.contains("already approved")), "{notes:?}");
}

#[tokio::test]
async fn unapproved_waiver_needs_approval_of_wider_scope() {
    let store = Store::new().await;
    let (before, waivers) = (store.waivers(false), store.waivers(true));
    before.create(forged(), by("ann")).await.unwrap();
    let created = read(&before).await;

    change(&waivers, "ann", narrow).await.unwrap();
    let narrowed = read(&waivers).await;
    change(&waivers, "ann", widen).await.unwrap();
    let widened = read(&waivers).await;

    assert_eq!((created.requested_by.as_str(), created.approval), ("ann", None));
    assert_eq!((narrowed.approval, widened.approval), (None, Some(Approval::Awaited)));
}
