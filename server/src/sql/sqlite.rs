//! What is SQLite's own: the file, who may open it, how its connections are set up, and which errors mean that it is damaged.

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

/// Loads are short and few: the policies in force are held in memory.
const READERS: u32 = 4;
/// How long a call waits for its turn.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Every commit is on the disk before it is acknowledged; on macOS a plain fsync would leave it in the drive's cache, elsewhere
/// `fullfsync` says nothing. A statement waits five seconds for the file, which at most a backup or an operator's shell holds
/// besides us. What undoes half a statement stays in memory, and so do the pages of a large commit, up to 32 MiB: SQLite would
/// write both to files that nothing reads.
const SETTINGS: &str = "pragma journal_mode = wal;
    pragma synchronous = full;
    pragma fullfsync = on;
    pragma foreign_keys = on;
    pragma temp_store = memory;
    pragma cache_size = -32768;
    pragma busy_timeout = 5000";

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

    /// The one connection that writes.
    pub(super) async fn writer(&self) -> Result<Pool<Any>, OpenError> {
        self.pool(1).await
    }

    pub(super) async fn readers(&self) -> Result<Pool<Any>, OpenError> {
        self.pool(READERS).await
    }

    async fn pool(&self, connections: u32) -> Result<Pool<Any>, OpenError> {
        let failed = |source| OpenError::Open { path: self.path.clone(), source };
        let url = SqliteConnectOptions::new().filename(&self.path).to_url_lossy();
        PoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A connection to a file does not age.
            .max_lifetime(None)
            .idle_timeout(None)
            // Nor is it lost: to ask would be to wait for another thread before every commit.
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SETTINGS).execute(connection).await.map(|_| ()) })
            })
            .connect(url.as_str())
            .await
            .map_err(failed)
    }
}

/// Whether the error says that the file is no database, or no longer one.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let error = error.as_database_error().filter(|error| error.try_downcast_ref::<SqliteError>().is_some());
    let code = error.and_then(|error| error.code()?.parse::<u32>().ok());
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
