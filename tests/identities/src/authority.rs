//! A certificate authority.

use std::{net::IpAddr, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};

/// A certificate authority of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
    /// The serial number of the certificate.
    serial: SerialNumber,
}

/// The names in a certificate.
#[derive(Clone, Debug, Default)]
pub struct Subject<'a> {
    /// The common name; empty: none.
    pub common_name: &'a str,
    /// The DNS names.
    pub dns: &'a [&'a str],
    /// The URIs, e.g. of SPIFFE.
    pub uris: &'a [&'a str],
}

/// The purpose of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is for servers.
    Server,
    /// It is for clients.
    Client,
}

/// The time for which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is valid now.
    Current,
    /// It has expired.
    Expired,
}

impl Authority {
    /// Creates an authority.
    pub fn new(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// The authority's own certificate, as PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for a server on this machine.
    pub fn server(&self) -> Pair {
        self.issue(&Subject { dns: &["localhost"], ..Subject::default() }, Purpose::Server, Validity::Current)
    }

    /// Issues a certificate for a client with a SPIFFE id.
    pub fn client(&self, spiffe_id: &str) -> Pair {
        self.issue(&Subject { uris: &[spiffe_id], ..Subject::default() }, Purpose::Client, Validity::Current)
    }

    /// Issues a certificate. One for a server is also valid for 127.0.0.1.
    pub fn issue(&self, subject: &Subject<'_>, purpose: Purpose, validity: Validity) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        if !subject.common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, subject.common_name);
        }
        params.subject_alt_names.extend(subject.dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())));
        params.subject_alt_names.extend(subject.uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.extended_key_usages = match purpose {
            Purpose::Server => {
                params.subject_alt_names.push(SanType::IpAddress(IpAddr::from([127, 0, 0, 1])));
                vec![ExtendedKeyUsagePurpose::ServerAuth]
            }
            Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        (params.not_before, params.not_after) = match validity {
            Validity::Current => (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1)),
            Validity::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1)),
        };
        // The first bytes of a random key are as good a serial number as any.
        let serial = SerialNumber::from_slice(&[&[1], &key.public_key_raw()[1..9]].concat());
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), serial }
    }

    /// Issues a list of revoked certificates, as PEM.
    pub fn revoke(&self, revoked: &[&Pair]) -> String {
        let revoked = revoked.iter().map(|pair| RevokedCertParams {
            serial_number: pair.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Pair {
    /// Writes both parts to `NAME.pem` and `NAME.key` in a folder.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.certificate).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }
}
