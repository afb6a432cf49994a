//! Conversions of policies and etags.

mod parse;
mod reference;
mod render;
#[cfg(test)]
mod tests;

pub(crate) use self::{parse::*, reference::*, render::*};
