//! Fetches key sets: by discovery, from a URL, or from a file. Size and time are bounded, and redirects are not followed.

use std::{io, path::Path, sync::Arc, time::Duration};

use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;
use tokio::{task::spawn_blocking, time::timeout};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::{
    key_set::{InvalidKeySet, KeySet},
    settings::{Issuer, Keys, is_fetchable},
};
use crate::bounded_file;

/// The most bytes of a document.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// The time for one document.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// The path of the discovery document under the URL of the issuer (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// A failed fetch. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{place} unreadable: {source}; check the path and its permissions")]
    File { place: String, source: io::Error },
    #[error("{place} has more than {MAX_DOCUMENT_BYTES} bytes; check that it is the right document")]
    TooLarge { place: String },
    #[error("no certificate authority to trust: {0}; check the file, or the certificates of the operating system")]
    CertificateAuthorities(String),
    #[error("{url} unreachable: {reason}; check the URL and the network")]
    Unreachable { url: String, reason: String },
    #[error("{url} answered {status}, not 200; check the URL (redirects are not followed)")]
    Status { url: String, status: StatusCode },
    #[error("{url} is not the discovery document of this issuer: {reason}; check the issuer's URL")]
    Discovery { url: String, reason: &'static str },
    #[error("{place}: {source}; check the document")]
    Keys { place: String, source: InvalidKeySet },
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Fetches the keys of an issuer.
pub(super) async fn keys(issuer: &Issuer) -> Result<KeySet, FetchError> {
    let (place, document) = match &issuer.keys {
        Keys::File(path) => (path.display().to_string(), read_bounded(path).await?),
        Keys::Url(url) => (url.clone(), get(&client(issuer).await?, url).await?),
        Keys::Discover => {
            let client = client(issuer).await?;
            let url = discover(&client, issuer).await?;
            let document = get(&client, &url).await?;
            (url, document)
        }
    };
    KeySet::parse(&document).map_err(|source| FetchError::Keys { place, source })
}

/// Checks the files of an issuer, and fetches nothing.
pub(super) fn check_files(issuer: &Issuer) -> Result<(), FetchError> {
    if let Keys::File(path) = &issuer.keys {
        let place = path.display().to_string();
        KeySet::parse(&read(path)?).map_err(|source| FetchError::Keys { place, source })?;
    }
    if issuer.ca.is_some() {
        tls(issuer.ca.as_deref())?;
    }
    Ok(())
}

/// Returns the URL of the keys. The document must be the issuer's own, and must not lead from HTTPS to plaintext.
async fn discover(client: &HttpsClient, issuer: &Issuer) -> Result<String, FetchError> {
    let url = format!("{}{DISCOVERY_PATH}", issuer.issuer.trim_end_matches('/'));
    let document = get(client, &url).await?;
    let invalid = |reason| FetchError::Discovery { url: url.clone(), reason };
    let discovery: Discovery = serde_json::from_slice(&document).map_err(|_| invalid("issuer or jwks_uri missing"))?;
    if discovery.issuer != issuer.issuer {
        return Err(invalid("it is for another issuer"));
    }
    let is_downgrade = issuer.issuer.starts_with("https:") && !discovery.jwks_uri.starts_with("https:");
    if is_downgrade || !is_fetchable(&discovery.jwks_uri) {
        return Err(invalid("its jwks_uri must be an https URL"));
    }
    Ok(discovery.jwks_uri)
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Creates a client for one fetch, so that changed certificate authorities take effect with the next one.
async fn client(issuer: &Issuer) -> Result<HttpsClient, FetchError> {
    let ca = issuer.ca.clone();
    let tls = spawn_blocking(move || tls(ca.as_deref())).await;
    let tls = tls.unwrap_or_else(|panic| Err(FetchError::CertificateAuthorities(panic.to_string())))?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, FetchError> {
    let untrusted = |reason: String| FetchError::CertificateAuthorities(reason);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| untrusted(error.to_string()))?;
    let Some(path) = ca else {
        let builder = builder.with_native_roots().map_err(|error| untrusted(error.to_string()))?;
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(path)?) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|reason| untrusted(format!("{}: {reason}", path.display())))?;
    }
    if roots.is_empty() {
        return Err(untrusted(format!("{}: no certificate", path.display())));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn get(client: &HttpsClient, url: &str) -> Result<Bytes, FetchError> {
    let unreachable = |reason: String| FetchError::Unreachable { url: url.to_owned(), reason };
    let uri: Uri = url.parse().map_err(|_| unreachable("not a URL".to_owned()))?;
    let exchange = async {
        let response = client.get(uri).await.map_err(|error| unreachable(causes(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status: response.status() });
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                FetchError::TooLarge { place: url.to_owned() }
            } else {
                unreachable(error.to_string())
            }
        })
    };
    timeout(FETCH_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(unreachable(format!("no answer within {} s", FETCH_TIMEOUT.as_secs()))))
}

/// Renders an error with its causes: that of hyper states only that it could not connect.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

async fn read_bounded(path: &Path) -> Result<Bytes, FetchError> {
    let owned = path.to_owned();
    let read = spawn_blocking(move || read(&owned)).await;
    let failed = |panic: tokio::task::JoinError| {
        Err(FetchError::File { place: path.display().to_string(), source: io::Error::other(panic) })
    };
    read.unwrap_or_else(failed).map(Bytes::from)
}

fn read(path: &Path) -> Result<Vec<u8>, FetchError> {
    let place = || path.display().to_string();
    let read = bounded_file::read(path, MAX_DOCUMENT_BYTES as u64);
    let content = read.map_err(|source| FetchError::File { place: place(), source })?;
    content.ok_or_else(|| FetchError::TooLarge { place: place() })
}
