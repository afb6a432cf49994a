//! SQLite specifics: creation and locking of the file, connection setup, and the errors that mean a corrupt file.

use std::{
    fs::{self, DirBuilder, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Any, ConnectOptions as _, Pool,
    pool::PoolOptions,
    sqlite::{SqliteConnectOptions, SqliteError},
};

use super::OpenError;

/// Maximum number of read connections. Few are needed: current policies are in memory.
const MAX_READERS: u32 = 4;
/// Maximum wait for a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
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

/// An exclusive lock on the database file. The kernel releases it however the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: fs::File,
}

impl Drop for Lock {
    /// Unlocks explicitly: a process that is being spawned holds a copy of the handle for a moment, so closing is not enough.
    fn drop(&mut self) {
        self.file.unlock().ok();
    }
}

/// A database file that this server has locked.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    lock: Lock,
}

impl File {
    /// Locks the file, and creates it if it is missing.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let path = create_file(path).map_err(failed)?;
        let lock = open_lock_file(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock: Lock { file: lock } }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub(super) fn into_lock(self) -> Lock {
        self.lock
    }

    /// Opens the one connection for writing.
    pub(super) async fn writer(&self) -> Result<Pool<Any>, OpenError> {
        self.pool(1).await
    }

    pub(super) async fn readers(&self) -> Result<Pool<Any>, OpenError> {
        self.pool(MAX_READERS).await
    }

    async fn pool(&self, connections: u32) -> Result<Pool<Any>, OpenError> {
        let failed = |source| OpenError::Open { path: self.path.clone(), source };
        let url = SqliteConnectOptions::new().filename(&self.path).to_url_lossy();
        PoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A connection to a file stays valid, so expiry is disabled. So is the test, which would wait for another thread before
            // every commit.
            .max_lifetime(None)
            .idle_timeout(None)
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SETTINGS).execute(connection).await.map(|_| ()) })
            })
            .connect(url.as_str())
            .await
            .map_err(failed)
    }
}

/// True if the error means that the file is corrupt, or is not a database.
pub(super) fn is_corrupt(error: &sqlx::Error) -> bool {
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let error = error.as_database_error().filter(|error| error.try_downcast_ref::<SqliteError>().is_some());
    let code = error.and_then(|error| error.code()?.parse::<u32>().ok());
    // The low byte is the primary code; the rest is the extended code.
    code.is_some_and(|code| matches!(code & 0xff, CORRUPT | NOT_A_DATABASE))
}

/// Creates the file if it is missing, and returns its canonical path, so that two names of a file share a lock.
fn create_file(path: &Path) -> io::Result<PathBuf> {
    let directory = parent(path);
    create_directory(directory)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            sync_directory(directory)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    path.canonicalize()
}

/// Creates a directory with its parents. Each is synced into the one above, so that a crash cannot lose the name of the file.
fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    create_directory(parent(directory))?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => sync_directory(parent(directory)),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Opens the lock file next to the database. Closing any handle to the database itself would release SQLite's own locks.
fn open_lock_file(path: &Path) -> io::Result<fs::File> {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name)
}
