//! `DescribeImages`: tag to digest, push time, media types. Scan status and summary are absent, as with today's ECR.

use serde_json::{Value, json};

use super::{Request, image, object, repository};
use crate::clock::epoch;
use crate::wire::{Answer, Error, Input, Paging};
use crate::world::{Image, ImageStatus, Repository, World};

pub(super) fn answer(request: &mut Request<'_>) -> Answer {
    let (world, input) = (&*request.world, request.input);
    let ids = input.image_ids()?;
    let size = input.max_results(1..=1000, 100)?;
    let filter = Filter::read(input)?;
    let repository = repository(world, input)?;
    let Some(ids) = ids else {
        let images: Vec<&Image> = repository.images().filter(|image| filter.accepts(repository, image)).collect();
        let paging = Paging::read(input, repository.name(), size, request.twist)?;
        let (range, next) = paging.of(images.len());
        let page = images.get(range).unwrap_or_default();
        let details: Vec<Value> = page.iter().map(|image| detail(world, repository, image)).collect();
        return Ok(object([("imageDetails", Some(details.into())), ("nextToken", next.map(Value::from))]));
    };
    if input.has("nextToken") || input.has("maxResults") {
        return Err(Error::invalid_parameter("nextToken and maxResults cannot be used when you specify imageIds"));
    }
    let mut details = Vec::new();
    for id in &ids {
        if id.reference().is_none() {
            return Err(Error::invalid_parameter("imageIds: both imageDigest and imageTag can't be null or empty"));
        }
        let image = image(world, repository, id)?;
        if !filter.accepts(repository, image) {
            return Err(Error::image_not_found(id, repository.name(), world.account()));
        }
        details.push(detail(world, repository, image));
    }
    Ok(json!({"imageDetails": details}))
}

/// Which images a listing shows.
pub(super) struct Filter {
    tags: TagStatus,
    /// `None` is any.
    status: Option<&'static str>,
}

enum TagStatus {
    Any,
    Tagged,
    Untagged,
}

impl Filter {
    /// Active images only, unless the request says otherwise.
    pub(super) fn read(input: &Input) -> Result<Self, Error> {
        let given = input.object("filter")?.unwrap_or_default();
        let tags = match given.string("tagStatus")? {
            None | Some("ANY") => TagStatus::Any,
            Some("TAGGED") => TagStatus::Tagged,
            Some("UNTAGGED") => TagStatus::Untagged,
            Some(_) => return Err(not_in("filter.tagStatus", "[TAGGED, UNTAGGED, ANY]")),
        };
        let status = match given.string("imageStatus")? {
            None | Some("ACTIVE") => Some("ACTIVE"),
            Some("ARCHIVED") => Some("ARCHIVED"),
            Some("ACTIVATING") => Some("ACTIVATING"),
            Some("ANY") => None,
            Some(_) => return Err(not_in("filter.imageStatus", "[ACTIVE, ARCHIVED, ACTIVATING, ANY]")),
        };
        Ok(Self { tags, status })
    }

    pub(super) fn accepts(&self, repository: &Repository, image: &Image) -> bool {
        let tagged = repository.tags_of(image.digest()).next().is_some();
        let by_tag = match self.tags {
            TagStatus::Any => true,
            TagStatus::Tagged => tagged,
            TagStatus::Untagged => !tagged,
        };
        by_tag && self.status.is_none_or(|status| image.status().as_str() == status)
    }
}

fn not_in(member: &str, set: &str) -> Error {
    Error::parameter(member, &format!("Member must satisfy enum value set: {set}"))
}

fn detail(world: &World, repository: &Repository, image: &Image) -> Value {
    let tags: Vec<&str> = repository.tags_of(image.digest()).collect();
    object([
        ("registryId", Some(json!(world.account()))),
        ("repositoryName", Some(json!(repository.name()))),
        ("imageDigest", Some(json!(image.digest()))),
        ("imageTags", (!tags.is_empty()).then(|| json!(tags))),
        ("imageSizeInBytes", Some(json!(size(repository, image)))),
        ("imagePushedAt", Some(epoch(image.pushed_at()))),
        ("imageManifestMediaType", Some(json!(image.media_type()))),
        ("artifactMediaType", image.manifest.artifact_media_type.as_ref().map(|kind| json!(kind))),
        ("subjectManifestDigest", image.manifest.subject.as_ref().map(|digest| json!(digest))),
        ("lastRecordedPullTime", image.pulled_at().map(epoch)),
        ("imageStatus", Some(json!(image.status().as_str()))),
        ("lastArchivedAt", image.archived_at.filter(|_| image.status() == ImageStatus::Archived).map(epoch)),
        ("lastActivatedAt", image.activated_at.map(epoch)),
    ])
}

/// The layers' sum; of an index its largest child.
fn size(repository: &Repository, image: &Image) -> u64 {
    let children = image.manifest.children.iter().filter_map(|digest| repository.image(digest));
    children.map(|child| child.manifest.size).fold(image.manifest.size, u64::max)
}
