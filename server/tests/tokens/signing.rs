//! Keys that sign tokens, right or forged.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};

/// The audience that the tests' issuers accept.
pub(crate) const AUDIENCE: &str = "https://gate.example.com";

/// A private key with its id.
pub(crate) struct SigningKey {
    pub(crate) kid: &'static str,
    pub(crate) algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    /// A fresh key; the RSA key is always the same, since ring generates none.
    pub(crate) fn new(kid: &'static str, algorithm: &'static str) -> Self {
        let random = SystemRandom::new();
        let ec = |curve: &'static EcdsaSigningAlgorithm| {
            let document = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
            Pair::Ec(EcdsaKeyPair::from_pkcs8(curve, document.as_ref(), &random).unwrap())
        };
        let pair = match algorithm {
            "RS256" | "PS256" => Pair::Rsa(RsaKeyPair::from_pkcs8(include_bytes!("rsa_key.pk8")).unwrap()),
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            "EdDSA" => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Pair::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
            }
            other => panic!("{other} is no algorithm of the tests"),
        };
        Self { kid, algorithm, pair }
    }

    /// The public key.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": encode(public.n), "e": encode(public.e)})
            }
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": if x.len() == 32 { "P-256" } else { "P-384" }, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())}),
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The raw bytes of the public key, as a secret for HS256.
    pub(crate) fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The header of a right token.
    pub(crate) fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": self.algorithm, "kid": self.kid})
    }

    /// A token of these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token of any header and claims, signed rightly.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding =
                    if self.algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", encode(signature))
    }
}

/// The claims of a right token, which lasts one hour.
pub(crate) fn claims(issuer: &str) -> Value {
    let now = Timestamp::now().as_second();
    json!({"iss": issuer, "aud": AUDIENCE, "sub": "repo:acme/shop", "iat": now, "nbf": now, "exp": now + 3600})
}

/// The claims of a right token, but for these.
pub(crate) fn changed(issuer: &str, changes: &Value) -> Value {
    let mut claims = claims(issuer);
    let claims_of = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims_of.remove(name);
        } else {
            claims_of.insert(name.clone(), value.clone());
        }
    }
    claims
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
