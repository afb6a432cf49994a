//! The scan-gate server: the gate over Amazon ECR, wired together.

pub mod registry;
pub mod store;
