//! Descriptions of an index's children, of which ECR may not know all.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use aws_sdk_ecr::types::ImageIdentifier;
use moka::sync::Cache;
use scangate_core::image::{Digest, Repository};

use super::ImageResolver;
use crate::registry::{
    Error, Freshness,
    ecr::{
        describe_images::{ArchiveFilter, ImageDescription, describe},
        manifest::{Child, MAX_CHILDREN},
        retry::Deadline,
    },
};

/// The parts that a request is split into if one of its children is unknown. With one request at a time, an index of
/// [`MAX_CHILDREN`] unknown children takes 1 + 8 + 64 requests.
const PARTS: usize = 8;
/// The time for which a missing child stays missing without another request.
const MISSING_TTL: Duration = Duration::from_secs(10);
/// The maximum of remembered missing children.
const MAX_MISSING: u64 = 256 * MAX_CHILDREN as u64;

/// A cache of children that ECR does not know, each with the instant before the request. An index of some platforms only
/// would otherwise cost many requests for each resolution.
#[derive(Clone, Debug)]
pub(in super::super) struct MissingChildren(Cache<(Repository, Digest), Instant>);

impl MissingChildren {
    pub(in super::super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_MISSING).time_to_live(MISSING_TTL).build())
    }

    fn contains(&self, key: &(Repository, Digest), freshness: Freshness) -> bool {
        self.0.get(key).is_some_and(|began| freshness.admits(began))
    }
}

impl ImageResolver<'_> {
    /// Describes children. If one is missing, archived images are searched, too; then each is described by itself.
    pub(super) async fn describe_children(
        &self,
        children: &[&Child],
        deadline: Deadline,
    ) -> Result<Vec<ImageDescription>, Error> {
        let mut seen = HashSet::new();
        let digests = children.iter().map(|child| &child.digest).filter(|digest| seen.insert(*digest));
        let is_missing = |digest: &Digest| self.missing.contains(&self.key(digest), self.freshness);
        let digests: Vec<&Digest> = digests.filter(|digest| !is_missing(digest)).collect();
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        match self.describe_digests(&digests, ArchiveFilter::Active, deadline).await {
            Ok(known) if known.len() >= digests.len() => return Ok(known),
            Ok(_) | Err(Error::ImageNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.describe_known(&digests, ArchiveFilter::All, deadline).await {
            // AWS may refuse the filter.
            Err(Error::Rejected { .. }) => self.describe_known(&digests, ArchiveFilter::Active, deadline).await,
            known => known,
        }
    }

    /// Describes the children that ECR knows. One unknown child fails a whole request, so parts are asked for then, one
    /// after the other.
    async fn describe_known(
        &self,
        digests: &[&Digest],
        filter: ArchiveFilter,
        deadline: Deadline,
    ) -> Result<Vec<ImageDescription>, Error> {
        let mut known = Vec::new();
        let mut parts = vec![digests];
        while let Some(part) = parts.pop() {
            let began = Instant::now();
            match (self.describe_digests(part, filter, deadline).await, part) {
                (Err(Error::ImageNotFound { .. }), [missing]) => self.missing.0.insert(self.key(missing), began),
                (Err(Error::ImageNotFound { .. }), part) => {
                    parts.extend(part.chunks(part.len().div_ceil(PARTS).max(1)));
                }
                (described, _) => known.extend(described?),
            }
        }
        Ok(known)
    }

    async fn describe_digests(
        &self,
        digests: &[&Digest],
        filter: ArchiveFilter,
        deadline: Deadline,
    ) -> Result<Vec<ImageDescription>, Error> {
        let id = |digest: &&Digest| ImageIdentifier::builder().image_digest(digest.as_str()).build();
        let ids: Vec<_> = digests.iter().map(id).collect();
        describe(self.client, &self.repository, &ids, filter, "a manifest of the index", deadline).await
    }
}
