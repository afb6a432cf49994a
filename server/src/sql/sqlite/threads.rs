//! The threads that own the connections to a file.
//!
//! SQLite's calls block. So a whole operation is sent to the thread of a connection, and runs there without a pause: its caller
//! waits for two switches of threads, no matter how many statements it executes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    pin::pin,
    sync::{
        Arc,
        mpsc::{self, TrySendError},
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{File, query_error};
use crate::sql::{
    Connection, Error, OpenError,
    connection::{Condition, Driver},
    database::{Access, Calls, Failure},
};

/// Number of connections for reading. Few are needed: current policies are in memory.
const READERS: usize = 4;
/// Maximum number of operations that wait for the threads, well above that of concurrent calls.
const QUEUE_CAPACITY: usize = 16_384;

/// An operation on the connection of a thread, or on the error of opening it.
type Job = Box<dyn FnOnce(Result<&mut Connection, Error>) + Send>;

/// One thread for writes, so that they queue in order: the file's lock is not fair. Some threads for reads.
#[derive(Debug)]
pub(in crate::sql) struct Threads {
    writes: Option<mpsc::SyncSender<Job>>,
    reads: Option<mpsc::SyncSender<Job>>,
    handles: Vec<JoinHandle<()>>,
    /// Excludes other servers until the connections are closed.
    file: File,
}

impl Threads {
    /// Opens the connections of a file. The first one shows that the file is a database.
    pub(in crate::sql) fn start(file: File) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Open { path: file.path().to_owned(), source };
        let first = super::Connection::open(file.path()).map_err(failed)?;
        let (writes, write_jobs) = mpsc::sync_channel(QUEUE_CAPACITY);
        let (reads, read_jobs) = mpsc::sync_channel(QUEUE_CAPACITY);
        let mut threads = Self { writes: Some(writes), reads: Some(reads), handles: Vec::new(), file };
        threads.spawn("sqlite-writer", &Arc::new(Mutex::new(write_jobs)), Some(first))?;
        let read_jobs = Arc::new(Mutex::new(read_jobs));
        for _ in 0..READERS {
            threads.spawn("sqlite-reader", &read_jobs, None)?;
        }
        Ok(threads)
    }

    fn spawn(
        &mut self,
        name: &str,
        jobs: &Arc<Mutex<mpsc::Receiver<Job>>>,
        connection: Option<super::Connection>,
    ) -> Result<(), OpenError> {
        let (path, jobs) = (self.file.path().to_owned(), Arc::clone(jobs));
        let connection = connection.map(|connection| Connection::new(Driver::Sqlite(connection)));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&path, &jobs, connection));
        let failed = |source| OpenError::Io { path: self.file.path().to_owned(), source };
        self.handles.push(thread.map_err(failed)?);
        Ok(())
    }

    /// Runs an operation on a connection. Once it has begun, it runs to its end or to the deadline, also if the caller is gone.
    pub(in crate::sql) async fn run<T: Send + 'static, E: Failure>(
        &self,
        access: Access,
        deadline: Option<Instant>,
        calls: impl Calls<T, E>,
    ) -> Result<T, E> {
        let (reply, outcome) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that is gone has no use for an operation that has not begun.
            if !reply.is_closed() {
                let outcome = connection.map_err(E::from).and_then(|connection| run_calls(connection, deadline, calls));
                reply.send(outcome).ok();
            }
        });
        let queue = match access {
            Access::Read => &self.reads,
            Access::Write | Access::Commit => &self.writes,
        };
        // If the thread is gone, the job is dropped with its reply.
        if let Some(queue) = queue
            && let Err(TrySendError::Full(_)) = queue.try_send(job)
        {
            return Err(Error::Unavailable("too many operations wait for the database file; retry later".into()).into());
        }
        let lost = || Error::Unavailable("the thread of the database file is gone, or the operation panicked".into());
        outcome.await.unwrap_or_else(|_| Err(lost().into()))
    }
}

impl Drop for Threads {
    /// Closes the connections before the file is unlocked.
    fn drop(&mut self) {
        (self.writes, self.reads) = (None, None);
        for thread in self.handles.drain(..) {
            // An operation may hold the last reference to the database.
            if thread.thread().id() != thread::current().id() {
                thread.join().ok();
            }
        }
    }
}

/// Polls the calls once: on SQLite none of them waits.
fn run_calls<T, E: From<Error>>(
    connection: &mut Connection,
    deadline: Option<Instant>,
    calls: impl Calls<T, E>,
) -> Result<T, E> {
    if let Driver::Sqlite(driver) = connection.driver_mut() {
        driver.set_deadline(deadline)?;
    }
    poll_once(calls(connection)).unwrap_or_else(|| {
        Err(Error::Unavailable("an operation on the database file waited for another task".into()).into())
    })
}

/// Returns the output of a future that never waits; `None` if it waits.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Runs jobs until no sender is left. A connection is opened for the first job, and replaced after a failure.
fn run(path: &Path, jobs: &Mutex<mpsc::Receiver<Job>>, mut connection: Option<Connection>) {
    loop {
        let job = jobs.lock().recv();
        let Ok(job) = job else { break };
        if connection.is_none() {
            match super::Connection::open(path) {
                Ok(opened) => connection = Some(Connection::new(Driver::Sqlite(opened))),
                Err(error) => {
                    job(Err(query_error(error)));
                    continue;
                }
            }
        }
        let is_whole = connection.as_mut().is_some_and(|connection| {
            let outcome = catch_unwind(AssertUnwindSafe(|| job(Ok(connection))));
            outcome.is_ok() && poll_once(connection.settle()) == Some(Condition::Whole)
        });
        if !is_whole {
            connection = None;
        }
    }
}
