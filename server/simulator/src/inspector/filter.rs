//! Inspector's filter criteria: all the named members must hold, each by any of its conditions (a NOT_EQUALS by all).

use jiff::Timestamp;
use serde_json::Value;

use crate::wire::{Error, Input};

/// What a resource or finding has under the name of a criterion.
pub(super) enum Fact {
    Texts(Vec<String>),
    Number(Option<f64>),
    Time(Option<Timestamp>),
    /// The simulator has no such criterion; it refuses rather than ignore it.
    Unknown,
}

/// One text.
pub(super) fn text(text: impl Into<String>) -> Fact {
    Fact::Texts(vec![text.into()])
}

/// Whether something passes the request's criteria. `fact` gives what it has under a criterion's name.
pub(super) fn passes(criteria: &Input, fact: impl Fn(&str) -> Fact) -> Result<bool, Error> {
    for (name, conditions) in criteria.members() {
        let conditions = conditions.as_array().ok_or_else(|| invalid(&format!("{name} is not a list")))?;
        if !(1..=10).contains(&conditions.len()) {
            return Err(invalid(&format!("{name} must have 1 to 10 conditions")));
        }
        let holds = match fact(name) {
            Fact::Texts(texts) => by_text(conditions, &texts)?,
            Fact::Number(number) => number.is_some_and(|number| {
                conditions.iter().any(|range| within(range, number, "lowerInclusive", "upperInclusive"))
            }),
            Fact::Time(time) => {
                let seconds = time.map(|time| time.as_duration().as_secs_f64());
                seconds.is_some_and(|seconds| {
                    conditions.iter().any(|range| within(range, seconds, "startInclusive", "endInclusive"))
                })
            }
            Fact::Unknown => return Err(invalid(&format!("the simulator has no criterion {name}"))),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn by_text(conditions: &[Value], texts: &[String]) -> Result<bool, Error> {
    let (mut any, mut wanted) = (false, false);
    for condition in conditions {
        let member = |name: &str| condition.get(name).and_then(Value::as_str);
        let value = member("value").ok_or_else(|| invalid("a condition has no value"))?;
        match member("comparison") {
            Some("EQUALS") => {
                wanted = true;
                any |= texts.iter().any(|text| text == value);
            }
            Some("PREFIX") => {
                wanted = true;
                any |= texts.iter().any(|text| text.starts_with(value));
            }
            Some("NOT_EQUALS") if texts.iter().any(|text| text == value) => return Ok(false),
            Some("NOT_EQUALS") => {}
            Some(_) | None => return Err(invalid("a condition's comparison is not known")),
        }
    }
    Ok(any || !wanted)
}

fn within(range: &Value, number: f64, from: &str, to: &str) -> bool {
    let bound = |name: &str| range.get(name).and_then(Value::as_f64);
    bound(from).is_none_or(|least| number >= least) && bound(to).is_none_or(|most| number <= most)
}

fn invalid(message: &str) -> Error {
    Error::validation(message)
}
