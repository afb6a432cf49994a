//! Conversions of EvaluateGate, SimulateGate and GetFindings requests.

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use scangate_core::{name::Environment, severity::Severity};
use scangate_proto::v1::{self, simulate_gate_request::SimulatedPolicy as SimulatedPolicyField};
use tonic::Status;

use super::{finding, image, policy, request_id::parse_request_key, revision::parse_revision, time::parse_duration};
use crate::{
    evaluation::{EvaluateRequest, SimulateRequest, SimulatedPolicy},
    findings::{Cursor, Query},
    grpc::{
        field_violations::{FieldReason, Fields},
        page_token,
    },
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

/// Parses an EvaluateGate request of a caller. Its id is kept for `window`.
pub(crate) fn parse_evaluate_request(
    caller: &str,
    request: v1::EvaluateGateRequest,
    window: SignedDuration,
) -> Result<EvaluateRequest, Status> {
    let mut fields = Fields::default();
    let request_key = parse_request_key(&mut fields, caller, &request.request_id, window, || identity(&request));
    let image = image::parse_image_reference(&mut fields, &request.image);
    let environment = fields.optional("environment", &request.environment, Environment::parse);
    let platforms = image::parse_platforms(&mut fields, &request.platforms);
    let wait = parse_duration(&mut fields, "wait", request.wait.as_ref(), MAX_WAIT).unwrap_or_default();
    let max_findings_age = parse_duration(&mut fields, "max_findings_age", request.max_findings_age.as_ref(), MAX_AGE);
    let at_least_as_fresh = parse_revision(&mut fields, "at_least_as_fresh", &request.at_least_as_fresh);
    check_labels(&mut fields, &request.labels);
    let parsed = image.map(|image| EvaluateRequest {
        image,
        environment,
        platforms,
        wait,
        max_findings_age,
        at_least_as_fresh,
        caller: caller.to_owned(),
        labels: request.labels,
        request_key,
    });
    fields.finish(parsed)
}

/// The parts that identify a request. A retry may wait longer, ask for fresher data or have other labels.
fn identity(request: &v1::EvaluateGateRequest) -> v1::EvaluateGateRequest {
    v1::EvaluateGateRequest {
        image: request.image.clone(),
        environment: request.environment.clone(),
        platforms: request.platforms.clone(),
        ..v1::EvaluateGateRequest::default()
    }
}

/// Refuses each `request_id` that occurs twice in a batch, at every place: its requests would share one decision.
pub(crate) fn check_request_ids(fields: &mut Fields, requests: &[v1::EvaluateGateRequest]) {
    let mut indices: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, request) in requests.iter().enumerate().filter(|(_, request)| !request.request_id.is_empty()) {
        indices.entry(&request.request_id).or_default().push(index);
    }
    let mut repeated: Vec<usize> = indices.into_values().filter(|indices| indices.len() > 1).flatten().collect();
    repeated.sort_unstable();
    for index in repeated {
        let path = format!("requests[{index}].request_id");
        fields.refuse_as(
            FieldReason::Duplicate,
            path,
            "occurs more than once in the batch; use a new UUID for each request",
        );
    }
}

/// Parses a SimulateGate request.
pub(crate) fn parse_simulate_request(request: &v1::SimulateGateRequest) -> Result<SimulateRequest, Status> {
    let mut fields = Fields::default();
    let image = image::parse_image_reference(&mut fields, &request.image);
    let environment = fields.optional("environment", &request.environment, Environment::parse);
    let platforms = image::parse_platforms(&mut fields, &request.platforms);
    let policy = parse_simulated_policy(&mut fields, request.simulated_policy.as_ref());
    let wait = parse_duration(&mut fields, "wait", request.wait.as_ref(), MAX_WAIT).unwrap_or_default();
    let max_findings_age = parse_duration(&mut fields, "max_findings_age", request.max_findings_age.as_ref(), MAX_AGE);
    let at_least_as_fresh = parse_revision(&mut fields, "at_least_as_fresh", &request.at_least_as_fresh);
    let parsed = image.zip(policy).map(|(image, policy)| SimulateRequest {
        image,
        environment,
        platforms,
        policy,
        wait,
        max_findings_age,
        at_least_as_fresh,
    });
    fields.finish(parsed)
}

fn parse_simulated_policy(fields: &mut Fields, policy: Option<&SimulatedPolicyField>) -> Option<SimulatedPolicy> {
    match policy {
        Some(SimulatedPolicyField::Policy(name)) => {
            policy::parse_name(fields, "policy", name).map(SimulatedPolicy::Stored)
        }
        Some(SimulatedPolicyField::Draft(draft)) => {
            policy::parse_draft(fields, "draft", draft).map(|draft| SimulatedPolicy::Draft(Box::new(draft)))
        }
        None => {
            fields.require("policy", "must be set, or draft must: the stored policy or the draft to simulate");
            None
        }
    }
}

fn check_labels(fields: &mut Fields, labels: &BTreeMap<String, String>) {
    fields.check_length("labels", labels.len(), MAX_LABELS);
    for (key, value) in labels {
        if key.is_empty() || key.len() > MAX_LABEL_KEY {
            fields.refuse_as(FieldReason::Length, "labels", format!("must have keys of 1 to {MAX_LABEL_KEY} bytes"));
        }
        if value.len() > MAX_LABEL_VALUE {
            fields.refuse_as(
                FieldReason::Length,
                "labels",
                format!("must have values of at most {MAX_LABEL_VALUE} bytes"),
            );
        }
    }
}

/// Parses a GetFindings request into a query, and the text that its page tokens are bound to.
pub(crate) fn parse_findings_query(
    request: &v1::GetFindingsRequest,
    default_age: Duration,
) -> Result<(Query, String), Status> {
    let mut fields = Fields::default();
    let selection = image::parse_selection(&mut fields, &request.image, &request.platforms);
    let platforms = selection.as_ref().map(|(_, platforms)| platforms.as_slice()).unwrap_or_default();
    let condition = policy::parse_condition(&mut fields, "filter", request.filter.as_ref());
    let unrated_as = finding::parse_severity(&mut fields, "unrated_as", request.unrated_as).unwrap_or(Severity::High);
    let page_size = page_token::parse_size(&mut fields, request.page_size);
    let binding = format!("{}\n{platforms:?}\n{condition:?}\n{unrated_as:?}", request.image);
    let cursor = page_token::decode::<Cursor>(&mut fields, &binding, &request.page_token);
    let max_age = parse_duration(&mut fields, "max_findings_age", request.max_findings_age.as_ref(), MAX_AGE);
    let query = selection.map(|(image, platforms)| Query {
        image,
        platforms,
        condition,
        unrated_as,
        page_size,
        cursor,
        max_age: max_age.unwrap_or(default_age),
    });
    Ok((fields.finish(query)?, binding))
}
