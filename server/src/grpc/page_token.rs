//! Page sizes, and page tokens: opaque, and valid only for the query that returned them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::field_violations::{FieldReason, Fields};

/// The longest accepted token, in bytes.
pub(super) const MAX_TOKEN: usize = 4096;
/// Bytes of the query's SHA-256 that a token carries: enough to distinguish queries; a token grants no access.
const DIGEST_BYTES: usize = 12;

/// The page size if the caller sets none.
const DEFAULT_SIZE: usize = 100;
/// The largest page size.
const MAX_SIZE: usize = 1000;

/// Parses `page_size`; a larger one than the maximum becomes the maximum.
pub(crate) fn parse_size(fields: &mut Fields, size: i32) -> usize {
    match usize::try_from(size) {
        Ok(0) => DEFAULT_SIZE,
        Ok(size) => size.min(MAX_SIZE),
        Err(_) => {
            fields.refuse_as(FieldReason::OutOfRange, "page_size", format!("must not be negative, but is {size}"));
            DEFAULT_SIZE
        }
    }
}

/// Encodes a cursor as a token that is bound to its query.
pub(crate) fn encode(query: &str, cursor: &impl Serialize) -> String {
    serde_json::to_string(&(digest(query), cursor)).map_or_else(|_| String::new(), |text| URL_SAFE_NO_PAD.encode(text))
}

/// Decodes the token of a query; an empty token, for the first page, is `None`.
pub(crate) fn decode<T: DeserializeOwned>(fields: &mut Fields, query: &str, token: &str) -> Option<T> {
    if token.is_empty() {
        return None;
    }
    let decoded = (token.len() <= MAX_TOKEN)
        .then(|| URL_SAFE_NO_PAD.decode(token).ok())
        .flatten()
        .and_then(|text| serde_json::from_slice::<(String, T)>(&text).ok());
    match decoded {
        Some((bound_to, cursor)) if bound_to == digest(query) => Some(cursor),
        Some(_) => {
            fields.refuse("page_token", "must come from the same query; leave it empty to start with the first page");
            None
        }
        None => {
            fields.refuse("page_token", "must be a next_page_token of this server; leave it empty for the first page");
            None
        }
    }
}

fn digest(query: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(query).iter().take(DIGEST_BYTES).copied().collect::<Vec<u8>>())
}
