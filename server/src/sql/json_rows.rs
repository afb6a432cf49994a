//! Statements over many rows that pass as one JSON parameter. A text that grows with its rows is parsed and planned anew for
//! each row count, and the driver looks up each parameter by name. A statement over a JSON array is prepared once.

use serde::Serialize;
use sqlx::{
    Any, AssertSqlSafe,
    any::AnyArguments,
    query::{Query, QueryAs},
};

use super::{Connection, Dialect, Error};

/// A statement over rows. Each row is a JSON array, with its columns at `value ->> 0` and so on. The rows are the first
/// parameter, `$1`; `{rows}` in the text stands for their table expression.
pub(crate) struct JsonRows {
    text: String,
    rows: String,
}

impl JsonRows {
    pub(crate) fn new<T: Serialize>(
        connection: &Connection,
        text: &str,
        rows: impl IntoIterator<Item = T>,
    ) -> Result<Self, Error> {
        let rows: Vec<T> = rows.into_iter().collect();
        let rows = serde_json::to_string(&rows).map_err(|source| Error::Unavailable(source.into()))?;
        Ok(Self { text: text.replace("{rows}", Dialect::from_connection(connection).json_rows()), rows })
    }

    pub(crate) fn query(self) -> Query<'static, Any, AnyArguments> {
        sqlx::query(AssertSqlSafe(self.text)).bind(self.rows)
    }

    pub(crate) fn query_as<O: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow>>(
        self,
    ) -> QueryAs<'static, Any, O, AnyArguments> {
        sqlx::query_as(AssertSqlSafe(self.text)).bind(self.rows)
    }
}
