//! Waivers: exceptions to findings, each with a scope, a reason and an end.

mod cover;
mod definition;
mod scope;
mod set;
mod widening;

use jiff::SignedDuration;

pub use self::{
    cover::{Cover, Covering},
    definition::{Approval, Conditions, Revocation, State, Waiver},
    scope::{Scope, Subject},
    set::{ApplicableWaivers, Revision, WaiverSet},
};

/// The term of a waiver without an explicit end.
pub const DEFAULT_TERM: SignedDuration = SignedDuration::from_hours(30 * 24);
