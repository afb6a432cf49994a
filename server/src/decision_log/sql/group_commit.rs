//! Group commit: one task records whatever waits, in one transaction, and tells everybody at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Any, pool::PoolConnection};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    index_batch::{Chapter, Tail},
    indexer,
    writer::Own,
};
use crate::{
    decision_log::{AppendRequest, AppendResult, Error},
    sql::{self, Database, Dialect},
};

/// The most decisions that are committed at once.
const BATCH: usize = 4096;
/// How often more are waited for.
const GATHERED: usize = 16;
/// The most that wait.
pub(super) const QUEUE: usize = 16_384;
/// How long one commit may take. What takes longer has an outcome that nobody knows.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection is taken for good that was so a moment ago.
const GOOD: Duration = Duration::from_secs(1);

/// What becomes of a record.
pub(super) type Given = Result<AppendResult, Error>;

/// A record that waits, with whom to tell.
pub(super) type Waiting = (AppendRequest, oneshot::Sender<Given>);

/// Commits batches, one after the other.
pub(super) struct Committer {
    database: Arc<Database>,
    own: Own,
    /// The connection of the last commit, and when that was.
    held: Option<(PoolConnection<Any>, Instant)>,
    /// Looks after others' tails once there are decisions: who only reads changes nothing.
    helper: JoinSet<()>,
}

impl Committer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { own: Own::new(Arc::clone(&database)), database, held: None, helper: JoinSet::new() }
    }

    /// Goes on until it is told to close and has recorded what came before, or nobody is left who could append.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>, closing: Arc<Notify>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let due = self.own.tail.due();
            let received = tokio::select! {
                biased;
                received = waiting.recv_many(&mut batch, BATCH) => received,
                () = closing.notified() => {
                    waiting.close();
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.index(Tail::take_ready).await;
                    continue;
                }
            };
            if received == 0 {
                break;
            }
            gather(&mut waiting, &mut batch).await;
            self.record(&mut batch).await;
            self.index(Tail::take_ready).await;
        }
        if !self.own.is_unsure {
            self.index(Tail::take).await;
        }
    }

    /// Commits a batch, and tells everybody.
    async fn record(&mut self, batch: &mut Vec<Waiting>) {
        if self.helper.is_empty() {
            self.helper.spawn(indexer::keep_up(Arc::clone(&self.database)));
        }
        match self.commit(batch).await {
            Ok(answers) => {
                for ((_, tell), answer) in batch.drain(..).zip(answers) {
                    // Who has given up has his decision in the log all the same.
                    tell.send(answer).ok();
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "decisions were not recorded");
                self.own.doubt();
                for (_, tell) in batch.drain(..) {
                    tell.send(Err(again(&error))).ok();
                }
            }
        }
    }

    async fn commit(&mut self, batch: &[Waiting]) -> Result<Vec<Given>, Error> {
        let mut connection = in_time(self.connection()).await?;
        let own = &mut self.own;
        let outcome = in_time(async {
            match own.commit(&mut connection, batch).await {
                Ok(None) => {
                    own.begin_anew();
                    own.commit(&mut connection, batch).await
                }
                outcome => outcome,
            }
        });
        let outcome = outcome.await;
        match &outcome {
            Ok(_) if self.database.dialect == Dialect::Postgres => self.held = Some((connection, Instant::now())),
            Ok(_) => {}
            // Also where it came late: a statement may still be under way there.
            Err(_) => connection.close_on_drop(),
        }
        outcome?.ok_or_else(|| Error::Unavailable(Arc::new(Displaced)))
    }

    /// The connection of a moment ago if there is one, since to return one and to take another are journeys to the server. SQLite has
    /// a single one, on which others wait for their turn.
    async fn connection(&mut self) -> Result<PoolConnection<Any>, sql::Error> {
        if let Some((connection, used)) = self.held.take()
            && used.elapsed() < GOOD
        {
            return Ok(connection);
        }
        self.database.writer().await
    }

    /// Writes chapters. Decisions are found without, too: where it fails it is tried again later.
    async fn index(&mut self, next: fn(&mut Tail) -> Option<Chapter>) {
        let Own { writer, tail, .. } = &mut self.own;
        let outcome = in_time(async {
            while let Some(chapter) = next(tail) {
                if !indexer::write(&self.database, writer, chapter.first.saturating_sub(1), &chapter).await? {
                    tail.lose();
                }
            }
            // Some at a time: those who wait for a commit come first.
            if tail.is_to_be_read() && !indexer::write_some(&self.database, writer, u64::MAX).await? {
                *tail = Tail::default();
            }
            Ok(())
        });
        if let Err(error) = outcome.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "decisions are not indexed yet");
            self.own.tail.lose();
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, sql::Error>>) -> Result<T, sql::Error> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|late| Err(sql::Error::Unavailable(late.into())))
}

/// Lets those go first who are about to append: while there are any, one commit for more of them costs each less. Where nobody
/// is, it takes no time.
async fn gather(waiting: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>) {
    for _ in 0..GATHERED {
        let had = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(one) = waiting.try_recv()
        {
            batch.push(one);
        }
        if batch.len() == had {
            break;
        }
    }
}

/// A chain that nobody else writes has been written twice while one batch was recorded.
#[derive(Debug, thiserror::Error)]
#[error("the database has lost decisions that were recorded, twice in a row")]
struct Displaced;

/// An error that several callers get.
fn again(error: &Error) -> Error {
    match error {
        Error::Unavailable(source) => Error::Unavailable(Arc::clone(source)),
        other @ (Error::NotFound(_) | Error::RequestIdReused | Error::Overloaded | Error::Corrupt { .. }) => {
            Error::Unavailable(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(other.to_string())))
        }
    }
}
