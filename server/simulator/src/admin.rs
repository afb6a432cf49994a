//! The `/_simulator` endpoints: how tests in other languages drive the binary. The README lists them.

mod script;

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::{Fault, Rule};
use crate::server::{Reply, State};

/// What is wrong with a request to an endpoint of the simulator's own.
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

/// Answers a request to an endpoint of the simulator's own.
pub(crate) fn answer(state: &State, method: &Method, path: &str, body: &[u8]) -> Reply {
    match route(state, method, path, body) {
        Ok(body) => Reply::own(200, &body),
        Err(error) => {
            let status = match &error {
                Error::NoSuchEndpoint | Error::NoSuchImage(_) => 404,
                Error::Body(_) | Error::Time => 400,
            };
            Reply::own(status, &json!({"error": error.to_string()}))
        }
    }
}

fn route(state: &State, method: &Method, path: &str, body: &[u8]) -> Result<Value, Error> {
    match (method.as_str(), path) {
        ("GET", "/_simulator") => Ok(json!({
            "simulated": true,
            "says": "This is not AWS. Every image and finding here is made up or recorded.",
            "now": state.world().now(),
        })),
        ("GET", "/_simulator/faults") => Ok(json!({
            "rules": state.faults.rules(),
            "catalogue": Fault::all().iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        })),
        ("POST", "/_simulator/faults") => script_faults(state, body),
        ("DELETE", "/_simulator/faults") => {
            state.faults.clear();
            Ok(json!({}))
        }
        ("GET", "/_simulator/calls") => Ok(json!({"total": state.calls.total(), "calls": state.calls.all()})),
        ("DELETE", "/_simulator/calls") => {
            state.calls.clear();
            Ok(json!({}))
        }
        ("POST", "/_simulator/clock/advance") => advance(state, body),
        ("GET", "/_simulator/images") => Ok(images(state)),
        ("POST", "/_simulator/images") => {
            let push: script::Push = read(body)?;
            let pushed = state.world().push(push.spec());
            let children: Vec<Value> = pushed
                .children
                .iter()
                .map(|child| json!({"platform": child.platform, "digest": child.digest}))
                .collect();
            Ok(json!({"digest": pushed.digest, "children": children}))
        }
        ("POST", "/_simulator/images/scan-script") => {
            let rescan: script::Rescan = read(body)?;
            let script = rescan.scan.script();
            state.world().rescan(&rescan.repository, &rescan.image, script)?;
            Ok(json!({}))
        }
        _ => Err(Error::NoSuchEndpoint),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(body)?)
}

/// One rule, or a list of them.
fn script_faults(state: &State, body: &[u8]) -> Result<Value, Error> {
    let written: Value = read(body)?;
    let rules: Vec<Rule> =
        if written.is_array() { serde_json::from_value(written)? } else { vec![serde_json::from_value(written)?] };
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

fn advance(state: &State, body: &[u8]) -> Result<Value, Error> {
    let by = Duration::try_from_secs_f64(read::<Advance>(body)?.seconds).map_err(|_| Error::Time)?;
    let world = state.world();
    world.clock().advance(by);
    Ok(json!({"now": world.now()}))
}

fn images(state: &State) -> Value {
    let world = state.world();
    let mut rows = Vec::new();
    for repository in world.repositories() {
        for image in repository.images() {
            rows.push(json!({
                "repository": repository.name(), "digest": image.digest(),
                "tags": repository.tags_of(image.digest()).collect::<Vec<_>>(), "mediaType": image.media_type(),
                "pushedAt": image.pushed_at(), "status": image.status().as_str(), "children": image.manifest.children,
            }));
        }
    }
    json!({"account": world.account(), "region": world.region(), "images": rows})
}
