//! The keys of an issuer over the network: rotation, single flight, outages, and documents that are not taken over.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use scangate_server::auth::token::{Issuer, Keys};
use serde_json::json;
use tokio::{
    io::AsyncReadExt as _,
    net::TcpListener,
    task::JoinSet,
    time::{advance, pause, resume},
};

use crate::{
    issuer::{TestIssuer, tokens_of, verify},
    signing::{SigningKey, claims},
};

/// Lets time pass at once. Sockets work again afterwards, at the usual speed.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
async fn rotated_key_is_fetched_for_its_first_token() {
    let (old, new) = (SigningKey::new("old", "ES256"), SigningKey::new("new", "EdDSA"));
    let issuer = TestIssuer::start(&[&old]).await;
    let tokens = issuer.tokens().await;
    issuer.publish(&[&new]);
    pass(Duration::from_secs(11)).await;

    assert!(verify(&tokens, &new.token(&claims(&issuer.url))).await.is_ok());
    assert_eq!(issuer.fetches(), 2);
    pass(Duration::from_secs(11)).await;
    assert_eq!(verify(&tokens, &old.token(&claims(&issuer.url))).await, Err("unknown_key"));
}

#[tokio::test]
async fn unknown_key_ids_at_once_cause_one_fetch() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    pass(Duration::from_secs(11)).await;
    let unknown = ["2", "3", "4"].map(|kid| SigningKey::new(kid, "ES256").token(&claims(&issuer.url)));

    let (first, second) = tokio::join!(verify(&tokens, &unknown[0]), verify(&tokens, &unknown[1]));

    assert_eq!((first, second), (Err("unknown_key"), Err("unknown_key")));
    assert_eq!(verify(&tokens, &unknown[2]).await, Err("unknown_key"));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn given_up_call_does_not_end_the_fetch() {
    let (old, new) = (SigningKey::new("old", "ES256"), SigningKey::new("new", "ES256"));
    let issuer = TestIssuer::start(&[&old]).await;
    let tokens = issuer.tokens().await;
    issuer.publish(&[&new]);
    pass(Duration::from_secs(11)).await;
    let token = new.token(&claims(&issuer.url));

    tokio::select! {
        biased;
        _ = tokens.verify(&token) => panic!("the fetch needs more than one poll"),
        () = std::future::ready(()) => {}
    }

    assert!(verify(&tokens, &token).await.is_ok());
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn last_good_keys_serve_for_a_day_of_outage() {
    let (key, unknown) = (SigningKey::new("1", "ES256"), SigningKey::new("2", "ES256"));
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    issuer.change(|documents| documents.status = Some(StatusCode::SERVICE_UNAVAILABLE));

    pass(Duration::from_hours(23)).await;
    assert!(verify(&tokens, &key.token(&claims(&issuer.url))).await.is_ok());
    assert_eq!(verify(&tokens, &unknown.token(&claims(&issuer.url))).await, Err("unavailable"));

    pass(Duration::from_hours(1)).await;
    assert_eq!(verify(&tokens, &key.token(&claims(&issuer.url))).await, Err("unavailable"));

    issuer.change(|documents| documents.status = None);
    pass(Duration::from_secs(11)).await;
    assert!(verify(&tokens, &key.token(&claims(&issuer.url))).await.is_ok());
    assert_eq!(verify(&tokens, &unknown.token(&claims(&issuer.url))).await, Err("unknown_key"));
}

#[tokio::test]
async fn unreachable_issuer_is_unavailable_until_it_answers() {
    let key = SigningKey::new("1", "ES256");
    let issuer = TestIssuer::start(&[&key]).await;
    let closed = Issuer { keys: Keys::Url("http://127.0.0.1:1/jwks".to_owned()), ..issuer.settings() };

    assert_eq!(verify(&tokens_of(closed), &key.token(&claims(&issuer.url))).await, Err("unavailable"));
    let tokens = tokens_of(Issuer { keys: Keys::Url(format!("{}/jwks", issuer.url)), ..issuer.settings() });
    assert!(verify(&tokens, &key.token(&claims(&issuer.url))).await.is_ok());
}

#[tokio::test]
async fn few_callers_wait_for_a_slow_issuer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = TestIssuer::new(format!("http://{}", listener.local_addr().unwrap()), &[]);
    let tokens = tokens_of(issuer.settings());
    let token = SigningKey::new("1", "ES256").token(&claims(&issuer.url));
    // It never answers, so that the fetch lasts until its timeout.
    let (mut fetch, _) = listener.accept().await.unwrap();

    let (mut calls, mut request) = (JoinSet::new(), Vec::new());
    for _ in 0..257 {
        let (tokens, token) = (Arc::clone(&tokens), token.clone());
        calls.spawn(async move { verify(&tokens, &token).await });
    }

    tokio::select! {
        biased;
        _ = fetch.read_to_end(&mut request) => panic!("all calls wait for the fetch"),
        first = calls.join_next() => assert_eq!(first.unwrap().unwrap(), Err("unavailable")),
    }
    assert_eq!(calls.len(), 256);
}

#[tokio::test]
async fn unfit_documents_change_nothing() {
    let (key, new) = (SigningKey::new("1", "ES256"), SigningKey::new("2", "ES256"));
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = issuer.tokens().await;
    let elsewhere = json!({"issuer": issuer.url, "jwks_uri": "http://keys.example.com/jwks"});
    let of_another = json!({"issuer": "https://other", "jwks_uri": format!("{}/jwks", issuer.url)});
    let too_many: Vec<_> = (0..101).map(|_| new.jwk()).collect();

    for (status, discovery, keys) in [
        (StatusCode::OK, None, "{".to_owned()),
        (StatusCode::OK, None, json!({"keys": []}).to_string()),
        (StatusCode::OK, None, json!({"keys": too_many}).to_string()),
        (StatusCode::OK, None, json!({"keys": [new.jwk()], "padding": "a".repeat(256 * 1024)}).to_string()),
        (StatusCode::OK, Some(elsewhere), json!({"keys": [new.jwk()]}).to_string()),
        (StatusCode::OK, Some(of_another), json!({"keys": [new.jwk()]}).to_string()),
        (StatusCode::FOUND, None, json!({"keys": [new.jwk()]}).to_string()),
        (StatusCode::CREATED, None, json!({"keys": [new.jwk()]}).to_string()),
    ] {
        let context = format!("{status} {discovery:?} {keys:.40}");
        issuer.change(|documents| {
            (documents.status, documents.discovery, documents.keys) = (Some(status), discovery, keys);
        });
        tokens.reload().await;

        assert!(verify(&tokens, &key.token(&claims(&issuer.url))).await.is_ok(), "{context}");
        assert_eq!(verify(&tokens, &new.token(&claims(&issuer.url))).await, Err("unavailable"), "{context}");
    }
}
