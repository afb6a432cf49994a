//! What both protocols share: the errors, the reading of parameters, and pages.

mod error;
mod input;
mod page;

pub(crate) use error::Error;
pub(crate) use input::{ImageId, Input};
pub(crate) use page::{Paging, Twist};

/// What an operation answers: a body, or an error by its wire code.
pub(crate) type Answer = Result<serde_json::Value, Error>;
