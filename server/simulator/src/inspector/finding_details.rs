//! `BatchGetFindingDetails`: facts about a vulnerability beyond the finding, above all its entry in CISA's catalogue.

use serde_json::{Value, json};

use super::findings::for_each_finding;
use crate::operations::Request;
use crate::wire::{Error, Input, OperationResult};
use crate::world::World;

const MEMBER: &str = "findingArns";

pub(crate) fn handle(request: &mut Request<'_>) -> OperationResult {
    let world = &*request.world;
    let arns = request.input.strings(MEMBER, 1..=10)?.ok_or_else(|| Error::parameter(MEMBER, "must not be null"))?;
    if let Some(arn) = arns.iter().find(|arn| !is_finding_arn(arn)) {
        return Err(Error::validation(format!(
            "Value '{arn}' at '{MEMBER}' failed to satisfy constraint: Member must satisfy regular expression pattern: \
             arn:(aws[a-zA-Z-]*)?:inspector2:[a-z]{{2}}(-gov)?-[a-z]+-\\d{{1}}:\\d{{12}}:finding/[a-f0-9]{{32}}"
        )));
    }
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for arn in arns {
        match find_details(world, arn) {
            Ok(details) => found.push(details),
            Err((code, message)) => {
                errors.push(json!({"findingArn": arn, "errorCode": code, "errorMessage": message}));
            }
        }
    }
    Ok(json!({"findingDetails": found, "errors": errors}))
}

/// The details of a finding, or the code and message of its error.
fn find_details(world: &World, arn: &str) -> Result<Value, (&'static str, &'static str)> {
    if arn.split(':').nth(4) != Some(world.account()) {
        return Err(("ACCESS_DENIED", "The finding belongs to another account."));
    }
    let mut details = None;
    for_each_finding(world, |found| {
        if details.is_none() && has_arn(&found.to_ecr_json(world), arn) {
            details = found.finding.to_details(arn);
        }
    });
    details.ok_or(("FINDING_DETAILS_NOT_FOUND", "No details are available for the finding."))
}

/// The repository name and image digest of the first requested finding; for the call log and for faults.
pub(crate) fn find_target(world: &World, input: &Input) -> Option<(String, String)> {
    let arn = input.list(MEMBER).ok()??.first()?.as_str()?;
    let mut target = None;
    for_each_finding(world, |found| {
        if target.is_none() && has_arn(&found.to_ecr_json(world), arn) {
            target = Some((found.repository.name().to_owned(), found.image.digest().to_owned()));
        }
    });
    target
}

fn has_arn(finding: &Value, arn: &str) -> bool {
    finding.get("findingArn").and_then(Value::as_str) == Some(arn)
}

/// Returns true if the text matches the model's pattern for a finding's ARN.
fn is_finding_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let [prefix, partition, service, region, account, finding] = parts.as_slice() else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    *prefix == "arn"
        && (partition.is_empty() || partition.starts_with("aws"))
        && *service == "inspector2"
        && region.rsplit('-').next().is_some_and(|number| number.len() == 1 && digits(number))
        && account.len() == 12
        && digits(account)
        && finding.strip_prefix("finding/").is_some_and(|id| id.len() == 32 && hex(id))
}
