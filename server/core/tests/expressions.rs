//! Expressions: what is refused and why, what the rest means, and laws that hold for all of them.

#![expect(clippy::unwrap_used, reason = "a case that cannot be read must fail")]

#[path = "expressions/bounds.rs"]
mod bounds;
#[path = "expressions/given.rs"]
mod given;
#[path = "expressions/laws.rs"]
mod laws;
#[path = "expressions/manual.rs"]
mod manual;
#[path = "expressions/refusals.rs"]
mod refusals;
#[path = "expressions/semantics.rs"]
mod semantics;
