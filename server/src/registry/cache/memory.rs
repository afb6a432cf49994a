//! Estimates of memory: each value with its allocation, plus a fixed overhead for each cache entry. The caches weigh their
//! entries by them. Allocators round up, so the process uses somewhat more.

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

/// Returns the size of a scan with encoded findings.
pub(super) fn size_of_scan(outline: &Scan, findings: Option<&[u8]>) -> u32 {
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
    let findings = findings.map_or(0, size_of_allocation);
    let counts = counts.map(size_of_counts).sum::<usize>();
    in_bytes(ENTRY + frames + findings + counts + coverage + enrichment + flaws + texts)
}

/// Returns the size of a value in an allocation of its own.
fn size_of_allocation<T: ?Sized>(value: &T) -> usize {
    size_of_val(value) + ALLOCATION
}

/// Returns the size of a resolution, and of a key with this number of platforms.
pub(super) fn size_of_resolved(resolved: &Resolved, requested: usize) -> u32 {
    let manifest = |manifest: &Manifest| {
        let platform = manifest.platform.as_ref().map_or(0, |_| Platform::ESTIMATED_BYTES);
        let unreadable = manifest.unreadable.as_deref().map_or(0, size_of_allocation);
        size_of::<Manifest>() + manifest.digest.as_str().len() + ALLOCATION + platform + unreadable
    };
    let manifests = resolved.manifests.iter().map(manifest).sum::<usize>();
    // The index's platforms, and the key in the cache and in its queues.
    in_bytes(ENTRY + manifests + Platform::ESTIMATED_BYTES * (resolved.platforms.len() + 2 * requested))
}

fn size_of_counts(counts: &Counts) -> usize {
    COUNTS + counts.keys().map(|label| size_of_allocation(&**label)).sum::<usize>()
}

fn in_bytes(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use scangate_core::image::Image;
    use serde_json::json;

    use super::*;

    #[test]
    fn requested_platforms_count() {
        let image: Image = serde_json::from_value(json!({
            "registry": "123456789012/eu-west-1", "host": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "repository": "team/app", "tag": "1", "digest": format!("sha256:{:064x}", 1), "push_time": null,
        }))
        .unwrap();
        let plain = Resolved { image, manifests: Vec::new(), platforms: Vec::new(), is_complete: true };

        let without = size_of_resolved(&plain, 0);

        assert!(size_of_resolved(&plain, 64) >= without + in_bytes(64 * Platform::ESTIMATED_BYTES));
    }
}
