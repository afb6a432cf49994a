//! Errors of database access.

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure of a database call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is unavailable. A write may or may not be in it.
    #[error("database unavailable")]
    Unavailable(#[source] Source),
    /// A record cannot be read.
    #[error("{what} cannot be read")]
    Corrupt {
        /// The record.
        what: String,
        /// The cause.
        #[source]
        source: Source,
    },
}

/// A failure to open a database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has locked the file.
    #[error("{} is in use by another server; only one server may open a SQLite file", .0.display())]
    InUse(std::path::PathBuf),
    /// The file or its directory cannot be created or locked.
    #[error("cannot create or lock {}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a SQLite database, or cannot be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The address is neither a file path nor a `postgres://` URL.
    #[error("the store's address must be a file path or begin with postgres://")]
    Address,
    /// The address has a parameter that the driver would ignore and write to the log.
    #[error("the store's address has the unknown parameter {0:?}: see docs/replicas.md")]
    Parameter(String),
    /// There is no store of this version at the address.
    #[error("no store of this version found: check the address, or run `migrate` first")]
    NoStore,
    /// The database server cannot be reached, or refuses the connection.
    #[error("cannot connect to the PostgreSQL server")]
    Connect(#[source] sqlx::Error),
    /// An unreleased version created the store.
    #[error(
        "the store has the schema of another build of scan-gate, which this server cannot migrate: give this server a new \
         store, and keep the old one for the server that wrote it"
    )]
    OtherSchema,
    /// The schema belongs to a newer server.
    #[error("the store has the schema of a newer server (version {0}): upgrade this server")]
    NewerSchema(i64),
    /// A database call failed.
    #[error(transparent)]
    Database(#[from] Error),
}
