//! `PutRegistryScanningConfiguration`: replaces the whole configuration.

use serde_json::{Value, json};

use super::{Request, registry};
use crate::wire::{Answer, Error, Input};
use crate::world::{ScanFrequency, ScanRule, ScanType, ScanningConfig};

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let input = request.input;
    let scan_type = match input.string("scanType")? {
        Some(word) => ScanType::parse(word)
            .ok_or_else(|| Error::parameter("scanType", "Member must satisfy enum value set: [BASIC, ENHANCED]"))?,
        None => request.world.scanning().scan_type,
    };
    let rules: Vec<ScanRule> =
        input.bounded_list("rules", 0..=2)?.unwrap_or_default().iter().map(rule).collect::<Result<_, _>>()?;
    if scan_type == ScanType::Basic && rules.iter().any(|rule| rule.frequency == ScanFrequency::Continuous) {
        return Err(Error::validation("The scan frequency CONTINUOUS_SCAN is not supported for scan type BASIC"));
    }
    if scan_type == ScanType::Enhanced && rules.iter().any(|rule| rule.frequency == ScanFrequency::Manual) {
        return Err(Error::validation("The scan frequency MANUAL is not supported for scan type ENHANCED"));
    }
    if let [first, second] = rules.as_slice()
        && first.frequency == second.frequency
    {
        return Err(Error::validation("Each rule must have a scan frequency of its own"));
    }
    request.world.set_scanning(ScanningConfig { scan_type, rules });
    Ok(json!({"registryScanningConfiguration": registry::scanning_as_json(request.world.scanning())}))
}

fn rule(given: &Value) -> Result<ScanRule, Error> {
    let given = Input::of(given).ok_or_else(|| Error::serialization("a rule is to be a structure"))?;
    let frequency = ScanFrequency::parse(given.required_string("scanFrequency")?).ok_or_else(|| {
        let set = "Member must satisfy enum value set: [SCAN_ON_PUSH, CONTINUOUS_SCAN, MANUAL]";
        Error::parameter("rules.scanFrequency", set)
    })?;
    let filters = given
        .bounded_list("repositoryFilters", 0..=100)?
        .ok_or_else(|| Error::parameter("rules.repositoryFilters", "must not be null"))?;
    Ok(ScanRule { frequency, filters: filters.iter().map(filter).collect::<Result<_, _>>()? })
}

fn filter(given: &Value) -> Result<String, Error> {
    let given = Input::of(given).ok_or_else(|| Error::serialization("a filter is to be a structure"))?;
    if given.required_string("filterType")? != "WILDCARD" {
        return Err(Error::parameter("filterType", "Member must satisfy enum value set: [WILDCARD]"));
    }
    let text = given.required_string("filter")?;
    if is_filter(text) {
        Ok(text.to_owned())
    } else {
        let pattern = r"must satisfy regular expression '^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$'";
        Err(Error::parameter("filter", pattern))
    }
}

/// `^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$`: separators stand alone, and never first or last.
fn is_filter(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '*';
    (1..=255).contains(&text.len())
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.split(plain).all(|separator| matches!(separator, "" | "." | "_" | "-" | "/"))
}
