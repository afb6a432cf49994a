//! Resume tokens of watches: opaque, and valid only for the same watch of the same store.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use tonic::Status;

use super::{field_violations::Fields, status};

/// The longest accepted token, in bytes. Each server that recorded decisions within the last day adds about 25 bytes.
const MAX_TOKEN: usize = 1 << 20;

/// The tokens of one watch over one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResumeTokens {
    /// The method, since the position of one watch means nothing to another.
    pub(crate) method: &'static str,
    /// The identity of the store.
    pub(crate) store: i64,
}

impl ResumeTokens {
    /// Encodes a position.
    pub(crate) fn encode(&self, position: &impl Serialize) -> String {
        serde_json::to_string(&(self.method, self.store, position))
            .map_or_else(|_| String::new(), |text| URL_SAFE_NO_PAD.encode(text))
    }

    /// Decodes the token of a request; an empty one, for a new watch, is `None`.
    pub(crate) fn decode<T: DeserializeOwned>(&self, token: &str) -> Result<Option<T>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        let decoded = (token.len() <= MAX_TOKEN)
            .then(|| URL_SAFE_NO_PAD.decode(token).ok())
            .flatten()
            .and_then(|text| serde_json::from_slice::<(String, i64, T)>(&text).ok());
        match decoded {
            Some((method, store, position)) if method == self.method => {
                if store == self.store {
                    Ok(Some(position))
                } else {
                    Err(status::foreign_resume_token())
                }
            }
            Some(_) | None => {
                let mut fields = Fields::default();
                let method = self.method;
                fields.refuse(
                    "resume_token",
                    format!("must be a resume_token of {method}; leave it empty to start anew"),
                );
                fields.finish(None)
            }
        }
    }
}
