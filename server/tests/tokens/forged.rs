//! Forged and unfit tokens: each is refused, with a kind for the caller and no part of the token in the log.

use ring::hmac;
use scangate_server::auth::token::{Algorithm, Issuer, TokenError};
use serde_json::{Value, json};

use crate::{
    issuer::{TestIssuer, tokens_of, verify},
    signing::{SigningKey, changed, claims, encode},
};

/// A token with these fields in its header.
fn with_header(key: &SigningKey, issuer: &TestIssuer, changes: &Value) -> String {
    let mut header = key.header();
    header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    key.sign(&header.to_string(), &claims(&issuer.url).to_string())
}

#[tokio::test]
async fn unsigned_and_symmetric_tokens_are_refused() {
    let key = SigningKey::new("1", "RS256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let claims = encode(claims(&issuer.url).to_string());

    for algorithm in ["none", "None", "HS256", "HS512", "", "RS512", "ES512", "rs256"] {
        let message = format!("{}.{claims}", encode(json!({"alg": algorithm, "kid": "1"}).to_string()));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.public_bytes());
        let by_public_key = format!("{message}.{}", encode(hmac::sign(&secret, message.as_bytes())));

        assert_eq!(verify(&tokens, &by_public_key).await, Err("algorithm"), "{algorithm}");
        assert_eq!(verify(&tokens, &format!("{message}.")).await, Err("algorithm"), "{algorithm}");
    }
}

#[tokio::test]
async fn algorithm_that_does_not_fit_is_refused() {
    let (rsa, ec, ed) =
        (SigningKey::new("rsa", "RS256"), SigningKey::new("ec", "ES256"), SigningKey::new("ed", "EdDSA"));
    let issuer = TestIssuer::start(&[&rsa, &ec, &ed]).await;
    let all = issuer.tokens().await;
    let only_rsa = tokens_of(Issuer { algorithms: vec![Algorithm::Rs256], ..issuer.settings() });

    for key in [&rsa, &ec, &ed] {
        for algorithm in Algorithm::ALL.map(Algorithm::name) {
            if algorithm != key.algorithm {
                let token = with_header(key, &issuer, &json!({"alg": algorithm}));
                let kind = verify(&all, &token).await.unwrap_err();
                let same_key = key.algorithm == "RS256" && algorithm == "PS256";
                assert_eq!(kind, if same_key { "signature" } else { "algorithm" }, "{} as {algorithm}", key.kid);
            }
        }
    }
    assert!(verify(&only_rsa, &rsa.token(&claims(&issuer.url))).await.is_ok());
    assert_eq!(verify(&only_rsa, &ec.token(&claims(&issuer.url))).await, Err("algorithm"));
}

#[tokio::test]
async fn token_of_another_key_is_refused() {
    let key = SigningKey::new("1", "ES256");
    let stranger = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;

    assert_eq!(verify(&tokens, &stranger.token(&claims(&issuer.url))).await, Err("signature"));
    // The token brings or names its own key: that counts for nothing.
    for changes in [
        json!({"jwk": stranger.jwk()}),
        json!({"jku": format!("{}/jwks", issuer.url)}),
        json!({"x5u": "http://127.0.0.1:1/"}),
        json!({"x5c": ["AAAA"]}),
    ] {
        assert_eq!(verify(&tokens, &with_header(&stranger, &issuer, &changes)).await, Err("signature"), "{changes}");
        assert!(verify(&tokens, &with_header(&key, &issuer, &changes)).await.is_ok(), "{changes}");
    }
}

#[tokio::test]
async fn changed_claims_are_refused() {
    let key = SigningKey::new("1", "RS256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let token = key.token(&claims(&issuer.url));
    let [header, _, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();

    let forged = encode(changed(&issuer.url, &json!({"sub": "admin"})).to_string());
    assert_eq!(verify(&tokens, &format!("{header}.{forged}.{signature}")).await, Err("signature"));
}

#[tokio::test]
async fn claims_that_do_not_fit_are_refused() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;

    for (changes, kind) in [
        (json!({"iss": "https://other.example.com"}), "unknown_issuer"),
        (json!({"iss": format!("{}/", issuer.url)}), "unknown_issuer"),
        (json!({"iss": [issuer.url]}), "claims"),
        (json!({"iss": null}), "claims"),
        (json!({"aud": "https://other.example.com"}), "audience"),
        (json!({"aud": null}), "claims"),
        (json!({"aud": 1}), "claims"),
        (json!({"exp": null}), "claims"),
        (json!({"exp": "9999999999"}), "claims"),
        (json!({"exp": -1}), "claims"),
        (json!({"exp": 1e300}), "claims"),
        (json!({"exp": 1}), "expired"),
        (json!({"nbf": "now"}), "claims"),
        (json!({"nbf": 9_999_999_999_i64}), "not_yet_valid"),
        (json!({"sub": null}), "claims"),
        (json!({"sub": ""}), "claims"),
        (json!({"sub": ["a"]}), "malformed"),
        (json!({"sub": "a\nb"}), "claims"),
        (json!({"sub": "a".repeat(510)}), "claims"),
        (json!({"padding": "a".repeat(8192)}), "too_large"),
    ] {
        let token = key.token(&changed(&issuer.url, &changes));
        assert_eq!(verify(&tokens, &token).await, Err(kind), "{changes}");
    }
}

#[tokio::test]
async fn malformed_tokens_are_refused() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let claims = claims(&issuer.url).to_string();
    let token = key.token(&serde_json::from_str(&claims).unwrap());
    let with_header = |header: &str| key.sign(header, &claims);

    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!("Bearer {token}"),
        format!("{token},{token}"),
        with_header(r#"{"alg": "ES256"}"#),
        with_header(r#"{"alg": "ES256", "kid": ""}"#),
        with_header(r#"{"alg": "ES256", "kid": 1}"#),
        with_header(r#"{"alg": "HS256", "alg": "ES256", "kid": "1"}"#),
        with_header(r#"{"alg": "ES256", "kid": "1", "kid": "1"}"#),
        with_header(r#"{"alg": "ES256", "kid": "1", "crit": ["exp"]}"#),
        with_header(r#"{"alg": "ES256", "kid": "1", "crit": ["b64"], "b64": true}"#),
        with_header(r#"{"alg": "ES256", "kid": "1", "crit": null}"#),
        with_header(r#"{"alg": "ES256", "kid": "1", "b64": false}"#),
        key.sign(&key.header().to_string(), &claims.replacen('{', r#"{"sub": "admin", "#, 1)),
        key.sign(&key.header().to_string(), "[]"),
        key.sign(&key.header().to_string(), &"[".repeat(4000)),
    ] {
        assert_eq!(verify(&tokens, &token).await, Err("malformed"), "{token}");
    }
}

#[tokio::test]
async fn refusal_has_no_part_of_the_token() {
    let key = SigningKey::new("secret-kid", "ES256");
    let issuer = TestIssuer::start(&[]).await;
    let tokens = issuer.tokens().await;
    let claims =
        json!({"iss": "https://secret-issuer", "sub": "secret-subject", "aud": "secret-audience", "exp": "secret-exp"});

    for claims in [claims.clone(), changed(&issuer.url, &claims), json!("secret")] {
        let Err(TokenError::Rejected { detail, .. }) = tokens.verify(&key.token(&claims)).await else {
            panic!("{claims} is accepted or unavailable");
        };
        assert!(!detail.contains("secret"), "{detail}");
    }
}
