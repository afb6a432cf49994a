//! The configuration of a server: flags and environment variables, and a file of tables.
//!
//! [`Config`] has the flags. The file that `--config` names has what flags cannot say: issuers of tokens, roles and grants. Both
//! together give the [`Security`] of the server, which can be read again while it runs.

pub mod check;
pub mod file;
mod flags;
mod grants;
mod invalid;
mod issuers;
mod security;

pub use self::{
    flags::Config,
    invalid::{Invalid, Problem},
    security::Security,
};
