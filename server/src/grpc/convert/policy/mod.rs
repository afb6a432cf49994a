//! Policies: requests into the domain, and back.

mod parse;
mod render;
#[cfg(test)]
mod tests;

pub(crate) use self::{parse::*, render::*};
