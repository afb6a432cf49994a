//! Conversions of policies, etags and revision tokens.

mod parse;
mod render;
#[cfg(test)]
mod tests;

pub(crate) use self::{parse::*, render::*};
