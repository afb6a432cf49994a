//! The settings of token issuers, checked together once.

use std::{collections::HashSet, net::IpAddr, path::PathBuf};

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most issuers.
pub const MAX_ISSUERS: usize = 50;
/// The most audiences of an issuer.
pub const MAX_AUDIENCES: usize = 20;
/// The most characters of a name, e.g. `github`.
pub const MAX_NAME_LENGTH: usize = 40;

/// The first parts of names from other sources. A token may never name a caller that only a certificate or socket may name.
const RESERVED_NAMES: [&str; 5] = ["spiffe", "dns", "cn", "uid", crate::auth::ANONYMOUS];

/// A signature algorithm of tokens. All are asymmetric: the server holds no key that could sign a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256; keys of 2048 to 8192 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256; keys of 2048 to 8192 bits.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// EdDSA on Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// Returns the name in tokens, keys and configuration files, e.g. `RS256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// The place of an issuer's public keys, a JSON Web Key Set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The `jwks_uri` of the document `/.well-known/openid-configuration` under the issuer's URL.
    Discover,
    /// A URL; `https`, or `http` on loopback.
    Url(String),
    /// A file. It is read again whenever its contents change.
    File(PathBuf),
}

/// An issuer of tokens, and the tokens of it that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The name, which callers' names begin with: `github` makes `github:SUB`. 1 to [`MAX_NAME_LENGTH`] characters: lower-case
    /// letters, digits, `-`.
    pub name: String,
    /// The exact value of the claim `iss`: a URL.
    pub issuer: String,
    /// The audiences, 1 to [`MAX_AUDIENCES`]. A token's claim `aud` must contain one of them.
    pub audiences: Vec<String>,
    /// The algorithms, at least one. A token's signature must use one of them.
    pub algorithms: Vec<Algorithm>,
    /// The place of the keys.
    pub keys: Keys,
    /// A PEM file of the certificate authorities to trust for the keys instead of those of the operating system.
    pub ca: Option<PathBuf>,
}

/// Checked issuers: valid each, and distinct by name and by URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuers(Vec<Issuer>);

/// An invalid setting of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuer {issuer}: {field}: {reason}")]
pub struct InvalidIssuer {
    /// The name of the issuer.
    pub issuer: String,
    /// The invalid field, e.g. `audiences`.
    pub field: &'static str,
    /// The reason and the next step.
    pub reason: String,
}

impl Issuers {
    /// Checks issuers.
    pub fn new(issuers: Vec<Issuer>) -> Result<Self, InvalidIssuer> {
        let (mut names, mut urls) = (HashSet::new(), HashSet::new());
        for (index, issuer) in issuers.iter().enumerate() {
            if index >= MAX_ISSUERS {
                return Err(issuer.invalid("name", format!("there are at most {MAX_ISSUERS} issuers; remove some")));
            }
            issuer.check()?;
            if !names.insert(&issuer.name) {
                return Err(issuer.invalid("name", "two issuers have this name; give each its own".to_owned()));
            }
            if !urls.insert(&issuer.issuer) {
                return Err(issuer.invalid("issuer", "two issuers have this URL; merge them into one".to_owned()));
            }
        }
        Ok(Self(issuers))
    }

    /// True without any issuer: then no token is accepted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The issuers.
    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.iter()
    }
}

