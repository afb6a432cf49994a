//! The replacement of TLS files while connections are open.

use scangate_server::listen::{
    Tls,
    tls::{Error, File, Files, Reload},
};
use scangate_test_identities::{Authority, Purpose, Subject, Validity, client_config};

use crate::fixtures::{Client, Setup, greeting, serve};

const ID: &str = "spiffe://example.org/ci";

#[tokio::test]
async fn open_connection_survives_a_new_certificate() {
    let setup = Setup::new();
    let (address, tls) = serve(setup.files()).await;
    let mut open = Client::connect(address, setup.client(None)).await.unwrap();
    let next = Authority::new("next");
    next.server().write(setup.path(), "server");

    let reloaded = tls.reload().await.unwrap();
    let again = tls.reload().await.unwrap();

    assert_eq!((reloaded, again), (Reload::Replaced, Reload::Unchanged));
    assert_eq!(open.echo("still here").await.unwrap(), "still here");
    assert!(greeting(address, setup.client(None)).await.is_err(), "the old certificate serves");
    assert_eq!(greeting(address, client_config(&next, None)).await.unwrap(), "none");
}

#[tokio::test]
async fn half_written_pair_changes_nothing() {
    let setup = Setup::new();
    let (address, tls) = serve(setup.files()).await;
    let next = Authority::new("next");
    let pair = next.server();
    let half = &pair.certificate[..pair.certificate.len() / 2];

    for (certificate, is_expected) in
        [(half, is_invalid as fn(&Error) -> bool), (&pair.certificate, |error| matches!(error, Error::KeyMismatch))]
    {
        setup.write("server.pem", certificate);
        let error = tls.reload().await.unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        assert_eq!(greeting(address, setup.client(None)).await.unwrap(), "none");
    }
    setup.write("server.key", &pair.key);

    assert_eq!(tls.reload().await.unwrap(), Reload::Replaced);
    assert_eq!(greeting(address, client_config(&next, None)).await.unwrap(), "none");
}

fn is_invalid(error: &Error) -> bool {
    matches!(error, Error::Invalid { file: File::Certificate, .. })
}

#[tokio::test]
async fn unusable_file_changes_nothing() {
    let setup = Setup::new();
    let own = setup.authority.client(ID);
    let (address, tls) = serve(setup.files_with_revoked(&[])).await;
    let certificate_of_server = setup.authority.server().certificate;
    let marker = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    for name in ["server.pem", "server.key", "ca.pem", "crl.pem"] {
        let path = setup.path().join(name);
        let good = std::fs::read_to_string(&path).unwrap();
        let other_kind = if name == "crl.pem" { certificate_of_server.as_str() } else { "" };
        for bad in ["", "garbage", other_kind, marker, &good[..good.len() - 30], &"A".repeat(17 * 1024 * 1024)] {
            setup.write(name, bad);
            let error = tls.reload().await.unwrap_err();
            assert!(!error.to_string().contains("AAAA"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(tls.reload().await, Err(Error::Unreadable { .. })));
        assert_eq!(greeting(address, setup.client(Some(&own))).await.unwrap(), ID);
        setup.write(name, &good);
        assert_eq!(tls.reload().await.unwrap(), Reload::Unchanged);
    }
}

#[tokio::test]
async fn unusable_files_prevent_the_start() {
    let setup = Setup::new();
    let missing = Files { crl: Some(setup.path().join("missing.pem")), ..setup.files() };
    let foreign = Files { key: setup.path().join("other.key"), ..setup.files() };
    setup.authority.server().write(setup.path(), "other");

    assert!(matches!(Tls::load(missing), Err(Error::Unreadable { file: File::RevocationList, .. })));
    assert!(matches!(Tls::load(foreign), Err(Error::KeyMismatch)));
}

#[tokio::test]
async fn revocation_concerns_new_connections() {
    let setup = Setup::new();
    let own = setup.authority.client(ID);
    let (address, tls) = serve(setup.files_with_revoked(&[])).await;
    let mut open = Client::connect(address, setup.client(Some(&own))).await.unwrap();

    setup.files_with_revoked(&[&own]);
    let reloaded = tls.reload().await.unwrap();

    assert_eq!(reloaded, Reload::Replaced);
    assert_eq!(open.echo("still here").await.unwrap(), "still here");
    assert!(greeting(address, setup.client(Some(&own))).await.is_err());
}

#[tokio::test]
async fn removed_authority_concerns_new_connections() {
    let setup = Setup::new();
    let own = setup.authority.client(ID);
    let (address, tls) = serve(setup.files()).await;
    let mut open = Client::connect(address, setup.client(Some(&own))).await.unwrap();
    let next = Authority::new("next");

    setup.write("ca.pem", &next.certificate());
    tls.reload().await.unwrap();

    assert_eq!(open.echo("still here").await.unwrap(), "still here");
    assert!(greeting(address, setup.client(Some(&own))).await.is_err());
    assert_eq!(greeting(address, setup.client(Some(&next.client(ID)))).await.unwrap(), ID);
}

#[tokio::test]
async fn expired_certificate_replaces_no_valid_one() {
    let setup = Setup::new();
    let (address, tls) = serve(setup.files()).await;
    let expired = setup.authority.issue(&Subject::default(), Purpose::Server, Validity::Expired);
    expired.write(setup.path(), "server");

    let refused = tls.reload().await;
    let started = Tls::load(setup.files());

    assert!(matches!(refused, Err(Error::NotValid(_))), "{refused:?}");
    assert_eq!(greeting(address, setup.client(None)).await.unwrap(), "none");
    assert!(started.is_ok(), "a server whose certificate expired does not start again: {started:?}");
}
