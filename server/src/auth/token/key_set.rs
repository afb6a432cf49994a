//! The public keys of an issuer: a JSON Web Key Set (RFC 7517), reduced to the keys that can verify a token.

use std::collections::HashMap;

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::settings::Algorithm;

/// The most keys of a set.
const MAX_KEYS: usize = 100;

/// A set of keys that the server does not take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidKeySet {
    #[error("not a JSON Web Key Set")]
    Malformed,
    #[error("more than {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("no key that can verify a token: a key needs a kid, and must fit one of RS256, PS256, ES256, ES384, EdDSA")]
    NoUsableKey,
}

/// The keys of an issuer by their id.
#[derive(Debug)]
pub(super) struct KeySet(HashMap<String, Key>);

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    /// The algorithms that fit its type, its curve and its own `alg`.
    algorithms: Vec<Algorithm>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Parses a set. Keys of other kinds and purposes are left out, as RFC 7517 demands. Of two keys with one id, the first counts.
    pub(super) fn parse(json: &[u8]) -> Result<Self, InvalidKeySet> {
        let document: Document = serde_json::from_slice(json).map_err(|_| InvalidKeySet::Malformed)?;
        if document.keys.len() > MAX_KEYS {
            return Err(InvalidKeySet::TooManyKeys);
        }
        let mut keys = HashMap::new();
        for jwk in document.keys {
            if let Some((id, key)) = serde_json::from_value(jwk).ok().and_then(|jwk| usable(&jwk)) {
                keys.entry(id).or_insert(key);
            }
        }
        if keys.is_empty() { Err(InvalidKeySet::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// Returns the key of this id.
    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }
}

impl Key {
    /// True if the key verifies signatures of the algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// Returns a key with its id, if it is meant for signatures and fits an algorithm.
fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let is_for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && jwk.common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let mut algorithms = algorithms_of(&jwk.algorithm);
    if let Some(own) = jwk.common.key_algorithm {
        algorithms.retain(|algorithm| own.to_string() == algorithm.name());
    }
    if !is_for_signatures || algorithms.is_empty() {
        return None;
    }
    let id = jwk.common.key_id.clone().filter(|id| !id.is_empty())?;
    Some((id, Key { decoding: DecodingKey::from_jwk(jwk).ok()?, algorithms }))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "keys of all other kinds, known or new, verify nothing")]
fn algorithms_of(parameters: &AlgorithmParameters) -> Vec<Algorithm> {
    match parameters {
        AlgorithmParameters::RSA(_) => vec![Algorithm::Rs256, Algorithm::Ps256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Algorithm::Es256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![Algorithm::Es384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDsa],
        // Symmetric keys are among them: a public document must not have one.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(keys: &Value) -> Result<KeySet, InvalidKeySet> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn ec_key(changes: &Value) -> Value {
        let mut key = json!({"kid": "1", "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"});
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    }

    #[test]
    fn key_fits_the_algorithm_of_its_curve_only() {
        let keys = parse(&json!([ec_key(&json!({"kid": "a"})), ec_key(&json!({"kid": "b", "crv": "P-384"}))])).unwrap();

        let fits =
            |id: &str| Algorithm::ALL.into_iter().filter(|it| keys.get(id).unwrap().fits(*it)).collect::<Vec<_>>();
        assert_eq!(fits("a"), [Algorithm::Es256]);
        assert_eq!(fits("b"), [Algorithm::Es384]);
    }

    #[test]
    fn rsa_key_with_algorithm_fits_it_only() {
        let rsa = |alg: &Value| json!([{"kid": "1", "kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": alg}]);

        let keys = parse(&rsa(&json!("PS256"))).unwrap();
        assert!(keys.get("1").unwrap().fits(Algorithm::Ps256) && !keys.get("1").unwrap().fits(Algorithm::Rs256));
        assert_eq!(parse(&rsa(&json!("RS512"))).unwrap_err(), InvalidKeySet::NoUsableKey);
    }

    #[test]
    fn keys_of_other_kinds_and_purposes_are_left_out() {
        for changes in [
            json!({"use": "enc"}),
            json!({"key_ops": ["encrypt"]}),
            json!({"alg": "ES384"}),
            json!({"alg": "HS256"}),
            json!({"crv": "P-521"}),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "new"}),
            json!({"kid": ""}),
            json!({"kid": null}),
            json!({"x": "="}),
        ] {
            assert_eq!(parse(&json!([ec_key(&changes)])).unwrap_err(), InvalidKeySet::NoUsableKey, "{changes}");
            assert!(parse(&json!([ec_key(&changes), ec_key(&json!({"kid": "2"}))])).is_ok(), "{changes}");
        }
    }

    #[test]
    fn first_key_of_an_id_counts() {
        let keys = parse(&json!([ec_key(&json!({})), ec_key(&json!({"crv": "P-384"}))])).unwrap();

        assert!(keys.get("1").unwrap().fits(Algorithm::Es256));
    }

    #[test]
    fn set_beyond_the_bound_is_invalid() {
        let keys = |count: usize| Value::Array((0..count).map(|id| ec_key(&json!({"kid": id.to_string()}))).collect());

        assert!(parse(&keys(MAX_KEYS)).is_ok());
        assert_eq!(parse(&keys(MAX_KEYS + 1)).unwrap_err(), InvalidKeySet::TooManyKeys);
        assert_eq!(KeySet::parse(b"{").unwrap_err(), InvalidKeySet::Malformed);
    }
}
