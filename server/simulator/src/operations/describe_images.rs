//! `DescribeImages`: digests, tags, push times and media types. Like the current ECR, it omits scan status and summary.

use serde_json::{Value, json};

use super::{Request, require_image, require_repository, sparse_object};
use crate::clock::epoch_seconds;
use crate::wire::{Error, Input, OperationResult, Paging};
use crate::world::{Image, ImageStatus, Repository, World};

pub(super) fn handle(request: &mut Request<'_>) -> OperationResult {
    let (world, input) = (&*request.world, request.input);
    let ids = input.image_ids()?;
    let size = input.max_results(1..=1000, 100)?;
    let filter = Filter::from_input(input)?;
    let repository = require_repository(world, input)?;
    let Some(ids) = ids else {
        let images: Vec<&Image> = repository.images().filter(|image| filter.accepts(repository, image)).collect();
        let paging = Paging::from_input(input, repository.name(), size, request.paging_fault)?;
        let (range, next) = paging.page(images.len());
        let page = images.get(range).unwrap_or_default();
        let details: Vec<Value> = page.iter().map(|image| image_detail(world, repository, image)).collect();
        return Ok(sparse_object([("imageDetails", Some(details.into())), ("nextToken", next.map(Value::from))]));
    };
    if input.has("nextToken") || input.has("maxResults") {
        return Err(Error::invalid_parameter("nextToken and maxResults cannot be used when you specify imageIds"));
    }
    let mut details = Vec::new();
    for id in &ids {
        if id.reference().is_none() {
            return Err(Error::invalid_parameter("imageIds: both imageDigest and imageTag can't be null or empty"));
        }
        let image = require_image(world, repository, id)?;
        if !filter.accepts(repository, image) {
            return Err(Error::image_not_found(id, repository.name(), world.account()));
        }
        details.push(image_detail(world, repository, image));
    }
    Ok(json!({"imageDetails": details}))
}

/// The filter of a listing.
pub(super) struct Filter {
    tags: TagStatus,
    /// `None` accepts any status.
    status: Option<&'static str>,
}

enum TagStatus {
    Any,
    Tagged,
    Untagged,
}

impl Filter {
    /// Reads the request's filter. The default accepts active images only.
    pub(super) fn from_input(input: &Input) -> Result<Self, Error> {
        let filter = input.object("filter")?.unwrap_or_default();
        let tags = match filter.string("tagStatus")? {
            None | Some("ANY") => TagStatus::Any,
            Some("TAGGED") => TagStatus::Tagged,
            Some("UNTAGGED") => TagStatus::Untagged,
            Some(_) => return Err(invalid_enum("filter.tagStatus", "[TAGGED, UNTAGGED, ANY]")),
        };
        let status = match filter.string("imageStatus")? {
            None | Some("ACTIVE") => Some("ACTIVE"),
            Some("ARCHIVED") => Some("ARCHIVED"),
            Some("ACTIVATING") => Some("ACTIVATING"),
            Some("ANY") => None,
            Some(_) => return Err(invalid_enum("filter.imageStatus", "[ACTIVE, ARCHIVED, ACTIVATING, ANY]")),
        };
        Ok(Self { tags, status })
    }

    pub(super) fn accepts(&self, repository: &Repository, image: &Image) -> bool {
        let tagged = repository.tags_of(image.digest()).next().is_some();
        let tag_matches = match self.tags {
            TagStatus::Any => true,
            TagStatus::Tagged => tagged,
            TagStatus::Untagged => !tagged,
        };
        tag_matches && self.status.is_none_or(|status| image.status().as_str() == status)
    }
}

fn invalid_enum(member: &str, set: &str) -> Error {
    Error::parameter(member, &format!("Member must satisfy enum value set: {set}"))
}

fn image_detail(world: &World, repository: &Repository, image: &Image) -> Value {
    let tags: Vec<&str> = repository.tags_of(image.digest()).collect();
    sparse_object([
        ("registryId", Some(json!(world.account()))),
        ("repositoryName", Some(json!(repository.name()))),
        ("imageDigest", Some(json!(image.digest()))),
        ("imageTags", (!tags.is_empty()).then(|| json!(tags))),
        ("imageSizeInBytes", Some(json!(image_size(repository, image)))),
        ("imagePushedAt", Some(epoch_seconds(image.push_time()))),
        ("imageManifestMediaType", Some(json!(image.media_type()))),
        ("artifactMediaType", image.manifest.artifact_media_type.as_ref().map(|kind| json!(kind))),
        ("subjectManifestDigest", image.manifest.subject.as_ref().map(|digest| json!(digest))),
        ("lastRecordedPullTime", image.pull_time().map(epoch_seconds)),
        ("imageStatus", Some(json!(image.status().as_str()))),
        ("lastArchivedAt", image.archive_time.filter(|_| image.status() == ImageStatus::Archived).map(epoch_seconds)),
        ("lastActivatedAt", image.activate_time.map(epoch_seconds)),
    ])
}

/// The sum of the layers in bytes; for an index the size of its largest child.
fn image_size(repository: &Repository, image: &Image) -> u64 {
    let children = image.manifest.children.iter().filter_map(|digest| repository.image(digest));
    children.map(|child| child.manifest.size).fold(image.manifest.size, u64::max)
}
