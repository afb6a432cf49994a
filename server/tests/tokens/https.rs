//! An issuer over HTTPS with a certificate authority of its own.

use std::{fs, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::PrivateKeyDer;
use scangate_server::auth::token::Issuer;
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, rustls};

use crate::{
    issuer::{TestIssuer, tokens_of, verify},
    signing::{SigningKey, claims},
};

/// Starts an issuer at `https://localhost`; returns its certificate too.
async fn start(key: &SigningKey) -> (TestIssuer, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let private_key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], private_key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = TestIssuer::new(format!("https://localhost:{}", listener.local_addr().unwrap().port()), &[key]);
    let server = issuer.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                server.serve(stream).await;
            }
        }
    });
    (issuer, cert.pem())
}

#[tokio::test]
async fn issuer_of_own_authority_needs_its_file() {
    let key = SigningKey::new("1", "ES256");
    let (issuer, certificate) = start(&key).await;
    let token = key.token(&claims(&issuer.url));
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, certificate).unwrap();

    assert_eq!(verify(&tokens_of(issuer.settings()), &token).await, Err("unavailable"));
    assert!(verify(&tokens_of(Issuer { ca: Some(ca.clone()), ..issuer.settings() }), &token).await.is_ok());

    fs::write(&ca, "no certificate").unwrap();
    assert_eq!(verify(&tokens_of(Issuer { ca: Some(ca), ..issuer.settings() }), &token).await, Err("unavailable"));
}
