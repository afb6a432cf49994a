//! Between the wire and the domain. What comes in is validated here and nowhere else.

pub(crate) mod decision;
pub(crate) mod evaluate_request;
pub(crate) mod finding;
pub(crate) mod image;
pub(crate) mod policy;
pub(crate) mod scan;
pub(crate) mod scanning;
pub(crate) mod time;
pub(crate) mod waiver;
