//! `ListImages`: one row per tag, and one for each image without any.

use serde_json::{Value, json};

use super::describe_images::Filter;
use super::{Request, object, repository};
use crate::wire::{Answer, Paging};

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let input = request.input;
    let size = input.max_results(1..=1000, 100)?;
    let filter = Filter::read(input)?;
    let repository = repository(request.world, input)?;
    let mut rows: Vec<Value> = Vec::new();
    for image in repository.images().filter(|image| filter.accepts(repository, image)) {
        let digest = image.digest();
        let before = rows.len();
        rows.extend(repository.tags_of(digest).map(|tag| json!({"imageDigest": digest, "imageTag": tag})));
        if rows.len() == before {
            rows.push(json!({"imageDigest": digest}));
        }
    }
    let (range, next) = Paging::read(input, repository.name(), size, request.twist)?.of(rows.len());
    let page = rows.get(range).unwrap_or_default();
    Ok(object([("imageIds", Some(json!(page))), ("nextToken", next.map(Value::from))]))
}
