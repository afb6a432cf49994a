//! Conversions: `parse_…` from the wire to the domain, `render_…` back. Requests are validated only here.

pub(crate) mod count;
pub(crate) mod decision;
mod decision_details;
pub(crate) mod evaluate_request;
pub(crate) mod finding;
pub(crate) mod image;
pub(crate) mod policy;
pub(crate) mod request_id;
pub(crate) mod revision;
pub(crate) mod scan;
pub(crate) mod scanning;
pub(crate) mod time;
pub(crate) mod waiver;
