//! Conversion of `request_id` into an idempotency key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use prost::Message;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{grpc::field_violations::Fields, idempotency::RequestKey};

/// The refusal of any other form.
const NOT_A_UUID: &str = "must be a random UUID in lower case, like 8-4-4-4-12 hexadecimal digits; make a new one for each request, \
                          e.g. with `uuidgen | tr A-F a-f`, and send the same one only with its retries";

/// Parses the idempotency key of a caller's request; `None` without a `request_id`. `identity` builds a message of the parts that identify
/// the request, over which the fingerprint is computed.
pub(crate) fn parse_request_key<M: Message>(
    fields: &mut Fields,
    caller: &str,
    request_id: &str,
    window: SignedDuration,
    identity: impl FnOnce() -> M,
) -> Option<RequestKey> {
    if request_id.is_empty() {
        return None;
    }
    if !is_canonical_uuid(request_id) {
        fields.refuse("request_id", NOT_A_UUID);
        return None;
    }
    // Requests of different types can have equal bytes.
    let message = std::any::type_name::<M>().rsplit("::").next().unwrap_or_default();
    let digest = Sha256::new().chain_update(message).chain_update([0]).chain_update(identity().encode_to_vec());
    let fingerprint = URL_SAFE_NO_PAD.encode(digest.finalize());
    Some(RequestKey { caller: caller.to_owned(), id: request_id.to_owned(), fingerprint, window })
}

/// True for 32 lower-case hexadecimal digits as 8-4-4-4-12. The nil UUID is the value of a variable that was never set.
fn is_canonical_uuid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|uuid| !uuid.is_nil() && uuid.hyphenated().to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_uuid_is_a_request_id() {
        let valid = "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f";
        let invalid = [
            "deploy-42",
            "6F1C2A34-9D0E-4B7A-8C55-0A1B2C3D4E5F",
            "6f1c2a349d0e4b7a8c550a1b2c3d4e5f",
            "{6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5f}",
            "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5",
            "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4e5g",
            "6f1c2a34-9d0e-4b7a-8c550-a1b2c3d4e5f",
            "00000000-0000-0000-0000-000000000000",
            "6f1c2a34-9d0e-4b7a-8c55-0a1b2c3d4é5",
        ];

        assert!(is_canonical_uuid(valid));
        assert_eq!(invalid.into_iter().find(|text| is_canonical_uuid(text)), None);
    }
}
