//! Partial reading of a resource that a newer server wrote.
//!
//! Such a resource is valid JSON with the right digest, and has a field or a value that this server does not know. Each part
//! that this server understands is kept, so that it can be shown. The others are listed.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The most parts that are listed.
const MAX_LISTED: usize = 20;
/// The longest description of a part, in characters.
const MAX_DESCRIPTION: usize = 200;

type Fields = Map<String, Value>;

/// A type of resources that can be read in part.
pub(super) trait Partial: DeserializeOwned {
    /// The required fields, with values that have no effect.
    fn placeholder() -> Value;
}

impl Partial for scangate_core::policy::Policy {
    fn placeholder() -> Value {
        json!({})
    }
}

impl Partial for scangate_core::waiver::Waiver {
    fn placeholder() -> Value {
        let never = "1970-01-01T00:00:00Z";
        json!({ "scope": { "vulnerability": "unknown" }, "reason": "", "start_time": never, "expire_time": never })
    }
}

/// Reads the parts of a resource that this server understands. Returns them with descriptions of the others, of which there is
/// at least one; `refused` is the error of the whole.
pub(super) fn read<T: Partial>(
    fields: Fields,
    refused: &serde_json::Error,
) -> Result<(T, Vec<String>), serde_json::Error> {
    let Value::Object(mut known) = T::placeholder() else { return serde_json::from_value(Value::Null) };
    known.extend(fields.get("id").map(|id| ("id".to_owned(), id.clone())));
    let mut unknown = Vec::new();
    for (name, value) in fields {
        add::<T>(&mut known, &name, value, &mut unknown);
    }
    if unknown.is_empty() {
        unknown.push(describe("the document", refused));
    }
    let hidden = unknown.len().saturating_sub(MAX_LISTED);
    unknown.truncate(MAX_LISTED);
    if hidden > 0 {
        unknown.push(format!("and {hidden} more"));
    }
    Ok((serde_json::from_value(Value::Object(known))?, unknown))
}

/// Adds a field, or the parts of it that are understood. A policy's match is understood as a whole or not at all.
fn add<T: Partial>(known: &mut Fields, name: &str, value: Value, unknown: &mut Vec<String>) {
    let before = known.get(name).cloned();
    let Err(refused) = try_value::<T>(known, name, value.clone()) else { return };
    match (value, before) {
        (Value::Array(elements), _) => {
            let mut kept = Vec::new();
            for (index, element) in elements.into_iter().enumerate() {
                let with: Vec<Value> = kept.iter().cloned().chain([element.clone()]).collect();
                match try_value::<T>(known, name, Value::Array(with)) {
                    Ok(()) => kept.push(element),
                    Err(refused) => unknown.push(describe(&format!("{name}[{index}]"), &refused)),
                }
            }
        }
        (Value::Object(parts), Some(Value::Object(mut kept))) => {
            for (part, value) in parts {
                let mut with = kept.clone();
                with.insert(part.clone(), value);
                match try_value::<T>(known, name, Value::Object(with.clone())) {
                    Ok(()) => kept = with,
                    Err(refused) => unknown.push(describe(&format!("{name}.{part}"), &refused)),
                }
            }
        }
        _ => unknown.push(describe(name, &refused)),
    }
}

/// Sets a field if the result is understood; otherwise changes nothing.
fn try_value<T: Partial>(known: &mut Fields, name: &str, value: Value) -> Result<(), serde_json::Error> {
    let mut with = known.clone();
    with.insert(name.to_owned(), value);
    serde_json::from_value::<T>(Value::Object(with.clone()))?;
    *known = with;
    Ok(())
}

fn describe(part: &str, refused: &serde_json::Error) -> String {
    let refused = refused.to_string();
    // The list of the known names that follows helps no operator.
    let cause = refused.split(", expected").next().unwrap_or_default();
    let text = format!("{part}: {cause}");
    text.chars().map(|char| if char.is_control() { '?' } else { char }).take(MAX_DESCRIPTION).collect()
}
