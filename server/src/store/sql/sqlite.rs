//! What is SQLite's own: the file, who may open it, how its connections are set up, and which errors mean that it is damaged.

use std::{
    fs::{self, DirBuilder, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Pool, Sqlite,
    migrate::{MigrateError, Migrator},
    pool::PoolOptions,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};

use crate::store;

/// The driver.
pub(super) type Database = Sqlite;
/// One connection of it.
pub(super) type Connection = SqliteConnection;

/// Begins a transaction that writes. Takes the write lock at once: one that reads first and locks later can fail midway.
pub(super) const BEGIN_WRITE: &str = "begin immediate";

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Loads are short and few: the policies in force are held in memory.
const READERS: u32 = 4;
/// How long a call waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a statement waits for the file, which at most a backup or an operator's shell holds besides us.
const BUSY: Duration = Duration::from_secs(5);

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it.
    #[error("{} belongs to another server that runs: one server for each store", .0.display())]
    InUse(PathBuf),
    /// The file or its directory cannot be made or locked.
    #[error("cannot make or lock {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no database, or cannot be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date, or is that of a newer server.
    #[error("cannot bring the schema up to date")]
    Migrate(#[from] MigrateError),
    /// The store cannot be begun.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Keeps other servers away from the file for as long as it lives; the kernel lets go of it however the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: fs::File,
}

impl Drop for Lock {
    /// Closing the file would do, were it not that a process being started has a copy of it for a moment.
    fn drop(&mut self) {
        self.file.unlock().ok();
    }
}

/// A database file that is ours.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    lock: Lock,
}

impl File {
    /// Makes the file where there is none, and locks it.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let path = create(path).map_err(failed)?;
        let lock = open_beside(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock: Lock { file: lock } }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub(super) fn into_lock(self) -> Lock {
        self.lock
    }

    /// The one connection that writes, with the schema up to date.
    pub(super) async fn writer(&self) -> Result<Pool<Database>, OpenError> {
        let pool = self.pool(1, self.options().journal_mode(SqliteJournalMode::Wal)).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(pool)
    }

    /// Connections that read, once there is something to read.
    pub(super) async fn readers(&self) -> Result<Pool<Database>, OpenError> {
        self.pool(READERS, self.options().read_only(true)).await
    }

    async fn pool(&self, connections: u32, options: SqliteConnectOptions) -> Result<Pool<Database>, OpenError> {
        PoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            // A connection to a file does not age.
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options)
            .await
            .map_err(|source| OpenError::Open { path: self.path.clone(), source })
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .synchronous(SqliteSynchronous::Full)
            // On macOS, a plain fsync leaves the data in the drive's cache; elsewhere this says nothing.
            .pragma("fullfsync", "on")
            .foreign_keys(true)
            .busy_timeout(BUSY)
    }
}

/// Whether the error says that the file is no database, or no longer one.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    // The low byte is the primary code, the rest tells its kinds apart.
    code.is_some_and(|code| matches!(code & 0xff, CORRUPT | NOT_A_DATABASE))
}

/// The file's one true path, so that two names for it meet at the same lock.
fn create(path: &Path) -> io::Result<PathBuf> {
    let directory = parent(path);
    create_directory(directory)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            sync(directory)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    path.canonicalize()
}

/// Directories and files are synced into the directory above: what a write acknowledges must not hang on a lost name.
fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    create_directory(parent(directory))?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => sync(parent(directory)),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Opens the file to lock. Not the database itself: closing any handle to that would drop SQLite's own locks on it.
fn open_beside(path: &Path) -> io::Result<fs::File> {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name)
}
