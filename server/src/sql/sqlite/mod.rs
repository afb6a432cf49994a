//! SQLite: its connections, the threads that own them, and the errors that mean a corrupt file.

mod file;
mod threads;

use std::{path::Path, time::Instant};

use rusqlite::{ErrorCode, OpenFlags};

use super::{Error, FromRow, Row, Value};

pub(super) use self::{file::File, threads::Threads};

/// Session settings. Every commit is on disk before it is acknowledged; macOS needs `fullfsync` for that, elsewhere it has no
/// effect. A statement waits up to five seconds for the file, which only a backup or an operator's shell can hold. Statement
/// journals and the pages of a commit up to 32 MiB stay in memory: SQLite would write both to temporary files.
const SETTINGS: &str = "pragma journal_mode = wal;
    pragma synchronous = full;
    pragma fullfsync = on;
    pragma foreign_keys = on;
    pragma temp_store = memory;
    pragma cache_size = -32768;
    pragma busy_timeout = 5000";
/// Number of prepared statements that a connection caches, above the number of all statements.
const STATEMENT_CACHE_CAPACITY: usize = 200;
/// Number of steps of SQLite's virtual machine between two checks of the deadline: well below a millisecond.
const DEADLINE_CHECK_STEPS: i32 = 1_000;
/// The names of parameters, in order.
const PARAMETERS: [&str; 12] = ["$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12"];

/// A connection to a file.
#[derive(Debug)]
pub(in crate::sql) struct Connection {
    connection: rusqlite::Connection,
}

impl Connection {
    fn open(path: &Path) -> Result<Self, rusqlite::Error> {
        // The file exists, and the thread is the only user of the connection.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE_CAPACITY);
        connection.execute_batch(SETTINGS)?;
        Ok(Self { connection })
    }

    /// Interrupts statements from an instant on.
    fn set_deadline(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        let is_due = deadline.map(|deadline| move || deadline <= Instant::now());
        self.connection.progress_handler(DEADLINE_CHECK_STEPS, is_due).map_err(query_error)
    }

    /// Executes a statement once for each row, and returns the number of rows that it changed.
    pub(in crate::sql) fn execute<const N: usize>(
        &mut self,
        sql: &'static str,
        rows: &[[Value<'_>; N]],
        values: &[Value<'_>],
    ) -> Result<u64, Error> {
        let execute = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            bind(&mut statement, N, values)?;
            rows.iter().try_fold(0_usize, |changed, row| {
                bind(&mut statement, 0, row)?;
                Ok(changed.saturating_add(statement.raw_execute()?))
            })
        };
        execute().map(|changed| u64::try_from(changed).unwrap_or(u64::MAX)).map_err(query_error)
    }

    /// Executes a statement once for each row, and returns all results.
    pub(in crate::sql) fn query<T: FromRow, const N: usize>(
        &mut self,
        sql: &'static str,
        rows: &[[Value<'_>; N]],
        values: &[Value<'_>],
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.connection.prepare_cached(sql).map_err(query_error)?;
        bind(&mut statement, N, values).map_err(query_error)?;
        let mut results = Vec::new();
        for row in rows {
            bind(&mut statement, 0, row).map_err(query_error)?;
            let mut found = statement.raw_query();
            while let Some(row) = found.next().map_err(query_error)? {
                results.push(T::from_row(&Row::Sqlite(row))?);
            }
        }
        Ok(results)
    }

    pub(in crate::sql) fn execute_script(&mut self, sql: &'static str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(query_error)
    }
}

/// Binds the parameters after the first `offset`. SQLite numbers `$1` by its first place in the text, so they are bound by name.
fn bind(statement: &mut rusqlite::Statement<'_>, offset: usize, values: &[Value<'_>]) -> Result<(), rusqlite::Error> {
    for (name, value) in PARAMETERS.iter().skip(offset).zip(values) {
        let index = statement.parameter_index(name)?;
        let index = index.ok_or_else(|| rusqlite::Error::InvalidParameterName((*name).to_owned()))?;
        match value {
            Value::Integer(value) => statement.raw_bind_parameter(index, value)?,
            Value::Text(value) => statement.raw_bind_parameter(index, value)?,
            Value::Bytes(value) => statement.raw_bind_parameter(index, value)?,
        }
    }
    Ok(())
}

/// Converts the error of a statement.
pub(super) fn query_error(error: rusqlite::Error) -> Error {
    let is_corrupt_file =
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    let is_corrupt_row = matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    );
    if !is_corrupt_file && !is_corrupt_row {
        return Error::Unavailable(error.into());
    }
    let what = if is_corrupt_file { "the database file" } else { "a row" };
    Error::Corrupt { what: what.to_owned(), source: error.into() }
}
