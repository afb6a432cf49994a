//! An issuer: an HTTP server on loopback with a discovery document and keys, which can change and fail.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use scangate_server::auth::token::{Algorithm, Issuer, Issuers, Keys, TokenError, Tokens};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

use crate::signing::{AUDIENCE, SigningKey, claims};

/// The documents of an issuer.
#[derive(Default)]
pub(crate) struct Documents {
    /// The status of all answers; `None`: 200.
    pub(crate) status: Option<StatusCode>,
    pub(crate) keys: String,
    /// The discovery document; `None`: the right one.
    pub(crate) discovery: Option<Value>,
}

/// A running issuer.
#[derive(Clone)]
pub(crate) struct TestIssuer {
    pub(crate) url: String,
    documents: Arc<Mutex<Documents>>,
    fetches: Arc<AtomicUsize>,
}

impl TestIssuer {
    /// Starts an issuer with these keys.
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self::new(format!("http://{}", listener.local_addr().unwrap()), keys);
        let server = issuer.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        issuer
    }

    /// An issuer at this URL that does not accept connections itself.
    pub(crate) fn new(url: String, keys: &[&SigningKey]) -> Self {
        let issuer = Self { url, documents: Arc::default(), fetches: Arc::default() };
        issuer.publish(keys);
        issuer
    }

    /// Serves the documents on one connection.
    pub(crate) async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let answer = |request: Request<Incoming>| {
            let response = self.answer(request.uri().path());
            async move { Ok::<_, Infallible>(response) }
        };
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let documents = self.documents.lock().unwrap();
        let mut response = Response::builder().status(documents.status.unwrap_or(StatusCode::OK));
        if documents.status.is_some_and(|status| status.is_redirection()) {
            response = response.header("location", format!("{}/jwks", self.url));
        }
        let body = if path == "/jwks" {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            documents.keys.clone()
        } else {
            assert_eq!(path, "/.well-known/openid-configuration");
            let right = || json!({"issuer": self.url, "jwks_uri": format!("{}/jwks", self.url)});
            documents.discovery.clone().unwrap_or_else(right).to_string()
        };
        response.body(Full::from(body)).unwrap()
    }

    /// Publishes these keys in place of the earlier ones.
    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.change(|documents| documents.keys = json!({"keys": keys}).to_string());
    }

    /// Changes the documents.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Documents)) {
        change(&mut self.documents.lock().unwrap());
    }

    /// The number of times that the keys were fetched.
    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// The settings for this issuer: all algorithms, keys by discovery.
    pub(crate) fn settings(&self) -> Issuer {
        Issuer {
            name: "ci".to_owned(),
            issuer: self.url.clone(),
            audiences: vec![AUDIENCE.to_owned()],
            algorithms: Algorithm::ALL.to_vec(),
            keys: Keys::Discover,
            ca: None,
        }
    }

    /// Tokens of this issuer, whose keys have been fetched.
    pub(crate) async fn tokens(&self) -> Arc<Tokens> {
        let tokens = tokens_of(self.settings());
        // A token with an unknown key id waits for the first fetch.
        let unknown = SigningKey::new("unknown", "ES256").token(&claims(&self.url));
        verify(&tokens, &unknown).await.unwrap_err();
        tokens
    }
}

/// Tokens of one issuer.
pub(crate) fn tokens_of(issuer: Issuer) -> Arc<Tokens> {
    Tokens::start(Issuers::new(vec![issuer]).unwrap())
}

/// Verifies a token: the caller's name, the kind of its refusal, or `unavailable`.
pub(crate) async fn verify(tokens: &Tokens, token: &str) -> Result<String, &'static str> {
    match tokens.verify(token).await {
        Ok(principal) => Ok(principal.identity().name.clone()),
        Err(TokenError::Rejected { kind, .. }) => Err(kind),
        Err(TokenError::Unavailable { .. }) => Err("unavailable"),
    }
}
