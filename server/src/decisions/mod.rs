//! What was decided, kept for whoever asks later.

mod blob;
mod case;

pub use self::{
    blob::{Blob, Hash, NoHash},
    case::{Case, Damage, Inputs, Outcome},
};
