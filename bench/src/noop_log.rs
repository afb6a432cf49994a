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
    decision_log::{
        AppendRequest, AppendResult, Blob, Bookmark, Cursor, Cursors, DecisionId, DecisionLog, Entry, Error, Filter,
        Hash, Listed, Page, Report, sql::SqlDecisionLog,
    },
    idempotency::RequestKey,
};

#[derive(Debug)]
pub(crate) struct NoopLog {
    inner: SqlDecisionLog,
    writer: Arc<str>,
    last: AtomicU64,
}

impl NoopLog {
    /// Reads use `inner`; appends do not reach it.
    pub(crate) fn new(inner: SqlDecisionLog) -> Self {
        Self { inner, writer: "nowhere".into(), last: AtomicU64::new(0) }
    }
}

#[tonic::async_trait]
impl DecisionLog for NoopLog {
    async fn append(&self, _: AppendRequest) -> Result<AppendResult, Error> {
        let sequence = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(AppendResult::Recorded(DecisionId { writer: Arc::clone(&self.writer), sequence }))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }

    async fn find_by_request(&self, request: &RequestKey) -> Result<Option<DecisionId>, Error> {
        self.inner.find_by_request(request).await
    }

    async fn get(&self, id: &DecisionId) -> Result<Entry, Error> {
        self.inner.get(id).await
    }

    async fn list(&self, filter: &Filter, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.inner.list(filter, after, limit).await
    }

    async fn tail_positions(&self) -> Result<Cursors, Error> {
        self.inner.tail_positions().await
    }

    async fn resume(&self, bookmark: &Bookmark) -> Result<Cursors, Error> {
        self.inner.resume(bookmark).await
    }

    async fn read_from(&self, followed: &mut Cursors, limit: usize) -> Result<Vec<Listed>, Error> {
        self.inner.read_from(followed, limit).await
    }

    async fn blobs(&self, hashes: &[Hash]) -> Result<BTreeMap<Hash, Blob>, Error> {
        self.inner.blobs(hashes).await
    }

    async fn verify(&self) -> Result<Report, Error> {
        self.inner.verify().await
    }

    async fn trim(&self, before: Timestamp) -> Result<u64, Error> {
        self.inner.trim(before).await
    }
}
