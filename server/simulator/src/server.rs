//! The HTTP side: which operation a request is for, its faults, and the answer on the wire.

mod reply;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request as HttpRequest, Response};
use jiff::Timestamp;
use serde_json::Value;

use crate::admin;
use crate::calls::{Call, Calls};
use crate::faults::{Effect, Faults, Target, mutate};
use crate::inspector;
use crate::ops::{self, Request};
use crate::wire::{Error, Input, Twist};
use crate::world::World;

pub(crate) use reply::{Body, Dropped, Protocol, Reply};

/// A manifest may have 4 MiB; JSON escapes can double that.
const MOST_BODY: usize = 16 * 1024 * 1024;

/// The prefix of ECR's operations in `x-amz-target`.
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.";

/// What every connection shares.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
}

impl State {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one request. `Err` closes the connection without an answer.
pub(crate) async fn answer(state: State, request: HttpRequest<Incoming>) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let Ok(body) = Limited::new(body, MOST_BODY).collect().await.map(http_body_util::Collected::to_bytes) else {
        return Ok(Reply::error(Protocol::Json, &Error::serialization("the body is too large or broke off")).into());
    };
    if path.starts_with("/_simulator") {
        return Ok(admin::answer(&state, &parts.method, path, &body).into());
    }
    let (operation, protocol) = match (&parts.method, path) {
        (&Method::POST, "/") => match target.and_then(|target| target.strip_prefix(TARGET)) {
            Some(operation) => (operation, Protocol::Json),
            None => return Ok(Reply::error(Protocol::Json, &Error::unknown_operation()).into()),
        },
        (&Method::POST, "/coverage/list") => ("ListCoverage", Protocol::Rest),
        (&Method::POST, "/findings/list") => ("ListFindings", Protocol::Rest),
        (&Method::POST, "/findings/details/batch/get") => ("BatchGetFindingDetails", Protocol::Rest),
        _ => return Ok(Reply::not_found().into()),
    };
    call(&state, operation, protocol, &body).await
}

/// Logs the call, finds its faults, and answers with them.
async fn call(state: &State, operation: &str, protocol: Protocol, body: &Bytes) -> Result<Response<Body>, Dropped> {
    let input = Input::parse(body);
    let (target, now) = note(state, operation, input.as_ref().unwrap_or(&Input::default()));
    let faults = state.faults.strike(&target);
    let (mut instead, mut twist, mut truncated, mut cut) = (None, None, false, false);
    for fault in &faults {
        match fault.effect() {
            Effect::Wait(time) => tokio::time::sleep(time).await,
            Effect::Hang => std::future::pending().await,
            Effect::Drop => return Err(Dropped),
            Effect::Instead(answer) => instead = instead.or(Some(answer)),
            Effect::Page(fault) => twist = twist.or(Some(fault)),
            Effect::Truncate => truncated = true,
            Effect::Cut => cut = true,
            Effect::Change => {}
        }
    }
    let reply = match instead {
        Some(instead) => Reply::instead(protocol, &instead),
        None => match input.and_then(|input| perform(state, operation, protocol, &input, twist)) {
            Err(error) => Reply::error(protocol, &error),
            Ok(mut body) => {
                for fault in &faults {
                    mutate(fault, &mut body, now);
                }
                Reply::json(protocol, &body)
            }
        },
    };
    let reply = if truncated { reply.truncated() } else { reply };
    Ok(if cut { reply.cut() } else { reply }.into())
}

fn perform(
    state: &State,
    operation: &str,
    protocol: Protocol,
    input: &Input,
    twist: Option<Twist>,
) -> Result<Value, Error> {
    let found = ops::find(operation, protocol).ok_or_else(Error::unknown_operation)?;
    let answer = found(&mut Request { world: &mut state.world(), input, twist });
    match protocol {
        Protocol::Json => answer,
        Protocol::Rest => answer.map_err(Error::in_inspectors_words),
    }
}

/// Writes the call into the log, and finds out what it is about.
fn note(state: &State, operation: &str, input: &Input) -> (Target, Timestamp) {
    let world = state.world();
    let now = world.now();
    let (mut repository, mut asked) = (input.asked_repository(), input.asked_images());
    if let Some((name, digest)) = inspector::subject(&world, input) {
        (repository, asked) = (Some(name), vec![digest]);
    }
    state.calls.record(Call {
        operation: operation.to_owned(),
        repository: repository.clone(),
        image: asked.first().cloned(),
        continued: input.has("nextToken"),
        at: now,
    });
    let mut images = asked.clone();
    if let Some(held) = repository.as_deref().and_then(|name| world.find_repository(name)) {
        for image in asked.iter().filter_map(|reference| held.image(reference)) {
            images.push(image.digest().to_owned());
            images.extend(held.tags_of(image.digest()).map(str::to_owned));
        }
    }
    (Target { operation: operation.to_owned(), repository, images, continued: input.has("nextToken") }, now)
}
