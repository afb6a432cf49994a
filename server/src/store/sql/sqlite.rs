//! What is SQLite's own: opening the file, its locks, and how durable a commit is.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::store;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for another that holds the database.
const BUSY: Duration = Duration::from_secs(5);
/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it.
    #[error("{0} belongs to another server that runs: one server for each store")]
    InUse(PathBuf),
    /// The file or its folder cannot be made.
    #[error("cannot make {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date, or is that of a newer server.
    #[error("cannot bring the schema up to date")]
    Migrate(#[from] MigrateError),
    /// What it holds cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Makes the folder and the file, for their owner only, and takes the lock beside it.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    }
    let private = |path: &Path| {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600).open(path).map_err(failed(path))
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = private(Path::new(&name))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => return Err(failed(path)(source)),
    }
    private(path)?;
    Ok(lock)
}

/// The one connection that writes, with the schema up to date.
pub(super) async fn writer(path: &Path) -> Result<SqlitePool, OpenError> {
    let pool = pool(path, 1).await?;
    MIGRATIONS.run(&pool).await?;
    Ok(pool)
}

/// Connections that read.
pub(super) async fn readers(path: &Path) -> Result<SqlitePool, OpenError> {
    pool(path, READERS).await
}

async fn pool(path: &Path, connections: u32) -> Result<SqlitePool, OpenError> {
    // FULL: what is committed is on the disk. NORMAL would lose acknowledged writes with the power.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY);
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await
        .map_err(|source| OpenError::Open { path: path.to_owned(), source })
}
