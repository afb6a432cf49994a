//! `ListImages`: one row for each tag, and one for each image without a tag.

use serde_json::{Value, json};

use super::describe_images::Filter;
use super::{Request, require_repository, sparse_object};
use crate::wire::{OperationResult, Paging};

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let input = request.input;
    let size = input.max_results(1..=1000, 100)?;
    let filter = Filter::from_input(input)?;
    let repository = require_repository(request.world, input)?;
    let mut rows: Vec<Value> = Vec::new();
    for image in repository.images().filter(|image| filter.accepts(repository, image)) {
        let digest = image.digest();
        let rows_before = rows.len();
        rows.extend(repository.tags_of(digest).map(|tag| json!({"imageDigest": digest, "imageTag": tag})));
        if rows.len() == rows_before {
            rows.push(json!({"imageDigest": digest}));
        }
    }
    let (range, next) = Paging::from_input(input, repository.name(), size, request.paging_fault)?.page(rows.len());
    let page = rows.get(range).unwrap_or_default();
    Ok(sparse_object([("imageIds", Some(json!(page))), ("nextToken", next.map(Value::from))]))
}
