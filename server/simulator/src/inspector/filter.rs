//! Inspector's filter criteria. All criteria must hold; each holds if any of its conditions does. A `NOT_EQUALS`
//! condition must always hold.

use jiff::Timestamp;
use serde_json::Value;

use crate::wire::{Error, Input};

/// The value of a resource's or finding's field that a criterion names.
pub(super) enum FieldValue {
    Texts(Vec<String>),
    Number(Option<f64>),
    Time(Option<Timestamp>),
    /// The simulator does not support the criterion. It refuses the request instead of ignoring the criterion.
    Unsupported,
}

pub(super) fn text(text: impl Into<String>) -> FieldValue {
    FieldValue::Texts(vec![text.into()])
}

/// Returns true if the request's criteria hold. `field` returns the value that a criterion's name refers to.
pub(super) fn matches(criteria: &Input, field: impl Fn(&str) -> FieldValue) -> Result<bool, Error> {
    for (name, conditions) in criteria.members() {
        let conditions = conditions.as_array().ok_or_else(|| invalid(&format!("{name} is not a list")))?;
        if !(1..=10).contains(&conditions.len()) {
            return Err(invalid(&format!("{name} must have 1 to 10 conditions")));
        }
        let holds = match field(name) {
            FieldValue::Texts(texts) => texts_match(conditions, &texts)?,
            FieldValue::Number(number) => number.is_some_and(|number| {
                conditions.iter().any(|range| in_range(range, number, "lowerInclusive", "upperInclusive"))
            }),
            FieldValue::Time(time) => {
                let seconds = time.map(|time| time.as_duration().as_secs_f64());
                seconds.is_some_and(|seconds| {
                    conditions.iter().any(|range| in_range(range, seconds, "startInclusive", "endInclusive"))
                })
            }
            FieldValue::Unsupported => return Err(invalid(&format!("the simulator has no criterion {name}"))),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn texts_match(conditions: &[Value], texts: &[String]) -> Result<bool, Error> {
    let (mut any_matches, mut has_positive) = (false, false);
    for condition in conditions {
        let member = |name: &str| condition.get(name).and_then(Value::as_str);
        let value = member("value").ok_or_else(|| invalid("a condition has no value"))?;
        match member("comparison") {
            Some("EQUALS") => {
                has_positive = true;
                any_matches |= texts.iter().any(|text| text == value);
            }
            Some("PREFIX") => {
                has_positive = true;
                any_matches |= texts.iter().any(|text| text.starts_with(value));
            }
            Some("NOT_EQUALS") if texts.iter().any(|text| text == value) => return Ok(false),
            Some("NOT_EQUALS") => {}
            Some(_) | None => return Err(invalid("a condition's comparison is not known")),
        }
    }
    Ok(any_matches || !has_positive)
}

fn in_range(range: &Value, number: f64, from: &str, to: &str) -> bool {
    let bound = |name: &str| range.get(name).and_then(Value::as_f64);
    bound(from).is_none_or(|min| number >= min) && bound(to).is_none_or(|max| number <= max)
}

fn invalid(message: &str) -> Error {
    Error::validation(message)
}
