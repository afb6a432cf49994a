//! `https://`: verification of the server, and client certificates.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use scangate_client::{Client, ConnectOptions, Error, v1::*};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::{
    fake_server::{self, FakeServer, immediate_retries},
    fixtures::{DEPLOY, decision, evaluate_request, evaluate_response},
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Returns the PEM of a certificate and of its key.
fn issue_certificate(authority: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

async fn start_with_certificate_of(authority: &Authority) -> FakeServer {
    let (certificate, key) = issue_certificate(authority);
    // The server requires client certificates, issued by the same authority.
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(authority.pem()));
    let server = fake_server::start_with_tls(tls).await;
    server.service.evaluate.respond_with([Ok(evaluate_response(decision(Verdict::Allow)))]);
    server
}

fn options(server: &FakeServer) -> ConnectOptions {
    ConnectOptions::new(format!("https://localhost:{}", server.address.port())).retry(immediate_retries(1))
}

#[tokio::test]
async fn mutual_tls_call_succeeds() {
    let authority = authority();
    let server = start_with_certificate_of(&authority).await;
    let (certificate, key) = issue_certificate(&authority);
    let options = options(&server).ca_certificate(authority.pem()).identity(certificate, key);

    let decision = Client::connect(options).await.unwrap().evaluate(evaluate_request()).await.unwrap();

    assert_eq!(decision.require_allowed(), Ok(DEPLOY));
}

#[tokio::test]
async fn server_of_another_name_needs_its_domain() {
    let authority = authority();
    let server = start_with_certificate_of(&authority).await;
    let (certificate, key) = issue_certificate(&authority);
    let options = ConnectOptions::new(format!("https://{}", server.address))
        .retry(immediate_retries(1))
        .ca_certificate(authority.pem())
        .identity(certificate, key);

    let error = Client::connect(options.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");

    assert!(Client::connect(options.domain("localhost")).await.unwrap().evaluate(evaluate_request()).await.is_ok());
}

#[tokio::test]
async fn untrusted_server_certificate_is_rejected() {
    let server = start_with_certificate_of(&authority()).await;
    let options = options(&server).ca_certificate(authority().pem());

    let error = Client::connect(options).await.unwrap_err();

    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(server.service.evaluate.requests().is_empty());
}

#[tokio::test]
async fn missing_client_certificate_is_rejected() {
    let authority = authority();
    let server = start_with_certificate_of(&authority).await;
    let client = Client::connect_lazy(options(&server).ca_certificate(authority.pem())).unwrap();

    let error = client.evaluate(evaluate_request()).await.unwrap_err();

    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(server.service.evaluate.requests().is_empty());
}
