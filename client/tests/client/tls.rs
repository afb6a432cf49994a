//! `https://`: whom the client trusts, and how it identifies itself.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use scangate_client::{Client, ConnectOptions, Error, v1::*};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::{
    answers::{DEPLOY, asked, decision, evaluated},
    fake_gate::{self, Running, eager},
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// PEM of a certificate and of its key.
fn issued_by(authority: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

async fn gate_with_certificate_of(authority: &Authority) -> Running {
    let (certificate, key) = issued_by(authority);
    // A gate that wants to know who calls: its own authority signs the callers' certificates too.
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(authority.pem()));
    let fake = fake_gate::start_with_tls(tls).await;
    fake.gate.evaluate.will([Ok(evaluated(decision(Verdict::Allow)))]);
    fake
}

fn options(fake: &Running) -> ConnectOptions {
    ConnectOptions::new(format!("https://localhost:{}", fake.address.port())).retry(eager(1))
}

#[tokio::test]
async fn a_gate_and_a_caller_that_trust_one_another_talk() {
    let authority = authority();
    let fake = gate_with_certificate_of(&authority).await;
    let (certificate, key) = issued_by(&authority);
    let options = options(&fake).ca_certificate(authority.pem()).identity(certificate, key);

    let decision = Client::connect(options).await.unwrap().evaluate(asked()).await.unwrap();

    assert_eq!(decision.require_allowed(), Ok(DEPLOY));
}

#[tokio::test]
async fn a_gate_of_another_authority_is_not_talked_to() {
    let fake = gate_with_certificate_of(&authority()).await;
    let options = options(&fake).ca_certificate(authority().pem());

    let error = Client::connect(options).await.unwrap_err();

    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(fake.gate.evaluate.requests().is_empty());
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_turned_away() {
    let authority = authority();
    let fake = gate_with_certificate_of(&authority).await;
    let client = Client::connect_lazy(options(&fake).ca_certificate(authority.pem())).unwrap();

    let error = client.evaluate(asked()).await.unwrap_err();

    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(fake.gate.evaluate.requests().is_empty());
}
