//! A connection to either kind of database.

use std::time::Duration;

use super::{Dialect, Error, FromRow, RowStatement, Value, postgres, sqlite, values};

/// A connection to either kind of database. The calls on SQLite never wait for another task.
#[derive(Debug)]
pub(crate) struct Connection {
    driver: Driver,
    in_transaction: bool,
    condition: Condition,
}

/// The condition of a connection after its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// It can be used after a rollback.
    Whole,
    /// It must be replaced: a statement may still run.
    Broken,
    /// It must be replaced, and so must the idle ones: they are probably lost or outdated, too.
    Lost,
}

#[derive(Debug)]
pub(super) enum Driver {
    Sqlite(sqlite::Connection),
    Postgres(postgres::Connection),
}

impl Connection {
    pub(super) fn new(driver: Driver) -> Self {
        Self { driver, in_transaction: false, condition: Condition::Whole }
    }

    pub(super) fn driver_mut(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// Returns the dialect of the statements.
    pub(crate) fn dialect(&self) -> Dialect {
        match self.driver {
            Driver::Sqlite(_) => Dialect::Sqlite,
            Driver::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Executes a statement, and returns the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        self.execute_each(RowStatement::without_input(sql), &[[]], values).await
    }

    /// Executes a statement, and returns its rows.
    pub(crate) async fn query<T: FromRow>(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<T>, Error> {
        self.query_each(RowStatement::without_input(sql), &[[]], values).await
    }

    /// Executes a statement that returns at most one row.
    pub(crate) async fn query_optional<T: FromRow>(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<T>, Error> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// Executes a statement that returns one row.
    pub(crate) async fn query_one<T: FromRow>(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<T, Error> {
        self.query_optional(sql, values)
            .await?
            .ok_or_else(|| Error::Corrupt { what: "a result".to_owned(), source: "a statement returned no row".into() })
    }

    /// Executes a statement for each row, with the same `values` after its columns. Returns the number of rows that it changed.
    pub(crate) async fn execute_each<const N: usize>(
        &mut self,
        statement: RowStatement,
        rows: &[[Value<'_>; N]],
        values: &[Value<'_>],
    ) -> Result<u64, Error> {
        if rows.is_empty() {
            return Ok(0);
        }
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => connection.execute(statement.sqlite, rows, values),
            Driver::Postgres(connection) => connection.execute(statement.postgres, rows, values).await,
        };
        self.noting_failure(outcome)
    }

    /// Executes a statement for each row, with the same `values` after its columns. Returns the rows of all results.
    pub(crate) async fn query_each<T: FromRow, const N: usize>(
        &mut self,
        statement: RowStatement,
        rows: &[[Value<'_>; N]],
        values: &[Value<'_>],
    ) -> Result<Vec<T>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => connection.query(statement.sqlite, rows, values),
            Driver::Postgres(connection) => connection.query(statement.postgres, rows, values).await,
        };
        self.noting_failure(outcome)
    }

    /// Executes several statements without parameters.
    pub(super) async fn execute_script(&mut self, sql: &'static str) -> Result<(), Error> {
        let outcome = match &mut self.driver {
            Driver::Sqlite(connection) => connection.execute_script(sql),
            Driver::Postgres(connection) => connection.execute_script(sql).await,
        };
        self.noting_failure(outcome)
    }

    /// Begins a write transaction. SQLite locks at once: a transaction that locks later can fail midway.
    pub(crate) async fn begin_write(&mut self) -> Result<(), Error> {
        self.begin(match self.dialect() {
            Dialect::Sqlite => "begin immediate",
            Dialect::Postgres => "begin",
        })
        .await
    }

    /// Begins a read transaction over one snapshot of the database.
    pub(crate) async fn begin_read(&mut self) -> Result<(), Error> {
        self.begin(match self.dialect() {
            Dialect::Sqlite => "begin",
            Dialect::Postgres => "begin isolation level repeatable read read only",
        })
        .await
    }

    async fn begin(&mut self, sql: &'static str) -> Result<(), Error> {
        self.in_transaction = true;
        self.execute(sql, &[]).await?;
        Ok(())
    }

    /// Commits the transaction. After an error its outcome is unknown: the write may or may not be in the database.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.execute("commit", &[]).await.map_err(|error| match error {
            Error::Corrupt { source, .. } | Error::Unavailable(source) => Error::Unavailable(source),
        })?;
        self.in_transaction = false;
        Ok(())
    }

    /// Rolls the transaction back.
    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        self.execute("rollback", &[]).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Sets the timeout of the statements of this transaction. SQLite has one for the whole operation.
    pub(super) async fn set_timeout(&mut self, limit: Duration) -> Result<(), Error> {
        if self.dialect() == Dialect::Postgres {
            let limit = format!("{}ms", limit.as_millis());
            self.execute("select set_config('statement_timeout', $1, true)", &values![&limit]).await?;
        }
        Ok(())
    }

    /// Notifies other servers of a write when the transaction commits. Only PostgreSQL has other servers.
    pub(crate) async fn announce(&mut self, revision: u64) -> Result<(), Error> {
        if self.dialect() == Dialect::Postgres {
            self.execute("select pg_notify($1, $2)", &values![postgres::CHANNEL, revision.to_string()]).await?;
        }
        Ok(())
    }

    /// Ends a transaction that an operation left open. Returns the condition of the connection.
    pub(super) async fn settle(&mut self) -> Condition {
        if self.condition == Condition::Whole && self.in_transaction && self.rollback().await.is_err() {
            self.condition = self.condition.max(Condition::Broken);
        }
        self.condition
    }

    fn noting_failure<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &outcome {
            let after = match self.driver {
                // SQLite ends the transaction itself, for example when a disk is full.
                Driver::Sqlite(_) => Condition::Broken,
                Driver::Postgres(_) => postgres::condition_after(error),
            };
            self.condition = self.condition.max(after);
        }
        outcome
    }
}
