//! The wire form of an enhanced finding of one image: the finding with account, ARN, times and the image itself.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock::epoch_seconds;
use crate::findings::EnhancedFinding;
use crate::world::manifest::digest;
use crate::world::{Image, Repository, World};

/// Returns the finding's own members, and adds only those that are missing.
pub(crate) fn to_json(
    finding: &EnhancedFinding,
    world: &World,
    repository: &Repository,
    image: &Image,
    at: Timestamp,
) -> Value {
    let mut body = finding.body().clone();
    let Some(members) = body.as_object_mut() else { return body };
    let mut fill = |name: &str, value: &dyn Fn() -> Value| {
        if !members.contains_key(name) {
            members.insert(name.to_owned(), value());
        }
    };
    fill("awsAccountId", &|| json!(world.account()));
    fill("findingArn", &|| json!(arn(finding, world, image)));
    for time in ["firstObservedAt", "lastObservedAt", "updatedAt"] {
        fill(time, &|| epoch_seconds(at));
    }
    fill("resources", &|| json!([resource(finding, world, repository, image)]));
    body
}

fn arn(finding: &EnhancedFinding, world: &World, image: &Image) -> String {
    // A hash makes the ARN stable: the same finding in the same image always has the same one.
    let hash = digest(&format!("{} {}", image.digest(), finding.body()));
    let short: String = hash.chars().skip("sha256:".len()).take(32).collect();
    format!("arn:aws:inspector2:{}:{}:finding/{short}", world.region(), world.account())
}

fn resource(finding: &EnhancedFinding, world: &World, repository: &Repository, image: &Image) -> Value {
    let tags: Vec<&str> = repository.tags_of(image.digest()).collect();
    let mut resource = json!({
        "id": format!("{}/{}", world.repository_arn(repository.name()), image.digest()),
        "type": "AWS_ECR_CONTAINER_IMAGE",
        "tags": {},
        "details": {"awsEcrContainerImage": {
            "architecture": image.architecture, "imageHash": image.digest(), "imageTags": tags,
            "platform": finding.os_name(), "pushedAt": epoch_seconds(image.push_time()), "registry": world.account(),
            "repositoryName": repository.name(),
        }},
    });
    add_use(&mut resource, "/details/awsEcrContainerImage", image);
    resource
}

/// Adds the use of an image to the object at a JSON pointer.
pub(crate) fn add_use(body: &mut Value, pointer: &str, image: &Image) {
    if let (Some((count, last_at)), Some(members)) =
        (image.in_use, body.pointer_mut(pointer).and_then(Value::as_object_mut))
    {
        members.insert("inUseCount".into(), json!(count));
        members.insert("lastInUseAt".into(), epoch_seconds(last_at));
    }
}
