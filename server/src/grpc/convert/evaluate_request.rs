//! Conversions of EvaluateGate and GetFindings requests, and of idempotency keys.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use scangate_core::name::{Environment, PolicyId};
use scangate_proto::v1;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tonic::Status;

use super::{finding, image, policy, time::parse_duration};
use crate::{
    evaluation::EvaluateRequest,
    findings::{Cursor, Filter, Query},
    grpc::{field_violations::Fields, page_token},
    idempotency::RequestKey,
};

/// The longest wait that a request may ask for.
const MAX_WAIT: Duration = Duration::from_mins(15);
/// The largest age of findings that a request may accept.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);
/// The most labels of a request.
const MAX_LABELS: usize = 32;
/// The longest label key and value, in bytes.
const MAX_LABEL_KEY: usize = 63;
const MAX_LABEL_VALUE: usize = 256;
/// The longest text of a findings filter, in bytes.
const MAX_TEXT: usize = 512;
/// The longest `request_id`, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// Parses an EvaluateGate request.
pub(crate) fn parse_evaluate_request(request: v1::EvaluateGateRequest) -> Result<EvaluateRequest, Status> {
    let mut fields = Fields::default();
    let request_key = parse_request_key(&mut fields, &request.request_id, || v1::EvaluateGateRequest {
        request_id: String::new(),
        ..request.clone()
    });
    let image = image::parse_image_reference(&mut fields, &request.image);
    let environment = fields.optional("environment", &request.environment, Environment::parse);
    let platforms = image::parse_platforms(&mut fields, &request.platforms);
    let policy = parse_policy_name(&mut fields, "policy", &request.policy);
    let wait = parse_duration(&mut fields, "wait", request.wait.as_ref(), MAX_WAIT).unwrap_or_default();
    let max_findings_age = parse_duration(&mut fields, "max_findings_age", request.max_findings_age.as_ref(), MAX_AGE);
    let at_least_as_fresh = policy::parse_revision_token(&mut fields, &request.at_least_as_fresh);
    check_labels(&mut fields, &request.labels);
    let parsed = image.map(|image| EvaluateRequest {
        image,
        environment,
        platforms,
        policy,
        wait,
        max_findings_age,
        at_least_as_fresh,
        labels: request.labels,
        request_key,
    });
    fields.finish(parsed)
}

/// Parses the idempotency key of a request; `None` without a `request_id`. `without_id` builds the request without its id, over
/// which the fingerprint is computed.
pub(crate) fn parse_request_key<M: Message>(
    fields: &mut Fields,
    request_id: &str,
    without_id: impl FnOnce() -> M,
) -> Option<RequestKey> {
    let printable = request_id.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if request_id.len() > MAX_REQUEST_ID || !printable {
        fields.refuse("request_id", format!("must be 1 to {MAX_REQUEST_ID} printable ASCII characters"));
        return None;
    }
    (!request_id.is_empty()).then(|| {
        let fingerprint = URL_SAFE_NO_PAD.encode(Sha256::digest(without_id().encode_to_vec()));
        RequestKey { id: request_id.to_owned(), fingerprint }
    })
}

/// Parses `policies/{id}`; empty is `None`.
fn parse_policy_name(fields: &mut Fields, path: &str, name: &str) -> Option<PolicyId> {
    if name.is_empty() { None } else { policy::parse_name(fields, path, name) }
}

fn check_labels(fields: &mut Fields, labels: &BTreeMap<String, String>) {
    fields.check_length("labels", labels.len(), MAX_LABELS);
    for (key, value) in labels {
        if key.is_empty() || key.len() > MAX_LABEL_KEY {
            fields.refuse("labels", format!("must have keys of 1 to {MAX_LABEL_KEY} bytes"));
        }
        if value.len() > MAX_LABEL_VALUE {
            fields.refuse("labels", format!("must have values of at most {MAX_LABEL_VALUE} bytes"));
        }
    }
}

/// The cursor in a page token of GetFindings.
#[derive(Serialize, Deserialize)]
struct Position {
    offset: usize,
    fingerprint: String,
}

/// Parses a GetFindings request into a query, and the text that its page tokens are bound to.
pub(crate) fn parse_findings_query(
    request: &v1::GetFindingsRequest,
    default_age: Duration,
) -> Result<(Query, String), Status> {
    let mut fields = Fields::default();
    let selection = image::parse_selection(&mut fields, &request.image, &request.platforms);
    let platforms = selection.as_ref().map(|(_, platforms)| platforms.as_slice()).unwrap_or_default();
    let filter = request.filter.clone().unwrap_or_default();
    for (path, text) in [("filter.package", &filter.package), ("filter.vulnerability_id", &filter.vulnerability_id)] {
        if text.len() > MAX_TEXT {
            fields.refuse(path, format!("must be at most {MAX_TEXT} bytes long"));
        }
    }
    let non_empty = |text: String| (!text.is_empty()).then_some(text);
    let filter = Filter {
        min_severity: finding::parse_severity(&mut fields, "filter.min_severity", filter.min_severity),
        fix: finding::parse_fix(&mut fields, "filter.fix", filter.fix),
        package: non_empty(filter.package),
        vulnerability_id: non_empty(filter.vulnerability_id),
    };
    let page_size = page_token::parse_size(&mut fields, request.page_size);
    let binding = format!("{}\n{platforms:?}\n{filter:?}", request.image);
    let position = page_token::decode::<Position>(&mut fields, &binding, &request.page_token);
    let max_age = parse_duration(&mut fields, "max_findings_age", request.max_findings_age.as_ref(), MAX_AGE);
    let query = selection.map(|(image, platforms)| Query {
        image,
        platforms,
        filter,
        page_size,
        cursor: position.map(|position| Cursor { offset: position.offset, fingerprint: position.fingerprint }),
        max_age: max_age.unwrap_or(default_age),
    });
    Ok((fields.finish(query)?, binding))
}

/// Renders the token of the next page of findings.
pub(crate) fn render_findings_token(binding: &str, offset: usize, fingerprint: &str) -> String {
    page_token::encode(binding, &Position { offset, fingerprint: fingerprint.to_owned() })
}
