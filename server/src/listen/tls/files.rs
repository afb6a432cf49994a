//! The TLS files: their paths, their limits and what they contain.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{Error as PemError, PemObject},
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::RootCertStore;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::Error;
use crate::{bounded_file, listen::certificate::end_of_validity};

/// The largest file of certificates or keys, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// The largest file of revocation lists, in bytes.
const MAX_REVOCATION_LISTS: u64 = 16 * 1024 * 1024;

/// A TLS file, by the option that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The server's certificate and its chain.
    Certificate,
    /// The private key of the certificate.
    Key,
    /// The CAs of client certificates.
    ClientCa,
    /// The lists of revoked client certificates.
    RevocationList,
}

impl File {
    fn limit(self) -> u64 {
        match self {
            Self::Certificate | Self::Key | Self::ClientCa => MAX_FILE,
            Self::RevocationList => MAX_REVOCATION_LISTS,
        }
    }
}

impl fmt::Display for File {
    /// The option, e.g. `--tls-cert`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "--tls-cert",
            Self::Key => "--tls-key",
            Self::ClientCa => "--tls-client-ca",
            Self::RevocationList => "--tls-crl",
        })
    }
}

/// The paths of the TLS files. All are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, followed by its intermediates. At most 1 MiB.
    pub certificate: PathBuf,
    /// The private key of the certificate: PKCS#8, PKCS#1 or SEC1. At most 1 MiB.
    pub key: PathBuf,
    /// The CAs of client certificates; `None`: clients are not asked for one. At most 1 MiB.
    pub client_ca: Option<PathBuf>,
    /// The revocation lists of the CAs; `None`: none is checked. At most 16 MiB.
    pub crl: Option<PathBuf>,
    /// True if a handshake without a client certificate fails. Without `client_ca` it has no effect.
    pub is_client_certificate_required: bool,
}

impl Files {
    fn path(&self, file: File) -> Option<&Path> {
        match file {
            File::Certificate => Some(&self.certificate),
            File::Key => Some(&self.key),
            File::ClientCa => self.client_ca.as_deref(),
            File::RevocationList => self.crl.as_deref(),
        }
    }

    /// The error of a file with an invalid content.
    pub(super) fn invalid(&self, file: File, problem: String) -> Error {
        Error::Invalid { file, path: self.path(file).map(Path::to_owned).unwrap_or_default(), problem }
    }
}

/// The hash of the contents of all files.
pub(super) type Digest = [u8; 32];

/// The contents of the files, as read at one time.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    crl: Option<Vec<u8>>,
}

impl Contents {
    /// Reads all files.
    pub(super) fn read(files: &Files) -> Result<Self, Error> {
        let read = |file| files.path(file).map(|path| read(file, path)).transpose();
        Ok(Self {
            certificate: read(File::Certificate)?.unwrap_or_default(),
            key: read(File::Key)?.unwrap_or_default(),
            client_ca: read(File::ClientCa)?,
            crl: read(File::RevocationList)?,
        })
    }

    /// Returns the hash of the contents.
    pub(super) fn digest(&self) -> Digest {
        let all = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref(), self.crl.as_ref()];
        let digests = all.map(|content| content.map_or([0; 32], |content| Sha256::digest(content).into()));
        Sha256::digest(digests.concat()).into()
    }

    /// Returns the server's certificate and its intermediates.
    pub(super) fn certificate_chain(&self, files: &Files) -> Result<Vec<CertificateDer<'static>>, Error> {
        sections(files, File::Certificate, &self.certificate, "certificate")
    }

    /// Returns the private key.
    pub(super) fn private_key(&self, files: &Files) -> Result<PrivateKeyDer<'static>, Error> {
        // The error of the parser may quote the file.
        PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| files.invalid(File::Key, "no PEM section with a private key".to_owned()))
    }

    /// Returns the CAs of client certificates.
    pub(super) fn client_ca(&self, files: &Files) -> Result<Option<RootCertStore>, Error> {
        let Some(content) = &self.client_ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for certificate in sections(files, File::ClientCa, content, "certificate")? {
            roots.add(certificate).map_err(|error| files.invalid(File::ClientCa, error.to_string()))?;
        }
        Ok(Some(roots))
    }

    /// Returns the revocation lists.
    pub(super) fn revocation_lists(&self, files: &Files) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        match &self.crl {
            Some(content) => sections(files, File::RevocationList, content, "X509 CRL"),
            None => Ok(Vec::new()),
        }
    }
}

fn read(file: File, path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable { file, path: path.to_owned(), source };
    let content = bounded_file::read(path, file.limit()).map_err(unreadable)?;
    content.ok_or_else(|| Error::TooLarge { file, path: path.to_owned(), limit: file.limit() })
}

/// Returns the PEM sections of one kind: at least one, and none of them damaged.
fn sections<T: PemObject>(files: &Files, file: File, content: &[u8], kind: &str) -> Result<Vec<T>, Error> {
    let parsed: Result<Vec<T>, PemError> = T::pem_slice_iter(content).collect();
    match parsed {
        Ok(sections) if sections.is_empty() => Err(files.invalid(file, format!("no PEM section with a {kind}"))),
        Ok(sections) => Ok(sections),
        // The error of the parser may quote the file, which may have a private key as well.
        Err(_) => Err(files.invalid(file, format!("damaged PEM section of a {kind}"))),
    }
}

/// The time within which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    /// Returns the validity of the first certificate of a chain.
    pub(super) fn of(chain: &[CertificateDer<'_>], files: &Files) -> Result<Self, Error> {
        let validity =
            chain.first().and_then(|der| X509Certificate::from_der(der).ok()).and_then(|(_, certificate)| {
                let not_before = certificate.validity().not_before.timestamp();
                Some(Self {
                    not_before: Timestamp::from_second(not_before).ok()?,
                    not_after: end_of_validity(&certificate),
                })
            });
        validity.ok_or_else(|| files.invalid(File::Certificate, "the first certificate is damaged".to_owned()))
    }

    /// True if the certificate is valid at this time.
    pub(super) fn contains(self, time: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&time)
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.not_before, self.not_after)
    }
}