impl IntoIterator for Issuers {
    type Item = Issuer;
    type IntoIter = std::vec::IntoIter<Issuer>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Issuer {
    fn check(&self) -> Result<(), InvalidIssuer> {
        let name_is_valid = (1..=MAX_NAME_LENGTH).contains(&self.name.len())
            && self.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !name_is_valid {
            let rule = format!("use 1 to {MAX_NAME_LENGTH} lower-case letters, digits and hyphens");
            return Err(self.invalid("name", rule));
        }
        if RESERVED_NAMES.contains(&self.name.as_str()) {
            return Err(self.invalid("name", "reserved for another source of identities; use another name".to_owned()));
        }
        let is_discovered = self.keys == Keys::Discover;
        if self.issuer.is_empty() || self.issuer.len() > 1024 || (is_discovered && !is_fetchable(&self.issuer)) {
            return Err(self.invalid("issuer", "use the https URL that tokens have as `iss`".to_owned()));
        }
        if !(1..=MAX_AUDIENCES).contains(&self.audiences.len()) || self.audiences.iter().any(String::is_empty) {
            let rule = format!("name 1 to {MAX_AUDIENCES} audiences, so that tokens for other services are refused");
            return Err(self.invalid("audiences", rule));
        }
        if self.algorithms.is_empty() {
            let known = Algorithm::ALL.map(Algorithm::name).join(", ");
            return Err(self.invalid("algorithms", format!("name at least one of {known}")));
        }
        if let Keys::Url(url) = &self.keys
            && !is_fetchable(url)
        {
            return Err(self.invalid("keys", "use `discover`, an https URL, or the path of a file".to_owned()));
        }
        Ok(())
    }

    fn invalid(&self, field: &'static str, reason: String) -> InvalidIssuer {
        InvalidIssuer { issuer: self.name.clone(), field, reason }
    }
}

/// True if keys may be fetched from the URL: over HTTPS, or over HTTP from this machine.
pub(super) fn is_fetchable(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    // A password in a URL would reach the log.
    let Some(host) = url.host().filter(|_| !url.authority().is_some_and(|authority| authority.as_str().contains('@')))
    else {
        return false;
    };
    match url.scheme_str() {
        Some("https") => true,
        Some("http") => {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer {
            name: "github".into(),
            issuer: "https://token.actions.githubusercontent.com".into(),
            audiences: vec!["https://gate.example.com".into()],
            algorithms: vec![Algorithm::Rs256],
            keys: Keys::Discover,
            ca: None,
        }
    }

    fn invalid_field(issuer: Issuer) -> &'static str {
        Issuers::new(vec![issuer]).unwrap_err().field
    }

    #[test]
    fn issuer_without_audience_is_invalid() {
        assert_eq!(invalid_field(Issuer { audiences: vec![], ..issuer() }), "audiences");
        assert_eq!(invalid_field(Issuer { audiences: vec![String::new()], ..issuer() }), "audiences");
    }

    #[test]
    fn issuer_without_algorithm_is_invalid() {
        assert_eq!(invalid_field(Issuer { algorithms: vec![], ..issuer() }), "algorithms");
    }

    #[test]
    fn issuer_name_of_other_source_is_invalid() {
        for name in ["dns", "spiffe", "cn", "uid", "anonymous", "", "a:b", "Upper", "a/b"] {
            assert_eq!(invalid_field(Issuer { name: name.into(), ..issuer() }), "name", "{name:?}");
        }
    }

    #[test]
    fn plaintext_keys_beyond_loopback_are_invalid() {
        for url in [
            "http://keys.example.com/jwks",
            "http://10.0.0.1/jwks",
            "file:///keys",
            "/keys",
            "http://localhost.x",
            "https://a:b@c",
        ] {
            assert_eq!(invalid_field(Issuer { keys: Keys::Url(url.into()), ..issuer() }), "keys", "{url}");
            assert_eq!(invalid_field(Issuer { issuer: url.into(), ..issuer() }), "issuer", "{url}");
        }
        for url in
            ["https://keys.example.com/jwks", "http://127.0.0.1:80/jwks", "http://[::1]/jwks", "http://localhost/"]
        {
            assert!(Issuers::new(vec![Issuer { keys: Keys::Url(url.into()), ..issuer() }]).is_ok(), "{url}");
        }
    }

    #[test]
    fn issuers_of_one_name_or_url_are_invalid() {
        let other_name = Issuer { name: "gitlab".into(), ..issuer() };
        let other_url = Issuer { issuer: "https://gitlab.example.com".into(), ..issuer() };

        assert_eq!(Issuers::new(vec![issuer(), other_name.clone()]).unwrap_err().field, "issuer");
        assert_eq!(Issuers::new(vec![issuer(), other_url]).unwrap_err().field, "name");
    }
}
