//! `PutRegistryScanningConfiguration`: replaces the whole configuration.

use serde_json::{Value, json};

use super::{Request, registry};
use crate::wire::{Error, Input, OperationResult};
use crate::world::{ScanFrequency, ScanRule, ScanType, ScanningConfig};

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    registry::require_scanning_rules(request)?;
    let input = request.input;
    let scan_type = match input.string("scanType")? {
        Some(word) => ScanType::parse(word)
            .ok_or_else(|| Error::parameter("scanType", "Member must satisfy enum value set: [BASIC, ENHANCED]"))?,
        None => request.world.scanning().scan_type,
    };
    let rules: Vec<ScanRule> =
        input.bounded_list("rules", 0..=2)?.unwrap_or_default().iter().map(parse_rule).collect::<Result<_, _>>()?;
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
    Ok(json!({"registryScanningConfiguration": registry::scanning_to_json(request.world.scanning())}))
}

fn parse_rule(value: &Value) -> Result<ScanRule, Error> {
    let rule = Input::from_value(value).ok_or_else(|| Error::serialization("a rule is to be a structure"))?;
    let frequency = ScanFrequency::parse(rule.required_string("scanFrequency")?).ok_or_else(|| {
        let set = "Member must satisfy enum value set: [SCAN_ON_PUSH, CONTINUOUS_SCAN, MANUAL]";
        Error::parameter("rules.scanFrequency", set)
    })?;
    let filters = rule
        .bounded_list("repositoryFilters", 0..=100)?
        .ok_or_else(|| Error::parameter("rules.repositoryFilters", "must not be null"))?;
    Ok(ScanRule { frequency, filters: filters.iter().map(parse_filter).collect::<Result<_, _>>()? })
}

fn parse_filter(value: &Value) -> Result<String, Error> {
    let filter = Input::from_value(value).ok_or_else(|| Error::serialization("a filter is to be a structure"))?;
    if filter.required_string("filterType")? != "WILDCARD" {
        return Err(Error::parameter("filterType", "Member must satisfy enum value set: [WILDCARD]"));
    }
    let text = filter.required_string("filter")?;
    if is_valid_filter(text) {
        Ok(text.to_owned())
    } else {
        let pattern = r"must satisfy regular expression '^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$'";
        Err(Error::parameter("filter", pattern))
    }
}

/// Matches `^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$`: no two separators in sequence, none at the start or end.
fn is_valid_filter(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '*';
    (1..=255).contains(&text.len())
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.split(plain).all(|separator| matches!(separator, "" | "." | "_" | "-" | "/"))
}
