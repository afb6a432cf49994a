//! Expressions: refusals, semantics, limits, the examples of the manual, and properties.

#![expect(clippy::unwrap_used, reason = "a case that cannot be read must fail")]

mod fixtures;
mod limits;
mod manual;
mod properties;
mod refusals;
mod semantics;
mod syntax;
