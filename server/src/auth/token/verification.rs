//! The verification of one token: its header, its signature, and the claims that limit it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Validation, dangerous::insecure_decode_claims, decode, errors::ErrorKind};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    TokenError,
    claims::{Claims, LEEWAY},
    key_set::KeySet,
    rejected,
    settings::{Algorithm, Issuer},
};

/// The most bytes of a token.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The parts of a token that select its issuer and its key. The signature is not verified yet, so they prove nothing.
#[derive(Debug)]
pub(super) struct Unverified {
    pub(super) issuer: String,
    pub(super) key_id: String,
    algorithm: Algorithm,
}

/// The fields of a header that matter. Others are ignored: `jku`, `x5u`, `jwk` and `x5c` would let the token choose its own key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Unverified {
    /// Parses a token.
    pub(super) fn parse(token: &str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(rejected("too_large", format!("the token has more than {MAX_TOKEN_BYTES} bytes")));
        }
        let header = token.split('.').next().unwrap_or_default();
        let header = URL_SAFE_NO_PAD.decode(header).ok();
        let header: Option<Header> = header.and_then(|header| serde_json::from_slice(&header).ok());
        let header = header.ok_or_else(|| rejected("malformed", "the token has no header of a JWT".to_owned()))?;
        if header.crit {
            return Err(rejected("malformed", "the token demands an extension by crit".to_owned()));
        }
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == header.alg);
        let algorithm = algorithm
            .ok_or_else(|| rejected("algorithm", "the token's alg is none of the supported algorithms".to_owned()))?;
        let key_id = header.kid.filter(|key_id| !key_id.is_empty());
        let key_id = key_id.ok_or_else(|| rejected("malformed", "the token's header has no kid".to_owned()))?;
        let claims = insecure_decode_claims::<Claims>(token);
        let claims = claims.map_err(|_| rejected("malformed", "the token has no claims of a JWT".to_owned()))?;
        Ok(Self { issuer: claims.issuer()?.to_owned(), key_id, algorithm })
    }

    /// Verifies the token that this was parsed from with the keys of its issuer.
    pub(super) fn verify(&self, token: &str, issuer: &Issuer, keys: &KeySet) -> Result<Claims, TokenError> {
        let key = keys
            .get(&self.key_id)
            .filter(|key| key.fits(self.algorithm) && issuer.algorithms.contains(&self.algorithm));
        let Some(key) = key else {
            let reason = "the token's alg does not fit its key, or is none of the algorithms of issuer";
            return Err(rejected("algorithm", format!("{reason} {}", issuer.name)));
        };
        let mut validation = Validation::new(self.algorithm.into());
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.set_issuer(&[&issuer.issuer]);
        validation.set_audience(&issuer.audiences);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY.unsigned_abs().as_secs();
        match decode::<Claims>(token, &key.decoding, &validation) {
            Ok(token) => Ok(token.claims),
            Err(error) => Err(refusal(error.kind(), &issuer.name)),
        }
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Ps256 => Self::PS256,
            Algorithm::Es256 => Self::ES256,
            Algorithm::Es384 => Self::ES384,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// Describes an error of the library in our words, since its own may quote the token.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other errors, known or new, refuse the token")]
fn refusal(error: &ErrorKind, issuer: &str) -> TokenError {
    let (kind, detail) = match error {
        ErrorKind::InvalidSignature => ("signature", "the signature is not by the key of the token's kid".to_owned()),
        ErrorKind::InvalidAlgorithm => ("algorithm", "the token's alg does not fit its key".to_owned()),
        ErrorKind::ExpiredSignature => ("expired", "the token is expired".to_owned()),
        ErrorKind::ImmatureSignature => ("not_yet_valid", "the token is not valid yet".to_owned()),
        ErrorKind::InvalidAudience => ("audience", format!("no audience of the token is one of issuer {issuer}")),
        ErrorKind::MissingRequiredClaim(claim) => ("claims", format!("the claim {claim} is missing")),
        ErrorKind::InvalidClaimFormat(claim) => ("claims", format!("the claim {claim} has the wrong type")),
        _ => ("malformed", "the token is no valid JWT".to_owned()),
    };
    TokenError::Rejected { kind, detail }
}
