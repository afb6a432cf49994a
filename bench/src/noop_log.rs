//! A decision log that acknowledges appends without recording them, to measure a call without the log. For benchmarks
//! only: it breaks the promise that returned decisions are durable.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use scangate_server::{
    decision_log::sql::SqlDecisionLog,
    decision_log::{
        AppendRequest, AppendResult, Cursor, Cursors, DecisionId, DecisionLog, Entry, Error, Filter, Page, Report,
    },
    decision_log::{Blob, Hash},
    idempotency::RequestKey,
};

#[derive(Debug)]
pub(crate) struct NoopLog {
    over: SqlDecisionLog,
    writer: Arc<str>,
    last: AtomicU64,
}

impl NoopLog {
    /// Reads go to `over`; appends do not reach it.
    pub(crate) fn new(over: SqlDecisionLog) -> Self {
        Self { over, writer: "nowhere".into(), last: AtomicU64::new(0) }
    }
}

#[tonic::async_trait]
impl DecisionLog for NoopLog {
    async fn append(&self, _: AppendRequest) -> Result<AppendResult, Error> {
        let sequence = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(AppendResult::Recorded(DecisionId { writer: Arc::clone(&self.writer), sequence }))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.over.ping().await
    }

    async fn answered(&self, request: &RequestKey) -> Result<Option<DecisionId>, Error> {
        self.over.answered(request).await
    }

    async fn get(&self, id: &DecisionId) -> Result<Entry, Error> {
        self.over.get(id).await
    }

    async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.over.list(filter, after, limit).await
    }

    async fn tail_positions(&self) -> Result<Cursors, Error> {
        self.over.tail_positions().await
    }

    async fn read_from(&self, followed: &mut Cursors, limit: usize) -> Result<Vec<Entry>, Error> {
        self.over.read_from(followed, limit).await
    }

    async fn blobs(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error> {
        self.over.blobs(hashes).await
    }

    async fn verify(&self) -> Result<Report, Error> {
        self.over.verify().await
    }

    async fn trim(&self, before: Timestamp) -> Result<u64, Error> {
        self.over.trim(before).await
    }
}
