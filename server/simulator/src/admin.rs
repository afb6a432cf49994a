//! The `/_simulator` endpoints, with which tests in other languages control the program. The README lists them.

mod requests;

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::{Fault, Rule};
use crate::server::{HttpResponse, State};

/// An error in a request to an admin endpoint. Its text is part of the endpoint's response.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("there is no such endpoint")]
    NoSuchEndpoint,
    #[error("the body cannot be read: {0}")]
    Body(#[from] serde_json::Error),
    #[error(transparent)]
    NoSuchImage(#[from] crate::world::NoSuchImage),
    #[error("the time is not a positive number of seconds")]
    Time,
}

/// Handles a request to an admin endpoint.
pub(crate) fn handle(state: &State, method: &Method, path: &str, body: &[u8]) -> HttpResponse {
    match route(state, method, path, body) {
        Ok(body) => HttpResponse::admin(200, &body),
        Err(error) => {
            let status = match &error {
                Error::NoSuchEndpoint | Error::NoSuchImage(_) => 404,
                Error::Body(_) | Error::Time => 400,
            };
            HttpResponse::admin(status, &json!({"error": error.to_string()}))
        }
    }
}

fn route(state: &State, method: &Method, path: &str, body: &[u8]) -> Result<Value, Error> {
    match (method.as_str(), path) {
        ("GET", "/_simulator") => Ok(status(state)),
        ("GET", "/_simulator/faults") => Ok(json!({
            "rules": state.faults.rules(),
            "catalogue": Fault::all().iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        })),
        ("POST", "/_simulator/faults") => add_faults(state, body),
        ("DELETE", "/_simulator/faults") => {
            state.faults.clear();
            Ok(json!({}))
        }
        ("GET", "/_simulator/calls") => Ok(json!({"total": state.calls.total(), "calls": state.calls.all()})),
        ("DELETE", "/_simulator/calls") => {
            state.calls.clear();
            Ok(json!({}))
        }
        ("POST", "/_simulator/clock/advance") => advance_clock(state, body),
        ("GET", "/_simulator/images") => Ok(list_images(state)),
        ("POST", "/_simulator/images") => push_image(state, body),
        ("POST", "/_simulator/images/scan-script") => set_scan_script(state, body),
        _ => Err(Error::NoSuchEndpoint),
    }
}

fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(body)?)
}

fn status(state: &State) -> Value {
    json!({
        "simulated": true,
        "says": "This is not AWS. Every image and finding here is made up or recorded.",
        "now": state.world().now(),
    })
}

/// Adds one rule, or a list of them.
fn add_faults(state: &State, body: &[u8]) -> Result<Value, Error> {
    let body: Value = parse_body(body)?;
    let rules: Vec<Rule> =
        if body.is_array() { serde_json::from_value(body)? } else { vec![serde_json::from_value(body)?] };
    for rule in rules {
        state.faults.script(rule);
    }
    Ok(json!({"rules": state.faults.rules()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: f64,
}

fn advance_clock(state: &State, body: &[u8]) -> Result<Value, Error> {
    let by = Duration::try_from_secs_f64(parse_body::<Advance>(body)?.seconds).map_err(|_| Error::Time)?;
    let world = state.world();
    world.clock().advance(by);
    Ok(json!({"now": world.now()}))
}

fn list_images(state: &State) -> Value {
    let world = state.world();
    let mut rows = Vec::new();
    for repository in world.repositories() {
        for image in repository.images() {
            rows.push(json!({
                "repository": repository.name(), "digest": image.digest(),
                "tags": repository.tags_of(image.digest()).collect::<Vec<_>>(), "mediaType": image.media_type(),
                "pushedAt": image.push_time(), "status": image.status().as_str(), "children": image.manifest.children,
            }));
        }
    }
    json!({"account": world.account(), "region": world.region(), "images": rows})
}

fn push_image(state: &State, body: &[u8]) -> Result<Value, Error> {
    let push: requests::Push = parse_body(body)?;
    let pushed = state.world().push(push.into_spec());
    let children: Vec<Value> =
        pushed.children.iter().map(|child| json!({"platform": child.platform, "digest": child.digest})).collect();
    Ok(json!({"digest": pushed.digest, "children": children}))
}

fn set_scan_script(state: &State, body: &[u8]) -> Result<Value, Error> {
    let rescan: requests::Rescan = parse_body(body)?;
    let script = rescan.scan.into_script();
    state.world().rescan(&rescan.repository, &rescan.image, script)?;
    Ok(json!({}))
}
