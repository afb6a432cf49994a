//! What a reading weighs in memory, by estimate: each record by its size, each distinct text once with its header, and a
//! fixed share for the cache's own record of the entry. Allocators round up, so the process takes some more.

use std::{collections::HashSet, sync::Arc};

use scangate_core::{
    finding::{Finding, Package},
    image::Platform,
    scan::{Manifest, Scan},
    severity::Rating,
};

use crate::registry::Resolved;

/// The entry: its key, the record around it and the cache's bookkeeping.
const ENTRY: usize = 1024;
/// An allocation's header and rounding, with the two counters of an `Arc`.
const ALLOCATION: usize = 32;

/// What a scan weighs.
pub(super) fn of_scan(scan: &Scan) -> u32 {
    let mut seen = HashSet::new();
    let texts: usize = scan.findings().iter().flat_map(texts).filter_map(|text| first(&mut seen, text)).sum();
    in_bytes(ENTRY + size_of_val(scan) + size_of_val(scan.findings()) + texts)
}

/// What a resolution weighs.
pub(super) fn of_resolved(resolved: &Resolved) -> u32 {
    let manifest = |manifest: &Manifest| {
        let platform = manifest.platform.as_ref().map_or(0, |_| size_of::<Platform>() + 3 * ALLOCATION);
        size_of::<Manifest>() + manifest.digest.as_str().len() + ALLOCATION + platform
    };
    in_bytes(ENTRY + resolved.manifests.iter().map(manifest).sum::<usize>())
}

fn texts(finding: &Finding) -> impl Iterator<Item = &Arc<str>> {
    let Package { name, version, manager, path, fixed_in } = &finding.package;
    let rating = match &finding.severity {
        Rating::Rated(_) => None,
        Rating::Unrated(label) => Some(label),
    };
    let always = [&finding.id, name, version];
    let maybe = [
        manager.as_ref(),
        path.as_ref(),
        fixed_in.as_ref(),
        rating,
        finding.title.as_ref(),
        finding.description.as_ref(),
        finding.uri.as_ref(),
        finding.arn.as_ref(),
    ];
    always.into_iter().chain(maybe.into_iter().flatten())
}

/// The text's bytes, where it is met for the first time.
fn first(seen: &mut HashSet<*const u8>, text: &Arc<str>) -> Option<usize> {
    seen.insert(text.as_ptr()).then(|| text.len() + ALLOCATION)
}

fn in_bytes(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
