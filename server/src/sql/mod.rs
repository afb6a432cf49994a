//! Database plumbing that the SQL adapters of the ports share: connections, transactions, errors and statements over many rows.
//!
//! The database is SQLite, in a file that one server owns, or PostgreSQL, which several servers share.

mod address;
mod database;
mod error;
mod json_rows;
mod postgres;
mod sqlite;

pub use self::{
    address::Address,
    database::Database,
    error::{Error, OpenError},
};
pub(crate) use self::{
    database::{Connection, Dialect, commit_error, discard_if_broken, query_error},
    json_rows::JsonRows,
    postgres::{announce, extend_timeout, listen},
};
