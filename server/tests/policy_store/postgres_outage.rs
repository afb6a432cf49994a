//! PostgreSQL over a network: silently lost connections, impostors and standbys, and a restored database.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use scangate_server::{
    policies,
    policy_store::{PolicyStore as _, Precondition},
    sql::{Address, OpenError},
};
use scangate_test_postgres::{Cluster, TcpProxy};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    contract::FILL,
    fixtures::{self, update},
    postgres::{BOUND, open, recovers, server, write},
};

#[tokio::test(flavor = "multi_thread")]
async fn silently_lost_connections_are_replaced() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let link = TcpProxy::start(cluster.address()).await;
    let server = server(&Cluster::url_at(&database, link.address())).await;
    write(&server, "default").await;

    let calls = (0..16).map(|_| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { while server.snapshot_at_least(Some(99)).await.is_ok() {} })
    });
    let calls: Vec<_> = calls.collect();
    link.lose_connections();
    recovers(&server).await;
    for call in calls {
        call.await.unwrap();
    }
    let written = timeout(Duration::from_secs(5), write(&server, "default")).await;

    assert!(matches!(written, Ok(3)), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn write_on_lost_connection_is_unavailable() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let link = TcpProxy::start(cluster.address()).await;
    let store = open(&Cluster::url_at(&database, link.address())).await.unwrap();
    cluster.execute(
        &database,
        "create function wait() returns trigger language plpgsql as
        $$ begin perform pg_sleep(3); return new; end $$",
    );
    cluster.execute(&database, "create trigger wait before update on documents for each row execute function wait()");

    let began = Instant::now();
    let (outcome, ()) = tokio::join!(store.apply(update("default", Precondition::Any)), async {
        sleep(Duration::from_secs(1)).await;
        link.lose_connections();
    });

    assert!(matches!(outcome, Err(scangate_server::policy_store::Error::Unavailable(_))), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_read_of_past_content_has_limit_of_a_load() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let store = open(&database).await.unwrap();
    // Longer than one request may take.
    cluster.execute(
        &database,
        "alter table document_revisions rename to stored_revisions;
         create view document_revisions as select stored.* from stored_revisions stored, pg_sleep(13)",
    );

    let read = store.snapshot_at(1).await;

    assert_eq!(read.unwrap().revision, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_far_behind_catches_up_in_pages() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let server = server(&database).await;

    cluster.execute(&database, FILL);
    let mut seen = server.revisions();
    timeout(Duration::from_mins(1), seen.wait_for(|seen| *seen == 10_000)).await.unwrap().unwrap();

    assert_eq!(server.snapshot_at_least(None).await.unwrap().policies.len(), 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_resume_after_listener_loss() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let link = TcpProxy::start(cluster.address()).await;
    let listener = open(&Cluster::url_at(&database, link.address())).await.unwrap();
    let writer = open(&database).await.unwrap();

    link.lose_connections();
    let began = Instant::now();
    loop {
        // Drains spurious notifications before the write.
        while timeout(Duration::from_millis(300), listener.changed()).await.is_ok() {}
        writer.apply(update("default", Precondition::Any)).await.unwrap();
        if timeout(Duration::from_millis(300), listener.changed()).await.is_ok() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no notification arrived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_server_is_refused() {
    let cluster = Cluster::start();
    let database = cluster.database();
    open(&database).await.unwrap();
    let standby = cluster.standby();

    let refused = open(&Cluster::url_at(&database, standby.address())).await;

    assert!(matches!(refused, Err(OpenError::Connect(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_store_makes_running_server_stale() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let before = server(&database).await;
    write(&before, "default").await;

    // The state of a backup of revision 1 that was restored and then written to twice.
    cluster.execute(
        &database,
        "begin;
         alter table documents disable trigger all;
         update document_revisions set write_time = write_time + 1 where revision = 2;
         insert into document_revisions (kind, id, revision, body, content_digest, create_time, write_time, author)
             select kind, id, 3, body, content_digest, create_time, write_time, author from document_revisions where revision = 2;
         update documents set revision = 3;
         update store_revision set revision = 3;
         commit",
    );
    sleep(BOUND + Duration::from_millis(600)).await;
    let refused = before.snapshot_at_least(None).await;
    let anew = server(&database).await.snapshot_at_least(None).await.unwrap();

    assert!(matches!(refused, Err(policies::Error::Stale)), "{refused:?}");
    assert_eq!(anew.revision, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_certificate_is_verified() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let directory = TempDir::new().unwrap();
    let (trusted, untrusted) = (directory.path().join("trusted.pem"), directory.path().join("untrusted.pem"));
    fs::write(&trusted, authority.pem()).unwrap();
    fs::write(&untrusted, stranger.cert.pem()).unwrap();
    let mut cluster = Cluster::start();
    let database = cluster.database();
    cluster.require_tls(&certificate.pem(), &key.serialize_pem());
    let verified = |root: &std::path::Path| format!("{database}?sslmode=verify-full&sslrootcert={}", root.display());

    let (one, other) = (open(&verified(&trusted)).await.unwrap(), open(&verified(&trusted)).await.unwrap());
    while timeout(Duration::from_millis(500), other.changed()).await.is_ok() {}
    one.apply(update("default", Precondition::Any)).await.unwrap();
    timeout(Duration::from_secs(5), other.changed()).await.unwrap();
    let as_stranger = open(&verified(&untrusted)).await;
    let by_another_name = open(&verified(&trusted).replace("127.0.0.1", "localhost")).await;
    let in_the_clear = open(&format!("{database}?sslmode=disable")).await;

    for refused in [as_stranger, by_another_name, in_the_clear] {
        assert!(matches!(refused, Err(OpenError::Connect(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn unsupported_address_is_refused_and_not_shown() {
    for text in [
        "Postgres://scangate:secret@db/x",
        "mysql://scangate:secret@db/x",
        "postgres+ssl://scangate:secret@db/x",
        "host=db user=scangate password=secret",
        "password=secret",
    ] {
        let address = Address::parse(text);

        let refused = fixtures::open(&address).await.unwrap_err();

        let shown = format!("{address} {address:?} {refused} {refused:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(matches!(refused, OpenError::Address), "{shown}");
    }
}

#[tokio::test]
async fn unknown_parameter_is_refused_and_value_not_shown() {
    for (text, name) in [
        ("postgres://scangate@127.0.0.1:1/x?sslmode=require&sslpassword=secret", "sslpassword"),
        ("postgres://scangate@127.0.0.1:1/x?passwrd=secret", "passwrd"),
        ("postgres://scangate@127.0.0.1:1/x?secret", ""),
    ] {
        let refused = fixtures::open(&Address::parse(text)).await.unwrap_err();

        assert!(matches!(&refused, OpenError::Parameter(parameter) if parameter == name), "{refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("secret"));
    }
}
