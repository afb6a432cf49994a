//! The decision core of scan-gate: `(image, scans, policies, environment, now) → decision`.
//!
//! Pure: no I/O, no clock, no global state. Time is an argument; the same input gives the same decision in every process.
//! Read [`fn@decide`] first: it is the product. [`evidence`] says when a scan proves anything at all, [`rule`] and
//! [`expression`] which findings count, [`policy`] who is governed by what.

pub mod decide;
pub mod decision;
pub mod evidence;
pub mod expression;
pub mod finding;
pub mod first_seen;
pub mod glob;
pub mod image;
pub mod name;
pub mod policy;
mod reasons;
pub mod registry;
pub(crate) mod remediation;
pub mod rule;
pub mod scan;
pub mod severity;
mod text;
pub mod unknown;
pub mod waiver;

pub use decide::decide;
pub use decision::{Decision, Verdict};
