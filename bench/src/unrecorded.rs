//! A log that records nothing and acknowledges at once: what a call costs without it. Nothing but a bench may use it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use scangate_server::{
    decisions::{Blob, Hash},
    log::{Appended, Cursor, DecisionId, Error, Filter, Followed, Log, Page, Record, Recorded, Report},
    store::{Request, sql::SqlLog},
};

#[derive(Debug)]
pub(crate) struct Unrecorded {
    over: SqlLog,
    writer: Arc<str>,
    last: AtomicU64,
}

impl Unrecorded {
    /// Over a log that is read, and never appended to.
    pub(crate) fn over(over: SqlLog) -> Self {
        Self { over, writer: "nowhere".into(), last: AtomicU64::new(0) }
    }
}

#[tonic::async_trait]
impl Log for Unrecorded {
    async fn append(&self, _: Record) -> Result<Appended, Error> {
        let sequence = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Appended::Recorded(DecisionId { writer: Arc::clone(&self.writer), sequence }))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.over.ping().await
    }

    async fn answered(&self, request: &Request) -> Result<Option<DecisionId>, Error> {
        self.over.answered(request).await
    }

    async fn get(&self, id: &DecisionId) -> Result<Recorded, Error> {
        self.over.get(id).await
    }

    async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.over.list(filter, after, limit).await
    }

    async fn heads(&self) -> Result<Followed, Error> {
        self.over.heads().await
    }

    async fn follow(&self, followed: &mut Followed, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.over.follow(followed, limit).await
    }

    async fn blobs(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error> {
        self.over.blobs(hashes).await
    }

    async fn verify(&self) -> Result<Report, Error> {
        self.over.verify().await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        self.over.prune(before).await
    }
}
