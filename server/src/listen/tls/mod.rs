//! TLS: the server's certificate, the verification of client certificates, and their replacement while the server runs.
//!
//! New files serve new handshakes only. An open connection goes on, even if its client certificate is revoked or its CA removed
//! meanwhile; each call on it ends at the expiry of the certificate. Sessions are never resumed, since a resumed one would skip
//! the verification of the client certificate.

mod files;

use std::{fmt, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};

use self::files::{Contents, Digest, Validity};
pub use self::files::{File, Files};

/// The protocol of a connection: HTTP/2.
const ALPN: &[u8] = b"h2";

/// TLS files that cannot be used. The text never has a part of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {file} {}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        file: File,
        /// Its path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than its limit.
    #[error("{file} {} exceeds {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        file: File,
        /// Its path.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A file has other content than it should.
    #[error("{file} {} is invalid: {problem}", path.display())]
    Invalid {
        /// The file.
        file: File,
        /// Its path.
        path: PathBuf,
        /// The defect.
        problem: String,
    },
    /// The private key belongs to another certificate.
    #[error("the key of --tls-key does not belong to the certificate of --tls-cert; use the two files of one pair")]
    KeyMismatch,
    /// The certificate of a reload does not count at this time.
    #[error("the new certificate of --tls-cert is valid {0} only; renew it")]
    NotValid(String),
    /// Another error of rustls.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
}

/// The result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files have not changed.
    Unchanged,
    /// New files serve from now on.
    Replaced,
}

/// The TLS configuration in force.
pub struct Tls {
    files: Files,
    current: ArcSwap<Loaded>,
    /// The error of the latest reload, so that it is logged once.
    failure: Mutex<Option<String>>,
}

/// A configuration and the files that it was made of.
struct Loaded {
    config: Arc<ServerConfig>,
    digest: Digest,
    validity: Validity,
}

impl Tls {
    /// Loads the files. A certificate that has expired is logged at ERROR, and serves.
    pub fn load(files: Files) -> Result<Arc<Self>, Error> {
        let loaded = Loaded::read(&files)?;
        if !loaded.validity.contains(Timestamp::now()) {
            tracing::error!(validity = %loaded.validity, "the certificate of --tls-cert is not valid now; clients will refuse it");
        }
        Ok(Arc::new(Self { files, current: ArcSwap::from_pointee(loaded), failure: Mutex::default() }))
    }

    /// Reads the files again, and uses them for new handshakes if their contents have changed.
    ///
    /// A set that is unreadable or inconsistent changes nothing: it is returned as an error, and logged at ERROR once. So does a
    /// certificate that is not valid now, while the old one is.
    pub async fn reload(self: &Arc<Self>) -> Result<Reload, Error> {
        let tls = Arc::clone(self);
        let outcome = tokio::task::spawn_blocking(move || tls.replace()).await;
        let outcome = outcome.unwrap_or_else(|error| Err(rustls::Error::General(error.to_string()).into()));
        let failure = outcome.as_ref().err().map(ToString::to_string);
        let before = std::mem::replace(&mut *self.failure.lock(), failure.clone());
        if let Ok(Reload::Replaced) = &outcome {
            tracing::info!(validity = %self.current.load().validity, "TLS files replaced: they serve new connections");
        }
        if let Err(error) = &outcome
            && before != failure
        {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "TLS files not replaced: the earlier ones stay in force");
        }
        outcome
    }

    fn replace(&self) -> Result<Reload, Error> {
        let current = self.current.load_full();
        let contents = Contents::read(&self.files)?;
        if contents.digest() == current.digest {
            return Ok(Reload::Unchanged);
        }
        let loaded = Loaded::new(&self.files, &contents)?;
        let now = Timestamp::now();
        if !loaded.validity.contains(now) && current.validity.contains(now) {
            return Err(Error::NotValid(loaded.validity.to_string()));
        }
        self.current.store(Arc::new(loaded));
        Ok(Reload::Replaced)
    }

    /// The acceptor of a new handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.load().config).into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Loaded {
    fn read(files: &Files) -> Result<Self, Error> {
        Self::new(files, &Contents::read(files)?)
    }

    fn new(files: &Files, contents: &Contents) -> Result<Self, Error> {
        let chain = contents.certificate_chain(files)?;
        let validity = Validity::of(&chain, files)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(client_verifier(files, contents)?)
            .with_single_cert(chain, contents.private_key(files)?)
            .map_err(|error| {
                let is_mismatch = matches!(error, rustls::Error::InconsistentKeys(_));
                if is_mismatch { Error::KeyMismatch } else { Error::Rustls(error) }
            })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), digest: contents.digest(), validity })
    }
}

/// The verifier of client certificates. It refuses a presented one that does not verify, even if none is required.
///
/// With a revocation list, every certificate of a chain below the CA must be covered by a list that is not out of date.
fn client_verifier(files: &Files, contents: &Contents) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let Some(roots) = contents.client_ca(files)? else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let builder = builder.with_crls(contents.revocation_lists(files)?).enforce_revocation_expiration();
    let builder = if files.is_client_certificate_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| {
        let file = if let VerifierBuilderError::InvalidCrl(_) = error { File::RevocationList } else { File::ClientCa };
        files.invalid(file, error.to_string())
    })
}
