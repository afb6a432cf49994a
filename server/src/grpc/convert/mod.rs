//! Between the wire and the domain. What comes in is validated here and nowhere else.

pub(crate) mod answer;
pub(crate) mod finding;
pub(crate) mod image;
pub(crate) mod policy;
pub(crate) mod policy_out;
pub(crate) mod question;
pub(crate) mod scan;
pub(crate) mod scanning;
pub(crate) mod time;
pub(crate) mod waiver;
