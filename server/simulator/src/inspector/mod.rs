//! The operations of Amazon Inspector that return more facts about an ECR image than ECR does.

mod configuration;
mod coverage;
mod filter;
mod finding_details;
mod findings;

pub(crate) use configuration::handle as get_configuration;
pub(crate) use coverage::handle as list_coverage;
pub(crate) use finding_details::{find_target, handle as batch_get_finding_details};
pub(crate) use findings::handle as list_findings;
