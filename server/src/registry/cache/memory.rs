//! Estimates of memory: each value with its allocation, plus a fixed overhead for each cache entry. Allocators round
//! up, so the process uses somewhat more.

use scangate_core::{
    image::Platform,
    scan::{Counts, Coverage, Enrichment, Flaw, Manifest, Scan},
};

use crate::registry::Resolved;

/// An entry: its key, its record and the cache's bookkeeping.
const ENTRY: usize = 1024;
/// An allocation's header and rounding, with the two counters of an `Arc`.
const ALLOCATION: usize = 32;
/// A map of counts without its labels: usually one node.
const COUNTS: usize = 256;

/// Returns the size of a scan without the values that its findings share with other scans.
pub(super) fn size_of_scan(outline: &Scan, findings: Option<&[u8]>) -> usize {
    let counts = outline.report.iter().flat_map(|report| report.counts.iter().chain([&report.enumerated]));
    let coverage = outline.coverage.as_ref().map_or(0, |Coverage { reason, .. }| size_of_allocation(reason.as_str()));
    let enrichment = match &outline.enrichment {
        Enrichment::NotAsked | Enrichment::Complete => 0,
        Enrichment::Partial(why) | Enrichment::Missing(why) => size_of_allocation(why.as_str()),
    };
    let flaw = |flaw: &Flaw| match flaw {
        Flaw::Mismatch(what) | Flaw::Malformed(what) | Flaw::Incomplete(what) => {
            size_of_val(flaw) + size_of_allocation(what.as_str())
        }
    };
    let flaws: usize = outline.flaws.iter().map(flaw).sum();
    let texts = size_of_allocation(outline.description.as_deref().unwrap_or_default())
        + size_of_allocation(outline.status.label());
    // A decoded scan leaves its `Arc` allocation behind while a `Weak` points to it.
    let frames = 2 * size_of_val(outline);
    ENTRY
        + frames
        + findings.map_or(0, size_of_allocation)
        + counts.map(size_of_counts).sum::<usize>()
        + coverage
        + enrichment
        + flaws
        + texts
}

/// Returns the size of a value in an allocation of its own.
pub(super) fn size_of_allocation<T: ?Sized>(value: &T) -> usize {
    size_of_val(value) + ALLOCATION
}

/// The size of a platform with its texts.
const PLATFORM: usize = size_of::<Platform>() + 4 * ALLOCATION;

/// Returns the size of a resolution.
pub(super) fn size_of_resolved(resolved: &Resolved) -> u32 {
    let manifest = |manifest: &Manifest| {
        let platform = manifest.platform.as_ref().map_or(0, |_| PLATFORM);
        let unreadable = manifest.unreadable.as_deref().map_or(0, size_of_allocation);
        size_of::<Manifest>() + manifest.digest.as_str().len() + ALLOCATION + platform + unreadable
    };
    let manifests = resolved.manifests.iter().map(manifest).sum::<usize>();
    // A key requests at most as many platforms as a request may name; an index states as many again.
    in_bytes(ENTRY + manifests + 2 * PLATFORM * resolved.platforms.len())
}

fn size_of_counts(counts: &Counts) -> usize {
    COUNTS + counts.keys().map(|label| size_of_allocation(&**label)).sum::<usize>()
}

fn in_bytes(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
