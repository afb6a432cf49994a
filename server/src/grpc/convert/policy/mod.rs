//! Conversions of policies and etags.

mod parse;
mod render;
#[cfg(test)]
mod tests;

pub(crate) use self::{parse::*, render::*};
