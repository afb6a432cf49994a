//! The decision core of scan-gate: `(image, scans, policies, environment, now) → decision`.
//!
//! The core is pure: no I/O, no clock, no global state. Time is an argument, and equal inputs give equal decisions in
//! every process. Begin with [`fn@decide`], the entry point. [`evidence`] defines a proven scan, [`rule`] and
//! [`expression`] select the findings that count, and [`policy`] defines the scope of the rules.

mod cause;
pub mod decide;
pub mod decision;
pub mod evidence;
pub mod expression;
pub mod finding;
pub mod first_seen;
pub mod glob;
pub mod image;
pub mod name;
pub mod package_name;
pub mod policy;
mod reasons;
pub mod registry;
pub(crate) mod remediation;
pub mod rule;
pub mod scan;
pub mod severity;
mod stored;
mod text;
pub mod unknown;
pub mod vulnerability_id;
pub mod waiver;

pub use decide::decide;
pub use decision::{Decision, Verdict};
