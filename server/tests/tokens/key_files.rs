//! Keys in a file.

use std::{fs, time::Duration};

use scangate_server::auth::token::{Issuer, Keys};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    issuer::{TestIssuer, tokens_of, verify},
    signing::{SigningKey, claims},
};

const ISSUER: &str = "https://kubernetes.default.svc";

fn document(key: &SigningKey) -> String {
    json!({"keys": [key.jwk()]}).to_string()
}

fn settings(folder: &TempDir) -> Issuer {
    Issuer { keys: Keys::File(folder.path().join("jwks.json")), ..TestIssuer::new(ISSUER.to_owned(), &[]).settings() }
}

#[tokio::test]
async fn replaced_file_takes_effect_at_reload() {
    let (old, new) = (SigningKey::new("old", "RS256"), SigningKey::new("new", "ES256"));
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("jwks.json"), document(&old)).unwrap();
    let tokens = tokens_of(settings(&folder));
    assert!(verify(&tokens, &old.token(&claims(ISSUER))).await.is_ok());

    fs::write(folder.path().join("jwks.json"), document(&new)).unwrap();
    tokens.reload().await;

    assert!(verify(&tokens, &new.token(&claims(ISSUER))).await.is_ok());
    assert_eq!(verify(&tokens, &old.token(&claims(ISSUER))).await, Err("unknown_key"));
}

#[tokio::test]
async fn file_is_read_again_every_few_seconds() {
    let (old, new) = (SigningKey::new("1", "RS256"), SigningKey::new("1", "ES256"));
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("jwks.json"), document(&old)).unwrap();
    let tokens = tokens_of(settings(&folder));
    assert!(verify(&tokens, &old.token(&claims(ISSUER))).await.is_ok());
    fs::write(folder.path().join("jwks.json"), document(&new)).unwrap();

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();

    // The id is known, so that no token asks for the new key.
    while verify(&tokens, &new.token(&claims(ISSUER))).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn half_written_file_keeps_the_earlier_keys() {
    let key = SigningKey::new("1", "RS256");
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("jwks.json"), document(&key)).unwrap();
    let tokens = tokens_of(settings(&folder));
    tokens.reload().await;

    fs::write(folder.path().join("jwks.json"), &document(&key)[..100]).unwrap();
    tokens.reload().await;
    assert!(verify(&tokens, &key.token(&claims(ISSUER))).await.is_ok());

    fs::remove_file(folder.path().join("jwks.json")).unwrap();
    tokens.reload().await;
    assert!(verify(&tokens, &key.token(&claims(ISSUER))).await.is_ok());
}
