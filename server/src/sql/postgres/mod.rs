//! PostgreSQL: its connections and their setup, the pool, and notifications of writes.

mod condition;
mod notifications;
mod pool;

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    Connection as _, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgSslMode},
    query::Query,
};

use super::{Error, FromRow, OpenError, Row, Value};

pub(crate) use self::notifications::listen;
pub(super) use self::{condition::condition_after, notifications::CHANNEL, pool::Pool};

/// Session settings. They override those of the database or role, and bound each statement, lock and idle transaction so that a
/// stuck one cannot block other servers.
const SETTINGS: &str = "set statement_timeout = '10s';
    set lock_timeout = '5s';
    set idle_in_transaction_session_timeout = '30s';
    set synchronous_commit = on;
    set application_name = 'scangate';
    set session characteristics as transaction isolation level read committed, read write, not deferrable";
/// Timeout for a connection to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The parameters that a store's URL may have.
const PARAMETERS: [&str; 13] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
];

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection {
    connection: PgConnection,
}

impl Connection {
    async fn open(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect_with(options).await?;
        sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
        let is_standby: bool = sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(&mut connection).await?;
        if is_standby {
            // It may lag behind the primary and return outdated policies.
            let cause = "this PostgreSQL server is a standby; connect to the primary";
            return Err(sqlx::Error::Configuration(cause.into()));
        }
        Ok(Self { connection })
    }

    /// Executes a statement over the columns of `rows`, as arrays. Returns the number of rows that it changed.
    pub(super) async fn execute<const N: usize>(
        &mut self,
        sql: &'static str,
        rows: &[[Value<'_>; N]],
        values: &[Value<'_>],
    ) -> Result<u64, Error> {
        let executed = bind(sql, rows, values).execute(&mut self.connection).await;
        executed.map(|executed| executed.rows_affected()).map_err(query_error)
    }

    /// Executes a statement over the columns of `rows`, as arrays. Returns its result.
    pub(super) async fn query<T: FromRow, const N: usize>(
        &mut self,
        sql: &'static str,
        rows: &[[Value<'_>; N]],
        values: &[Value<'_>],
    ) -> Result<Vec<T>, Error> {
        let found = bind(sql, rows, values).fetch_all(&mut self.connection).await.map_err(query_error)?;
        found.iter().map(|row| T::from_row(&Row::Postgres(row))).collect()
    }

    pub(super) async fn execute_script(&mut self, sql: &'static str) -> Result<(), Error> {
        sqlx::raw_sql(sql).execute(&mut self.connection).await.map(|_| ()).map_err(query_error)
    }
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Binds the columns of `rows`, and then the values.
fn bind<'q, const N: usize>(sql: &'static str, rows: &'q [[Value<'q>; N]], values: &'q [Value<'q>]) -> Statement<'q> {
    let columns = (0..N).map(|column| rows.iter().filter_map(move |row| row.get(column)));
    let statement = columns.fold(sqlx::query(sql), bind_column);
    values.iter().fold(statement, |statement, value| match value {
        Value::Integer(value) => statement.bind(*value),
        Value::Text(value) => statement.bind(value.as_deref()),
        Value::Bytes(value) => statement.bind(*value),
    })
}

/// Binds a column as an array. All of its values have one type.
fn bind_column<'q>(statement: Statement<'q>, column: impl Iterator<Item = &'q Value<'q>> + Clone) -> Statement<'q> {
    let integer = |value: &'q Value<'q>| if let Value::Integer(value) = value { Some(*value) } else { None };
    let text = |value: &'q Value<'q>| if let Value::Text(value) = value { Some(value.as_deref()) } else { None };
    let bytes = |value: &'q Value<'q>| if let Value::Bytes(value) = value { Some(*value) } else { None };
    match column.clone().next() {
        Some(Value::Integer(_)) => statement.bind(column.filter_map(integer).collect::<Vec<_>>()),
        Some(Value::Text(_)) => statement.bind(column.filter_map(text).collect::<Vec<_>>()),
        Some(Value::Bytes(_)) => statement.bind(column.filter_map(bytes).collect::<Vec<_>>()),
        None => statement,
    }
}

/// Converts the error of a statement.
pub(super) fn query_error(error: sqlx::Error) -> Error {
    if matches!(error, sqlx::Error::ColumnDecode { .. }) {
        return Error::Corrupt { what: "a row".to_owned(), source: error.into() };
    }
    Error::Unavailable(error.into())
}

/// Parses the URL of a store, and warns about a server that is not verified.
fn parse_url(url: &str) -> Result<PgConnectOptions, OpenError> {
    check_parameters(url)?;
    let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
    if !is_local(&options) && !matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
        tracing::warn!(
            "the identity of the PostgreSQL server is not verified: an impostor could decide what may be deployed; add \
             sslmode=verify-full to the store's address"
        );
    }
    Ok(options)
}

/// Refuses unknown parameters: the driver would ignore them and log their values.
fn check_parameters(url: &str) -> Result<(), OpenError> {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let names = parameters.split('&').filter(|parameter| !parameter.is_empty());
    for parameter in names {
        // A parameter without a name may be a secret, so the error omits it.
        let (name, _) = parameter.split_once('=').ok_or_else(|| OpenError::Parameter(String::new()))?;
        if !PARAMETERS.contains(&name) {
            return Err(OpenError::Parameter(name.to_owned()));
        }
    }
    Ok(())
}

/// True for a local (Unix socket or loopback) connection.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
