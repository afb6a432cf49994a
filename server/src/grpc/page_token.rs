//! Page tokens: opaque, bound to their query, and worthless for any other.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::field_violations::Fields;

const MAX_TOKEN: usize = 4096;

/// Size of a page where the caller names none.
const DEFAULT_SIZE: usize = 100;
/// The largest page.
const MAX_SIZE: usize = 1000;

/// The size of a page.
pub(crate) fn parse_size(fields: &mut Fields, given: i32) -> usize {
    match usize::try_from(given) {
        Ok(0) => DEFAULT_SIZE,
        Ok(size) if size <= MAX_SIZE => size,
        Ok(_) | Err(_) => {
            fields.refuse("page_size", format!("must be 0 to {MAX_SIZE}, and is {given}"));
            DEFAULT_SIZE
        }
    }
}

/// Wraps a cursor for the query whose next page it names.
pub(crate) fn encode(query: &str, cursor: &impl Serialize) -> String {
    serde_json::to_string(&(digest(query), cursor)).map_or_else(|_| String::new(), |text| URL_SAFE_NO_PAD.encode(text))
}

/// Unwraps a token; `None` for the first page.
pub(crate) fn decode<T: DeserializeOwned>(fields: &mut Fields, query: &str, token: &str) -> Option<T> {
    if token.is_empty() {
        return None;
    }
    let decoded = (token.len() <= MAX_TOKEN)
        .then(|| URL_SAFE_NO_PAD.decode(token).ok())
        .flatten()
        .and_then(|text| serde_json::from_slice::<(String, T)>(&text).ok());
    match decoded {
        Some((of, cursor)) if of == digest(query) => Some(cursor),
        Some(_) => {
            fields.refuse("page_token", "belongs to another query; leave it empty and start with the first page");
            None
        }
        None => {
            fields.refuse("page_token", "is none of this server's; leave it empty and start with the first page");
            None
        }
    }
}

fn digest(query: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(query).iter().take(12).copied().collect::<Vec<u8>>())
}
