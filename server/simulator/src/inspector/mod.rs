//! The two operations of Amazon Inspector that tell more about an ECR image than ECR does.

mod coverage;
mod filter;
mod findings;

pub(crate) use coverage::answer as list_coverage;
pub(crate) use findings::answer as list_findings;
