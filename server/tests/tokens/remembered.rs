//! Verified tokens are remembered: for a while, and for the issuers in force.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use scangate_server::auth::token::{Issuer, Issuers};
use serde_json::json;

use crate::{
    issuer::{TestIssuer, verify},
    signing::{SigningKey, changed, claims},
};

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

#[tokio::test]
async fn verified_token_is_remembered_for_minutes() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let token = key.token(&claims(&issuer.url));
    assert!(tokens.remembered(&token, Timestamp::now()).is_none());

    let verified = tokens.verify(&token).await.unwrap();

    let now = Timestamp::now();
    assert!(Arc::ptr_eq(&tokens.remembered(&token, now).unwrap(), &verified));
    assert!(tokens.remembered(&token, now + minutes(4)).is_some());
    assert!(tokens.remembered(&token, now + minutes(5)).is_none());
    assert!(tokens.remembered(&key.token(&claims("https://other")), now).is_none());
}

#[tokio::test]
async fn remembered_token_ends_with_its_expiry() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let expiry = Timestamp::now().as_second() + 60;
    let token = key.token(&changed(&issuer.url, &json!({"exp": expiry})));
    verify(&tokens, &token).await.unwrap();

    // With the leeway of 30 seconds.
    let at = |second| tokens.remembered(&token, Timestamp::from_second(second).unwrap());
    assert!(at(expiry + 29).is_some());
    assert!(at(expiry + 30).is_none());
}

#[tokio::test]
async fn refused_token_is_not_remembered() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let token = SigningKey::new("1", "ES256").token(&claims(&issuer.url));

    assert_eq!(verify(&tokens, &token).await, Err("signature"));

    assert!(tokens.remembered(&token, Timestamp::now()).is_none());
}

#[tokio::test]
async fn changed_issuer_forgets_its_tokens() {
    let key = SigningKey::new("1", "ES256");
    let (kept, other) = (TestIssuer::start(&[&key]).await, TestIssuer::start(&[&key]).await);
    let other_settings = Issuer { name: "other".to_owned(), ..other.settings() };
    let tokens = kept.tokens().await;
    tokens.replace(Issuers::new(vec![kept.settings(), other_settings.clone()]).unwrap());
    let of = [&kept, &other].map(|issuer| key.token(&claims(&issuer.url)));
    for token in &of {
        verify(&tokens, token).await.unwrap();
    }

    let renamed = Issuer { name: "renamed".to_owned(), ..other_settings };
    tokens.replace(Issuers::new(vec![kept.settings(), renamed]).unwrap());
    assert!(tokens.remembered(&of[0], Timestamp::now()).is_some());
    assert!(tokens.remembered(&of[1], Timestamp::now()).is_none());
    assert_eq!(verify(&tokens, &of[1]).await.as_deref(), Ok("renamed:repo:acme/shop"));
    assert_eq!(kept.fetches(), 1);

    tokens.replace(Issuers::default());
    assert!(of.iter().all(|token| tokens.remembered(token, Timestamp::now()).is_none()));
    assert_eq!(verify(&tokens, &of[0]).await, Err("unknown_issuer"));
}
