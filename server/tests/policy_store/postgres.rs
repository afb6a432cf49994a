//! PostgreSQL: the contract, and several servers that share a store.

use std::{sync::Arc, time::Duration};

use scangate_server::{
    policies::{self, Policies},
    policy_store::{Change, Error, PolicyStore as _, Precondition, Resource, sql::SqlPolicyStore},
    sql::{Address, OpenError},
};
use scangate_test_postgres::Cluster;

use crate::{
    contract::{FILL, PROMISES, full_store_takes_changes_but_no_new_policies},
    fixtures::{self, LoadSnapshot as _, changed, create, options, update},
    newer_documents,
};

pub(crate) const BOUND: Duration = Duration::from_secs(2);

pub(crate) async fn open(url: &str) -> Result<SqlPolicyStore, OpenError> {
    fixtures::open(&Address::parse(url)).await
}

/// Loads a server's policies.
pub(crate) async fn server(url: &str) -> Arc<Policies> {
    Policies::load(Arc::new(open(url).await.unwrap()), BOUND).await.unwrap()
}

/// Writes a policy on a server, and returns the revision.
pub(crate) async fn write(server: &Arc<Policies>, name: &str) -> u64 {
    let change = Change::Update { resource: Resource::Policy(changed(name)), expected: Precondition::Any };
    server.write(change, options()).await.unwrap().revision
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_meets_contract() {
    let cluster = Cluster::start();
    let mut broken = Vec::new();
    for (name, promise) in PROMISES {
        let store = Arc::new(open(&cluster.database()).await.unwrap());
        if let Err(failure) = tokio::spawn(promise(store)).await {
            broken.push((name, failure));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");

    let database = cluster.database();
    let full = open(&database).await.unwrap();
    cluster.execute(&database, FILL);
    full_store_takes_changes_but_no_new_policies(Arc::new(full)).await;

    let database = cluster.database();
    let newer = open(&database).await.unwrap();
    cluster.execute(&database, &newer_documents::sql());
    newer_documents::newer_documents_are_read_in_part(Arc::new(newer)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_starting_together_seed_one_store() {
    let cluster = Cluster::start();
    let database = cluster.database();

    let mut servers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let database = database.clone();
        servers.spawn(async move { open(&database).await.unwrap().load_snapshot().await.unwrap().revision });
    }
    let revisions = servers.join_all().await;

    assert_eq!(revisions, [1; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_on_several_servers_lose_no_update() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let stores = [Arc::new(open(&database).await.unwrap()), Arc::new(open(&database).await.unwrap())];

    let mut writers = tokio::task::JoinSet::new();
    for number in 0..64 {
        let store = Arc::clone(&stores[number % 2]);
        writers.spawn(async move { store.apply(update("default", Precondition::Revision(1))).await });
    }
    let outcomes = writers.join_all().await;

    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(Error::Conflict { actual: 2, .. }))).count();
    assert_eq!(lost, 63, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn write_reaches_other_server_with_and_without_token() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (one, other) = (server(&database).await, server(&database).await);

    for _ in 0..50 {
        let revision = write(&one, "default").await;
        assert_eq!(other.snapshot_at_least(Some(revision)).await.unwrap().revision, revision);
    }
    let revision = write(&one, "default").await;
    let mut seen = other.revisions();
    tokio::time::timeout(BOUND, seen.wait_for(|seen| *seen >= revision)).await.unwrap().unwrap();

    assert_eq!(other.snapshot_at_least(None).await.unwrap().revision, revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_revision_token_is_not_reached() {
    let cluster = Cluster::start();
    let server = server(&cluster.database()).await;

    let refused = server.snapshot_at_least(Some(99)).await;

    assert!(matches!(refused, Err(policies::Error::RevisionNotReached { required: 99, current: 1 })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unconfirmed_snapshot_is_stale_until_store_returns() {
    let mut cluster = Cluster::start();
    let database = cluster.database();
    let server = server(&database).await;

    for trouble in ["crash", "pause"] {
        match trouble {
            "crash" => cluster.crash(),
            _ => cluster.pause(),
        }
        tokio::time::sleep(BOUND + Duration::from_millis(100)).await;
        let refused = server.snapshot_at_least(None).await;
        assert!(matches!(refused, Err(policies::Error::Stale)), "{trouble}: {refused:?}");
        match trouble {
            "crash" => cluster.start_server(),
            _ => cluster.resume(),
        }
        recovers(&server).await;
        write(&server, "default").await;
    }
    cluster.terminate_connections();
    recovers(&server).await;
    let written = write(&server, "default").await;

    assert_eq!(written, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_statement_keeps_connections() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let store = Arc::new(open(&database).await.unwrap());
    let mut pings = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        pings.spawn(async move { store.ping().await.unwrap() });
    }
    pings.join_all().await;
    cluster.execute(
        &database,
        "create table backends as select pid from pg_stat_activity where application_name = 'scangate';
         create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
         create trigger refuse before update on documents for each row execute function refuse();",
    );

    let refused = store.apply(update("default", Precondition::Any)).await;
    store.ping().await.unwrap();

    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    cluster.execute(
        &database,
        "do $$ begin
             assert (select count(*) > 1 from backends), 'there was one connection only';
             assert not exists (select pid from backends except select pid from pg_stat_activity), 'one was closed';
         end $$",
    );
}

pub(crate) async fn recovers(server: &Policies) {
    let began = std::time::Instant::now();
    while server.snapshot_at_least(None).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_database_crash() {
    let mut cluster = Cluster::start();
    let database = cluster.database();
    let store = Arc::new(open(&database).await.unwrap());
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                match store.apply(create(&format!("policy-{number}"))).await {
                    Ok(written) => acknowledged.push(written),
                    Err(_) => break,
                }
            }
            acknowledged
        })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.crash();
    let acknowledged = writing.await.unwrap();
    cluster.start_server();

    let set = open(&database).await.unwrap().load_snapshot().await.unwrap();

    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    for written in acknowledged {
        let policy = written.policy().unwrap();
        assert_eq!(set.policies.get(&policy.policy.id), Some(policy));
    }
}

#[tokio::test]
async fn address_never_shows_password() {
    let address = Address::parse("postgres://scangate:secret@127.0.0.1:1/none");

    let refused = fixtures::open(&address).await.unwrap_err();

    let shown = format!("{address} {address:?} {refused} {refused:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(matches!(refused, OpenError::Connect(_)));
}
