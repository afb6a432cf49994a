//! Access to the database, which the SQL adapters of the ports share.
//!
//! The database is SQLite, in a file that one server owns, or PostgreSQL, which several servers share. Each has one thin adapter:
//! [`sqlite`] runs whole operations on threads that own its connections, [`postgres`] runs them over a pool. A [`Connection`] of
//! either executes the same statements: their parameters are `$1`, `$2` and so on. Where the dialects differ, a caller has
//! two constants side by side.

mod address;
mod connection;
mod database;
mod error;
mod postgres;
mod row;
mod row_statement;
mod schema;
mod sqlite;
mod value;

pub use self::{
    address::Address,
    database::Database,
    error::{Error, OpenError},
};
pub(crate) use self::{
    connection::Connection,
    database::{Dialect, LOAD_TIMEOUT, QUERY_TIMEOUT},
    postgres::listen,
    row::{FromRow, Row},
    row_statement::{RowStatement, row_statement},
    value::{Value, values},
};
