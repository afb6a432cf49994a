//! The identity in a client certificate that TLS has verified.
//!
//! The name is the SPIFFE ID if there is one, else `dns:` and the first DNS name, else `cn:` and the common name. A certificate
//! whose name is ambiguous or malformed has no identity, and its connection is refused: a peer that presents a certificate never
//! counts as one without.

use std::collections::BTreeMap;

use jiff::Timestamp;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer as _, SubjectAlternativeName},
};

use crate::auth::{Identity, MAX_NAME_BYTES, Source, is_valid_name};

/// The scheme of a SPIFFE ID.
const SPIFFE: &str = "spiffe://";

/// A certificate without an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoIdentity {
    #[error("certificate unreadable")]
    Unreadable,
    #[error("certificate has several SPIFFE IDs")]
    SeveralSpiffeIds,
    #[error("certificate has an invalid SPIFFE ID")]
    InvalidSpiffeId,
    #[error("certificate has several common names, and no other name")]
    SeveralCommonNames,
    #[error("certificate has neither a SPIFFE ID nor a DNS name nor a common name")]
    NoName,
    #[error("certificate has a name that is empty, longer than {MAX_NAME_BYTES} bytes or not printable ASCII")]
    InvalidName,
}

/// Returns the identity of a verified certificate. It counts until the certificate expires.
pub(super) fn identity(der: &[u8]) -> Result<Identity, NoIdentity> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NoIdentity::Unreadable)?;
    if !rest.is_empty() {
        return Err(NoIdentity::Unreadable);
    }
    Ok(Identity {
        name: name(&certificate)?,
        source: Source::Certificate,
        claims: BTreeMap::new(),
        expire_time: Some(end_of_validity(&certificate)),
    })
}

/// Returns the end of a certificate's validity. RFC 5280 has a date for certificates without end, which is later than the last
/// timestamp.
pub(super) fn end_of_validity(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_second(certificate.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX)
}

fn name(certificate: &X509Certificate<'_>) -> Result<String, NoIdentity> {
    let names = certificate.subject_alternative_name().map_err(|_| NoIdentity::Unreadable)?;
    let names = names.map(|extension| extension.value);
    if let Some(id) = spiffe_id(names)? {
        return Ok(id.to_owned());
    }
    if let Some(name) = general_names(names).iter().find_map(dns_name) {
        return Ok(format!("dns:{}", printable(name?)?));
    }
    let mut common_names = certificate.subject().iter_common_name();
    let name = common_names.next().ok_or(NoIdentity::NoName)?;
    if common_names.next().is_some() {
        return Err(NoIdentity::SeveralCommonNames);
    }
    let name = name.as_str().map_err(|_| NoIdentity::InvalidName)?;
    Ok(format!("cn:{}", printable(name)?))
}

fn general_names<'a>(names: Option<&'a SubjectAlternativeName<'a>>) -> &'a [GeneralName<'a>] {
    names.map_or(&[], |names| &names.general_names)
}

fn dns_name<'a>(name: &'a GeneralName<'a>) -> Option<Result<&'a str, NoIdentity>> {
    match name {
        GeneralName::DNSName(name) => Some(Ok(name)),
        // A name that is no text may be a DNS name: the next one must not take its place.
        GeneralName::Invalid(..) => Some(Err(NoIdentity::InvalidName)),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_) => None,
    }
}

/// Returns the only SPIFFE ID among the names.
fn spiffe_id<'a>(names: Option<&'a SubjectAlternativeName<'a>>) -> Result<Option<&'a str>, NoIdentity> {
    let mut ids = general_names(names).iter().filter_map(|name| {
        let GeneralName::URI(uri) = name else { return None };
        // The scheme of a URI is without case, that of a SPIFFE ID is not: one in upper case counts, and is invalid.
        let scheme = uri.get(..SPIFFE.len())?;
        scheme.eq_ignore_ascii_case(SPIFFE).then_some(*uri)
    });
    let Some(id) = ids.next() else { return Ok(None) };
    if ids.next().is_some() {
        return Err(NoIdentity::SeveralSpiffeIds);
    }
    if id.len() > MAX_NAME_BYTES || !is_spiffe_id(id) {
        return Err(NoIdentity::InvalidSpiffeId);
    }
    Ok(Some(id))
}

