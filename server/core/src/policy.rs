//! Policies: named sets of rules, their scope, and their requirements on a scan.

mod definition;
mod loosening;
mod requirements;
mod scope;
mod set;

pub use self::{
    definition::{Mode, Policy},
    requirements::{Action, ScanRequirements},
    scope::Match,
    set::{PolicySet, Revision},
};
