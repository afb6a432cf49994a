//! The parts that both protocols share: errors, request parameters and paging.

mod error;
mod input;
mod paging;

pub(crate) use error::Error;
pub(crate) use input::{ImageId, Input};
pub(crate) use paging::{Paging, PagingFault};

/// The result of an operation: a response body, or an error with its wire code.
pub(crate) type OperationResult = Result<serde_json::Value, Error>;
