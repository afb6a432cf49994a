//! The three operations of Amazon Inspector that tell more about an ECR image than ECR does.

mod coverage;
mod details;
mod filter;
mod findings;

pub(crate) use coverage::answer as list_coverage;
pub(crate) use details::{answer as batch_get_finding_details, subject};
pub(crate) use findings::answer as list_findings;