/// True if the text is a SPIFFE ID: a trust domain and a path whose segments are neither empty nor relative.
fn is_spiffe_id(text: &str) -> bool {
    let Some(id) = text.strip_prefix(SPIFFE) else { return false };
    let (domain, path) = id.split_once('/').map_or((id, None), |(domain, path)| (domain, Some(path)));
    let is_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    let is_segment = |segment: &str| {
        !["", ".", ".."].contains(&segment) && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    };
    !domain.is_empty() && domain.bytes().all(is_domain) && path.is_none_or(|path| path.split('/').all(is_segment))
}

/// Returns a name that is short, and printable in a log line.
fn printable(name: &str) -> Result<&str, NoIdentity> {
    if is_valid_name(name) { Ok(name) } else { Err(NoIdentity::InvalidName) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    fn certificate(common_names: &[&str], names: &[SanType]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let types = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        for (name, name_type) in common_names.iter().zip(types) {
            params.distinguished_name.push(name_type, DnValue::Utf8String((*name).to_owned()));
        }
        params.subject_alt_names = names.to_vec();
        params.not_after = date_time_ymd(2030, 1, 2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn name_of(common_name: &str, names: &[SanType]) -> Result<String, NoIdentity> {
        identity(&certificate(&[common_name], names)).map(|identity| identity.name)
    }

    #[test]
    fn name_is_spiffe_id_then_dns_then_common_name() {
        let [id, web] = ["spiffe://example.org/ns/ci/sa/deploy", "https://example.org"].map(uri);

        let all = [dns("a.example.org"), web.clone(), id];
        assert_eq!(name_of("ci", &all), Ok("spiffe://example.org/ns/ci/sa/deploy".to_owned()));
        assert_eq!(name_of("ci", &[web, dns("a.example.org"), dns("b")]), Ok("dns:a.example.org".to_owned()));
        assert_eq!(name_of("ci", &[]), Ok("cn:ci".to_owned()));
    }

    #[test]
    fn identity_expires_with_the_certificate() {
        let identity = identity(&certificate(&["ci"], &[])).unwrap();

        assert_eq!(identity.expire_time, Some("2030-01-02T00:00:00Z".parse().unwrap()));
        assert_eq!(identity.source, Source::Certificate);
    }

    #[test]
    fn two_spiffe_ids_are_no_identity() {
        let ids = ["spiffe://example.org/a", "spiffe://example.org/b"].map(uri);
        let in_upper_case = ["spiffe://example.org/a", "SPIFFE://example.org/b"].map(uri);

        assert_eq!(name_of("ci", &ids), Err(NoIdentity::SeveralSpiffeIds));
        assert_eq!(name_of("ci", &in_upper_case), Err(NoIdentity::SeveralSpiffeIds));
    }

    #[test]
    fn malformed_spiffe_id_is_no_identity() {
        let long = format!("spiffe://example.org/{}", "a".repeat(MAX_NAME_BYTES));
        for id in [
            "spiffe://",
            "spiffe:///a",
            "spiffe://example.org/",
            "spiffe://example.org/a/../b",
            "spiffe://example.org//a",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a%2Fb",
            "spiffe://user@example.org/a",
            "spiffe://example.org:80/a",
            "spiffe://Example.org/a",
            "SPIFFE://example.org/a",
            &long,
        ] {
            assert_eq!(name_of("ci", &[uri(id), dns("a")]), Err(NoIdentity::InvalidSpiffeId), "{id}");
        }
    }

    #[test]
    fn ambiguous_or_unprintable_name_is_no_identity() {
        let long = "a".repeat(MAX_NAME_BYTES + 1);

        assert_eq!(identity(&certificate(&["a", "b"], &[])).map(drop), Err(NoIdentity::SeveralCommonNames));
        assert_eq!(identity(&certificate(&[], &[])).map(drop), Err(NoIdentity::NoName));
        for name in ["", "a\nb", "a\u{7f}", "a\0", &long] {
            assert_eq!(name_of(name, &[]), Err(NoIdentity::InvalidName), "{name:?}");
        }
        assert_eq!(name_of("ci", &[dns("a\nb")]), Err(NoIdentity::InvalidName));
    }

    #[test]
    fn damaged_certificate_is_no_identity() {
        let der = certificate(&["ci"], &[dns("a")]);

        for length in 0..der.len() {
            assert_eq!(identity(&der[..length]).map(drop), Err(NoIdentity::Unreadable), "{length}");
        }
        let mut params = CertificateParams::default();
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x03, 0x82, 0x05])];
        let garbled = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert!(identity(garbled.der()).is_err());
    }
}
