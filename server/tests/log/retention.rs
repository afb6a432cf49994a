//! What goes when decisions go.

use std::collections::BTreeSet;

use scangate_core::Verdict;
use scangate_server::{
    decisions::Hash,
    log::Log as _,
    store::sql::{Address, Sql, SqlLog},
};
use sqlx::{AnyConnection, Connection as _};
use tempfile::TempDir;

use crate::given::{case, record};

/// Everything that decisions of that many numbers rest on.
fn blobs(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Hash> {
    let of = |number: u64| case(number, if number.is_multiple_of(3) { Verdict::Deny } else { Verdict::Allow });
    let hashes = numbers.into_iter().map(of).flat_map(|case| {
        case.parts.iter().chain([&case.case]).map(scangate_server::decisions::Blob::hash).collect::<Vec<_>>()
    });
    hashes.collect()
}

#[tokio::test]
async fn what_only_removed_decisions_rested_on_goes_and_the_rest_stays() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("scangate.db");
    let store = Sql::open(&Address::File(path.clone())).await.unwrap();
    let log = SqlLog::new(&store);
    // More than are removed at once.
    for number in 0..1400 {
        log.append(record(number)).await.unwrap();
    }
    let mut shell = AnyConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let all: Vec<Hash> = blobs(0..1400).into_iter().collect();
    let before = "2026-03-01T12:20:00Z".parse().unwrap();

    // Used a moment ago: a server may be about to record it again.
    assert_eq!(log.prune(before).await.unwrap(), 1200);
    let spared = log.blobs(&all).await.unwrap();
    sqlx::query("update decision_blobs set used = 0").execute(&mut shell).await.unwrap();
    log.prune(before).await.unwrap();
    let left: BTreeSet<Hash> = log.blobs(&all).await.unwrap().into_keys().collect();

    assert_eq!(spared.len(), all.len());
    assert_eq!(left, blobs(1200..1400));
    let report = log.verify().await.unwrap();
    assert_eq!((report.decisions, report.removed, report.damage), (200, 1200, Vec::new()));
}
