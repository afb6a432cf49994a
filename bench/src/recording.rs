//! What it costs to record decisions: durable appends, each caller waiting for its own before it goes on.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use scangate_core::{
    Verdict,
    image::{Digest, RepositoryName},
    name::PolicyId,
    registry::Registry,
};
use scangate_server::{
    decision_log::Blob,
    decision_log::sql::SqlDecisionLog,
    decision_log::{AppendRequest, DecisionLog as _, DecisionRecord, IndexTerms, PreparedRecord},
    idempotency::RequestKey,
    sql::{Address, Database},
};
use scangate_test_postgres::Cluster;
use tempfile::TempDir;

use crate::{calls, table};

/// How long each figure is taken for, and how long before it is begun.
const MEASURED: Duration = Duration::from_secs(3);
const WARMED: Duration = Duration::from_secs(1);
/// Callers, images that their decisions are about in turn, and whether each has a request id.
const LOADS: [(usize, u64, bool); 6] =
    [(1, 200, false), (64, 200, false), (1024, 200, false), (128, 1, false), (64, 200, true), (1024, 200, true)];

/// Prints the table.
pub(crate) async fn run() {
    table::head(
        "Durable appends to the log of decisions",
        &["store", "callers", "images", "request ids", "decisions/s", "CPU µs each", "p50 ms", "p99 ms"],
    );
    let place = TempDir::new().unwrap();
    let file = place.path().join("scangate.db");
    measure("SQLite", &Address::File(file)).await;
    let cluster = Cluster::start();
    measure("PostgreSQL", &Address::parse(&cluster.database())).await;
}

async fn measure(name: &str, address: &Address) {
    let store = Database::open(address).await.unwrap();
    for (callers, images, with_requests) in LOADS {
        let cases: Arc<Vec<Arc<PreparedRecord>>> = Arc::new((0..images).map(case).collect());
        let log = Arc::new(SqlDecisionLog::new(&store));
        append(&log, &cases, callers, with_requests.then_some("warm"), WARMED).await;
        let (began, cpu) = (Instant::now(), calls::cpu("self"));
        let mut waits = append(&log, &cases, callers, with_requests.then_some("measured"), MEASURED).await;
        let rate = waits.len() as f64 / began.elapsed().as_secs_f64();
        // With the callers' share, and without the database server's.
        let each = (calls::cpu("self") - cpu) / waits.len() as f64 * 1e6;
        log.close().await;
        waits.sort_unstable();
        let at = |share: usize| format!("{:.2}", waits[(waits.len() - 1) * share / 100].as_secs_f64() * 1e3);
        let requests = if with_requests { "yes" } else { "no" };
        let (callers, images) = (callers.to_string(), images.to_string());
        let (rate, each) = (format!("{rate:.0}"), format!("{each:.1}"));
        table::row(&[name, &callers, &images, requests, &rate, &each, &at(50), &at(99)]);
    }
}

/// How long each append took.
async fn append(
    log: &Arc<SqlDecisionLog>,
    cases: &Arc<Vec<Arc<PreparedRecord>>>,
    callers: usize,
    requests: Option<&'static str>,
    term: Duration,
) -> Vec<Duration> {
    let end = Instant::now() + term;
    let mut calling = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let (log, cases) = (Arc::clone(log), Arc::clone(cases));
        calling.spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < end {
                let number = waits.len();
                let began = Instant::now();
                let request = requests.map(|run| RequestKey {
                    id: format!("{run}-{callers}-{caller}-{number}"),
                    fingerprint: format!("{number:064x}"),
                });
                log.append(AppendRequest {
                    case: Arc::clone(&cases[(caller + number) % cases.len()]),
                    evaluated_at: Timestamp::now(),
                    labels: BTreeMap::from([("pipeline".to_owned(), "deploy".to_owned())]),
                    request,
                })
                .await
                .unwrap();
                waits.push(began.elapsed());
            }
            waits
        });
    }
    calling.join_all().await.into_iter().flatten().collect()
}

/// A case about an image of that number, with an entry of about 200 bytes for each of its decisions.
fn case(number: u64) -> Arc<PreparedRecord> {
    let keys = IndexTerms {
        registry: Registry::parse("123456789012/eu-west-1").unwrap(),
        repository: RepositoryName::parse(&format!("team/app-{}", number % 20)).unwrap(),
        digests: vec![Digest::parse(&format!("sha256:{number:064x}")).unwrap()],
        environment: None,
        verdict: Verdict::Allow,
        policies: vec![PolicyId::parse("default").unwrap()],
    };
    let (inputs, outcome) = (Blob::of(&format!("inputs {number}")).unwrap(), Blob::of("ALLOW").unwrap());
    let case =
        Blob::of(&DecisionRecord { keys: keys.clone(), inputs: inputs.hash(), outcome: outcome.hash() }).unwrap();
    Arc::new(PreparedRecord { keys, case, parts: vec![inputs, outcome] })
}
