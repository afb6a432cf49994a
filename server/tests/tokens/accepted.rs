//! Tokens that name a caller.

use jiff::Timestamp;
use scangate_server::auth::Source;
use serde_json::json;

use crate::{
    issuer::{TestIssuer, verify},
    signing::{AUDIENCE, SigningKey, changed, claims},
};

#[tokio::test]
async fn token_of_each_algorithm_names_its_subject() {
    let keys = ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(|algorithm| SigningKey::new(algorithm, algorithm));
    let issuer = TestIssuer::start(&keys.each_ref()).await;
    let tokens = issuer.tokens().await;

    for key in &keys {
        let token = key.token(&claims(&issuer.url));

        assert_eq!(verify(&tokens, &token).await.as_deref(), Ok("ci:repo:acme/shop"), "{}", key.algorithm);
    }
}

#[tokio::test]
async fn token_makes_identity_with_claims_and_end() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let claims =
        changed(&issuer.url, &json!({"repository_owner_id": "9919", "exp": Timestamp::now().as_second() + 60}));

    let principal = issuer.tokens().await.verify(&key.token(&claims)).await.unwrap();

    let identity = principal.identity();
    assert_eq!(identity.source, Source::Token);
    assert_eq!(identity.claims["repository_owner_id"], "9919");
    // The verification allows a leeway of 30 seconds, so the identity lasts as long.
    assert_eq!(identity.expire_time.unwrap().as_second(), claims["exp"].as_i64().unwrap() + 30);
}

#[tokio::test]
async fn tokens_of_platforms_name_callers_with_claims() {
    let key = SigningKey::new("1", "ES384");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let github =
        json!({"sub": "repo:acme@9919/shop@42:environment:prod", "repository_owner_id": "9919", "environment": "prod"});
    let gitlab = json!({"sub": "project_path:acme/shop:ref_type:branch:ref:main", "environment_protected": "true"});
    let kubernetes = json!({
        "sub": "system:serviceaccount:argocd:argocd-server", "aud": ["https://kubernetes.default.svc", AUDIENCE],
        "kubernetes.io": {"namespace": "argocd", "serviceaccount": {"name": "argocd-server", "uid": "1"}},
    });
    let aws = json!({
        "sub": "arn:aws:iam::123456789012:role/deployer",
        "https://sts.amazonaws.com/": {"aws_account": "123456789012", "principal_id": "AROA"},
    });

    for (platform, claim) in [
        (github, Some(("repository_owner_id", "9919"))),
        (gitlab, Some(("environment_protected", "true"))),
        (kubernetes, None),
        (aws, None),
    ] {
        let principal = tokens.verify(&key.token(&changed(&issuer.url, &platform))).await.unwrap();

        let identity = principal.identity();
        assert_eq!(identity.name, format!("ci:{}", platform["sub"].as_str().unwrap()));
        if let Some((name, value)) = claim {
            assert_eq!(identity.claims[name], value);
        }
        // Objects have no exact text, so no grant can demand them.
        assert!(!identity.claims.keys().any(|name| name.contains('.') || name == "aud" && platform["aud"].is_array()));
    }
}

#[tokio::test]
async fn token_for_several_audiences_needs_one_of_ours() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let token = |audiences| key.token(&changed(&issuer.url, &json!({"aud": audiences})));

    assert!(verify(&tokens, &token(json!(["https://other", AUDIENCE]))).await.is_ok());
    assert_eq!(verify(&tokens, &token(json!(["https://other", "https://third"]))).await, Err("audience"));
    assert_eq!(verify(&tokens, &token(json!([]))).await, Err("audience"));
    assert_eq!(verify(&tokens, &token(json!([AUDIENCE, 1]))).await, Err("claims"));
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let now = Timestamp::now().as_second();
    let token = |changes| key.token(&changed(&issuer.url, &changes));

    assert!(verify(&tokens, &token(json!({"exp": now - 10}))).await.is_ok());
    assert!(verify(&tokens, &token(json!({"nbf": now + 20}))).await.is_ok());
    assert_eq!(verify(&tokens, &token(json!({"exp": now - 40}))).await, Err("expired"));
    assert_eq!(verify(&tokens, &token(json!({"nbf": now + 60}))).await, Err("not_yet_valid"));
}
