//! The HTTP side: routes a request to its operation, applies faults, and sends the response.

mod response;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request as HttpRequest, Response};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use crate::admin;
use crate::calls::{Call, Calls};
use crate::faults::{CannedResponse, Effect, Fault, Faults, Target, mutate};
use crate::inspector;
use crate::operations::{self, Request};
use crate::wire::{Error, Input, PagingFault};
use crate::world::World;

pub(crate) use response::{ConnectionDropped, HttpResponse, Protocol, ResponseBody};

/// The size limit of a request body. A manifest may have 4 MiB, and JSON escapes can double that.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The prefix of ECR's operations in `x-amz-target`.
const TARGET_PREFIX: &str = "AmazonEC2ContainerRegistry_V20150921.";

/// The state that all connections share.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
}

impl State {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }
}

/// Handles one request. `Err` closes the connection without a response.
pub(crate) async fn handle(
    state: State,
    request: HttpRequest<Incoming>,
) -> Result<Response<ResponseBody>, ConnectionDropped> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await.map(http_body_util::Collected::to_bytes) else {
        let error = Error::serialization("the body is too large or broke off");
        return Ok(HttpResponse::error(Protocol::AwsJson, &error).into());
    };
    if path.starts_with("/_simulator") {
        return Ok(admin::handle(&state, &parts.method, path, &body).into());
    }
    let (operation, protocol) = match (&parts.method, path) {
        (&Method::POST, "/") => match target.and_then(|target| target.strip_prefix(TARGET_PREFIX)) {
            Some(operation) => (operation, Protocol::AwsJson),
            None => return Ok(HttpResponse::error(Protocol::AwsJson, &Error::unknown_operation()).into()),
        },
        (&Method::POST, "/configuration/get") => ("GetConfiguration", Protocol::RestJson),
        (&Method::POST, "/coverage/list") => ("ListCoverage", Protocol::RestJson),
        (&Method::POST, "/findings/list") => ("ListFindings", Protocol::RestJson),
        (&Method::POST, "/findings/details/batch/get") => ("BatchGetFindingDetails", Protocol::RestJson),
        _ => return Ok(HttpResponse::not_found().into()),
    };
    handle_call(&state, operation, protocol, &body).await
}

/// Logs the call, executes it, and applies its faults.
async fn handle_call(
    state: &State,
    operation: &str,
    protocol: Protocol,
    body: &Bytes,
) -> Result<Response<ResponseBody>, ConnectionDropped> {
    let input = Input::parse(body);
    let (target, now) = log_call(state, operation, input.as_ref().unwrap_or(&Input::default()));
    let faults = state.faults.fire(&target);
    let effects = apply_before_response(&faults).await?;
    let response = match effects.canned {
        Some(canned) => HttpResponse::canned(protocol, &canned),
        None => match input.and_then(|input| execute(state, operation, protocol, &input, effects.paging)) {
            Err(error) => HttpResponse::error(protocol, &error),
            Ok(mut body) => {
                for fault in &faults {
                    mutate(fault, &mut body, now);
                }
                HttpResponse::json(protocol, &body)
            }
        },
    };
    let response = if effects.truncate { response.truncated() } else { response };
    Ok(if effects.cut { response.cut() } else { response }.into())
}

/// The effects of all faults of a call on its response.
#[derive(Default)]
struct ResponseEffects<'f> {
    /// The first canned response replaces the operation's.
    canned: Option<CannedResponse<'f>>,
    paging: Option<PagingFault>,
    truncate: bool,
    cut: bool,
}

/// Waits, hangs or drops the connection as the faults require, and collects their effects on the response.
async fn apply_before_response(faults: &[Fault]) -> Result<ResponseEffects<'_>, ConnectionDropped> {
    let mut effects = ResponseEffects::default();
    for fault in faults {
        match fault.effect() {
            Effect::Delay(time) => tokio::time::sleep(time).await,
            Effect::Hang => std::future::pending().await,
            Effect::DropConnection => return Err(ConnectionDropped),
            Effect::Replace(canned) => effects.canned = effects.canned.or(Some(canned)),
            Effect::Paging(fault) => effects.paging = effects.paging.or(Some(fault)),
            Effect::TruncateBody => effects.truncate = true,
            Effect::CutConnection => effects.cut = true,
            Effect::Mutate => {}
        }
    }
    Ok(effects)
}

fn execute(
    state: &State,
    operation: &str,
    protocol: Protocol,
    input: &Input,
    paging_fault: Option<PagingFault>,
) -> Result<Value, Error> {
    let operation = operations::find(operation, protocol).ok_or_else(Error::unknown_operation)?;
    let result = operation(&mut Request { world: &mut state.world(), input, paging_fault });
    match protocol {
        Protocol::AwsJson => result,
        Protocol::RestJson => result.map_err(Error::into_inspector_error),
    }
}

/// Records the call in the log, and returns its target and time.
fn log_call(state: &State, operation: &str, input: &Input) -> (Target, Timestamp) {
    let world = state.world();
    let now = world.now();
    let (mut repository, mut references) = (input.target_repository(), input.target_images());
    if let Some((name, digest)) = inspector::find_target(&world, input) {
        (repository, references) = (Some(name), vec![digest]);
    }
    state.calls.record(Call {
        operation: operation.to_owned(),
        repository: repository.clone(),
        image: references.first().cloned(),
        continued: input.has("nextToken"),
        at: now,
    });
    let mut images = references.clone();
    if let Some(existing) = repository.as_deref().and_then(|name| world.find_repository(name)) {
        for image in references.iter().filter_map(|reference| existing.image(reference)) {
            images.push(image.digest().to_owned());
            images.extend(existing.tags_of(image.digest()).map(str::to_owned));
        }
    }
    (Target { operation: operation.to_owned(), repository, images, continued: input.has("nextToken") }, now)
}
