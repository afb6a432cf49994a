//! Rows of results, with typed columns.

use rusqlite::types::FromSql;
use sqlx::{Decode, Postgres, Row as _, Type, postgres::PgRow};

use super::{Error, postgres, sqlite};

/// A row of a result.
#[derive(Debug)]
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a PgRow),
}

/// The type of a column: `i64`, `String`, `Vec<u8>`, or one of them that may be null.
pub(crate) trait Column: FromSql + for<'r> Decode<'r, Postgres> + Type<Postgres> {}

impl<T: FromSql + for<'r> Decode<'r, Postgres> + Type<Postgres>> Column for T {}

impl Row<'_> {
    /// Returns the column at an index, from 0. A column of another type makes the row corrupt.
    pub(crate) fn get<T: Column>(&self, index: usize) -> Result<T, Error> {
        match self {
            Self::Sqlite(row) => row.get(index).map_err(sqlite::query_error),
            Self::Postgres(row) => row.try_get(index).map_err(postgres::query_error),
        }
    }
}

/// A type that a row converts to.
pub(crate) trait FromRow: Sized + Send {
    fn from_row(row: &Row<'_>) -> Result<Self, Error>;
}

/// Implements [`FromRow`] for a tuple of columns.
macro_rules! tuple_from_row {
    ($($column:ident $index:literal),+) => {
        impl<$($column: Column + Send),+> FromRow for ($($column,)+) {
            fn from_row(row: &Row<'_>) -> Result<Self, Error> {
                Ok(($(row.get::<$column>($index)?,)+))
            }
        }
    };
}

tuple_from_row!(A 0);
tuple_from_row!(A 0, B 1);
tuple_from_row!(A 0, B 1, C 2);
tuple_from_row!(A 0, B 1, C 2, D 3);
tuple_from_row!(A 0, B 1, C 2, D 3, E 4);
tuple_from_row!(A 0, B 1, C 2, D 3, E 4, F 5);
