//! Tests of the policy store: [`contract`] holds for every backend; the backends' modules run it and add their own promises.

#![expect(clippy::unwrap_used, reason = "a test panics on a failed step")]

mod contract;
mod fixtures;
mod newer_documents;
mod postgres;
mod postgres_outage;
mod sqlite;
mod sqlite_corruption;
mod sqlite_crash_recovery;
mod waiver_approval;
