//! The findings of one scan type, collected from all pages.

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
    pub(super) fn merge(mut self, other: Option<Self>) -> Self {
        if let Some(other) = other {
            self.findings.extend(other.findings);
            self.usage = self.usage.max(other.usage);
            for (label, count) in other.enumerated {
                *self.enumerated.entry(label).or_default() += count;
            }
        }
        self
    }
}
