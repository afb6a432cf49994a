//! The findings of one scan type, collected from all pages.

use std::sync::Arc;

use scangate_core::{
    finding::Finding,
    scan::{Counts, Usage},
};

/// The findings of one scan type.
#[derive(Debug, Default)]
pub(super) struct FindingList {
    /// The converted findings: one for each vulnerable package.
    pub(super) findings: Vec<Finding>,
    /// The number of ECR's records by severity: ECR counts records, not packages.
    pub(super) enumerated: Counts,
    /// The use of the image, which every enhanced finding repeats.
    pub(super) usage: Usage,
}

impl FindingList {
    /// Adds the findings and counts of another list.
    pub(super) fn append(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.usage = self.usage.max(other.usage);
        add_counts(&mut self.enumerated, &other.enumerated);
    }

    /// Adds the findings and counts of another list, if there is one.
    pub(super) fn merge(mut self, other: Option<Self>) -> Self {
        if let Some(other) = other {
            self.append(other);
        }
        self
    }
}

/// Adds counts by severity.
pub(super) fn add_counts(total: &mut Counts, counts: &Counts) {
    for (label, count) in counts {
        *total.entry(Arc::clone(label)).or_default() += count;
    }
}
