//! Client certificates: the names that they give, and the ones that fail the handshake. The clients insist on sending theirs.

use std::sync::Arc;

use scangate_server::listen::tls::Files;
use scangate_test_identities::{Authority, Purpose, Subject, Validity};
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion};

use crate::fixtures::{Client, Setup, greeting, serve};

#[tokio::test]
async fn certificate_names_the_peer() {
    let setup = Setup::new();
    let (address, _) = serve(setup.files()).await;
    let subject = Subject { common_name: "ci", dns: &["ci.example.org"], uris: &["spiffe://example.org/ci"] };

    let mut names = Vec::new();
    for subject in
        [subject.clone(), Subject { uris: &[], ..subject.clone() }, Subject { common_name: "ci", ..Subject::default() }]
    {
        let own = setup.authority.issue(&subject, Purpose::Client, Validity::Current);
        names.push(greeting(address, setup.client(Some(&own))).await.unwrap());
    }
    names.push(greeting(address, setup.client(None)).await.unwrap());

    assert_eq!(names, ["spiffe://example.org/ci", "dns:ci.example.org", "cn:ci", "none"]);
}

#[tokio::test]
async fn unacceptable_certificate_fails_the_handshake() {
    let setup = Setup::new();
    let id = ["spiffe://example.org/ci"];
    let subject = Subject { uris: &id, ..Subject::default() };
    let issue = |purpose, validity| setup.authority.issue(&subject, purpose, validity);
    let (good, revoked) = (issue(Purpose::Client, Validity::Current), issue(Purpose::Client, Validity::Current));
    let two_ids = Subject { uris: &["spiffe://example.org/a", "spiffe://example.org/b"], ..Subject::default() };
    let unacceptable = [
        ("another authority", Authority::new("test").issue(&subject, Purpose::Client, Validity::Current)),
        ("expired", issue(Purpose::Client, Validity::Expired)),
        ("for servers only", issue(Purpose::Server, Validity::Current)),
        ("two ids", setup.authority.issue(&two_ids, Purpose::Client, Validity::Current)),
        (
            "no name",
            setup.authority.issue(
                &Subject { common_name: "\n", ..Subject::default() },
                Purpose::Client,
                Validity::Current,
            ),
        ),
        ("revoked", revoked.clone()),
    ];

    for is_required in [false, true] {
        let files = Files { is_client_certificate_required: is_required, ..setup.files_with_revoked(&[&revoked]) };
        let (address, _) = serve(files).await;
        for (case, own) in &unacceptable {
            let greeted = greeting(address, setup.client(Some(own))).await;
            assert!(greeted.is_err(), "{case}: {greeted:?}");
        }
        assert_eq!(greeting(address, setup.client(Some(&good))).await.unwrap(), id[0]);
        assert_eq!(greeting(address, setup.client(None)).await.is_ok(), !is_required);
    }
}

#[tokio::test]
async fn certificate_without_list_is_refused() {
    let setup = Setup::new();
    let own = setup.authority.client("spiffe://example.org/ci");
    let files = setup.files_with_revoked(&[]);
    let other = Authority::new("other");
    setup.write("ca.pem", &(setup.authority.certificate() + &other.certificate()));
    let (address, _) = serve(files).await;

    let covered = greeting(address, setup.client(Some(&own))).await;
    let uncovered = greeting(address, setup.client(Some(&other.client("spiffe://example.org/other")))).await;

    assert_eq!(covered.unwrap(), "spiffe://example.org/ci");
    assert!(uncovered.is_err(), "{uncovered:?}");
}

#[tokio::test]
async fn both_versions_verify_and_never_resume() {
    let setup = Setup::new();
    let (address, _) = serve(setup.files()).await;
    let own = setup.authority.client("spiffe://example.org/ci");
    let clients =
        [(setup.client(Some(&own)), ProtocolVersion::TLSv1_3), (setup.tls12_client(&own), ProtocolVersion::TLSv1_2)];

    for (client, version) in clients {
        for _ in 0..2 {
            let mut connected = Client::connect(address, Arc::clone(&client)).await.unwrap();
            assert_eq!(connected.greeting, "spiffe://example.org/ci");
            assert_eq!(connected.echo("more").await.unwrap(), "more");
            let session = connected.session();
            assert_eq!(session.protocol_version(), Some(version));
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}
