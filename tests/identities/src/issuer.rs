//! An issuer of tokens whose keys the server reads from a file.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::{Value, json};

/// An issuer with one key.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    key_id: String,
    key: KeyPair,
}

impl Issuer {
    /// Creates an issuer with this URL, and a key with this id.
    pub fn new(url: &str, key_id: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        Self { url: url.to_owned(), key_id: key_id.to_owned(), key }
    }

    /// The URL of the issuer.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The public keys, as a JSON Web Key Set.
    pub fn keys(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key_raw());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.key_id, "x": x }] })
            .to_string()
    }

    /// Signs a token of this subject for this audience, valid for ten minutes.
    pub fn token(&self, subject: &str, audience: &str) -> String {
        self.token_until(subject, audience, Timestamp::now() + SignedDuration::from_mins(10))
    }

    /// Signs a token that expires at an instant.
    pub fn token_until(&self, subject: &str, audience: &str, expire_time: Timestamp) -> String {
        self.sign(&json!({ "iss": self.url, "sub": subject, "aud": audience, "exp": expire_time.as_second() }))
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.key_id });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let content = format!("{}.{}", part(&header), part(claims));
        let signature = self.key.sign(content.as_bytes()).unwrap();
        format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
