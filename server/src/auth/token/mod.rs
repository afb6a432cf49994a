//! Tokens: JSON Web Tokens (JWT) of the configured issuers, verified and remembered.

mod settings;

pub use self::settings::{
    Algorithm, InvalidIssuer, Issuer, Issuers, Keys, MAX_AUDIENCES, MAX_ISSUERS, MAX_NAME_LENGTH,
};

/// A token that names no caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is refused. Another attempt with the same token is refused too.
    #[error("token refused ({kind}): {detail}")]
    Rejected {
        /// The kind, a stable word in snake case for callers: `too_large`, `malformed`, `algorithm`, `unknown_issuer`,
        /// `unknown_key`, `signature`, `claims`, `audience`, `expired` or `not_yet_valid`.
        kind: &'static str,
        /// The reason for the log. It has no part of the token.
        detail: String,
    },
    /// The keys of the issuer are out of reach, so the token can be neither accepted nor refused. A later attempt may succeed.
    #[error("keys of issuer {issuer} unavailable; retry later, and check its URL and the server's network")]
    Unavailable {
        /// The name of the issuer.
        issuer: String,
    },
}
