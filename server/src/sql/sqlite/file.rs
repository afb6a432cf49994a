//! The database file: its creation, and the lock that excludes other servers.

use std::{
    fs::{self, DirBuilder, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::sql::OpenError;

/// A database file that this server has locked. The kernel releases the lock however the process ends.
#[derive(Debug)]
pub(in crate::sql) struct File {
    path: PathBuf,
    lock: fs::File,
}

impl File {
    /// Locks the file, and creates it if it is missing.
    pub(in crate::sql) fn claim(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let path = create_file(path).map_err(failed)?;
        let lock = open_lock_file(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub(in crate::sql) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for File {
    /// Unlocks explicitly: a process that is being spawned holds a copy of the handle for a moment, so closing is not enough.
    fn drop(&mut self) {
        self.lock.unlock().ok();
    }
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
