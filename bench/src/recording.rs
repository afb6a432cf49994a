//! The cost of recording decisions: durable appends, where each caller waits for its append before the next.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use scangate_core::{Verdict, image::RepositoryName, name::PolicyId, registry::Registry};
use scangate_server::{
    decision_log::{
        AppendRequest, Blob, DecisionLog as _, DecisionRecord, IndexTerms, PreparedRecord, sql::SqlDecisionLog,
    },
    idempotency::RequestKey,
    sql::{Address, Database},
};
use scangate_test_fixtures::digest;
use scangate_test_postgres::Cluster;
use tempfile::TempDir;

use crate::{
    markdown_table::{print_header, print_row},
    process::cpu_seconds,
};

/// The caller of all decisions.
const CALLER: &str = "spiffe://example.org/ci";
const MEASURE_DURATION: Duration = Duration::from_secs(3);
const WARM_UP_DURATION: Duration = Duration::from_secs(1);
/// Bytes of one write of the medium's own measurement: three pages of SQLite.
const MEDIUM_WRITE_SIZE: usize = 3 * 4096;
/// Number of writes that fill the measured file.
const MEDIUM_WRITES: u64 = 256;
/// The number of callers, the number of images of their decisions, and true if each append has a request id.
const LOADS: [(usize, u64, bool); 6] =
    [(1, 200, false), (64, 200, false), (1024, 200, false), (128, 1, false), (64, 200, true), (1024, 200, true)];

/// Prints the table.
pub(crate) async fn run() {
    print_header(
        "Durable appends to the decision log",
        &["store", "callers", "images", "request ids", "decisions/s", "CPU µs per decision", "p50 ms", "p99 ms"],
    );
    let directory = TempDir::new().unwrap();
    print_medium(&directory);
    let file = directory.path().join("scangate.db");
    measure("SQLite", &Address::File(file)).await;
    let cluster = Cluster::start();
    measure("PostgreSQL", &Address::parse(&cluster.database())).await;
}

/// Prints the medium's own time for a write and its `fdatasync`: the lower bound of a durable append. Like the log of SQLite after
/// its first checkpoint, it overwrites a file, by as many pages as a decision alone takes.
fn print_medium(directory: &TempDir) {
    let file = File::create(directory.path().join("medium")).unwrap();
    let write = [1_u8; MEDIUM_WRITE_SIZE];
    let offsets = (0..MEDIUM_WRITES).map(|number| number * MEDIUM_WRITE_SIZE as u64);
    for offset in offsets.clone() {
        file.write_all_at(&write, offset).unwrap();
    }
    file.sync_all().unwrap();
    let (start, cpu_before) = (Instant::now(), cpu_seconds("self"));
    let mut latencies = Vec::new();
    for offset in offsets.cycle() {
        let write_start = Instant::now();
        file.write_all_at(&write, offset).unwrap();
        file.sync_data().unwrap();
        latencies.push(write_start.elapsed());
        if start.elapsed() > MEASURE_DURATION {
            break;
        }
    }
    let rate = latencies.len() as f64 / start.elapsed().as_secs_f64();
    let cpu_micros = (cpu_seconds("self") - cpu_before) / latencies.len() as f64 * 1e6;
    latencies.sort_unstable();
    print_latencies(&["fdatasync alone", "1", "–", "–"], rate, cpu_micros, &latencies);
}

/// Prints a row that ends with the 50th and the 99th percentile of sorted latencies.
fn print_latencies(labels: &[&str; 4], rate: f64, cpu_micros: f64, latencies: &[Duration]) {
    let percentile =
        |percent: usize| format!("{:.2}", latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1e3);
    let [store, callers, images, request_ids] = *labels;
    let (rate, cpu_micros) = (format!("{rate:.0}"), format!("{cpu_micros:.1}"));
    print_row(&[store, callers, images, request_ids, &rate, &cpu_micros, &percentile(50), &percentile(99)]);
}

async fn measure(name: &str, address: &Address) {
    let store = Database::open(address).await.unwrap();
    for (callers, images, with_request_ids) in LOADS {
        let records: Arc<Vec<Arc<PreparedRecord>>> = Arc::new((0..images).map(prepared_record).collect());
        let log = Arc::new(SqlDecisionLog::new(&store));
        append(&log, &records, callers, with_request_ids.then_some("warm"), WARM_UP_DURATION).await;
        let (start, cpu_before) = (Instant::now(), cpu_seconds("self"));
        let mut latencies =
            append(&log, &records, callers, with_request_ids.then_some("measured"), MEASURE_DURATION).await;
        let rate = latencies.len() as f64 / start.elapsed().as_secs_f64();
        // Includes the callers, but not the database server.
        let cpu_micros = (cpu_seconds("self") - cpu_before) / latencies.len() as f64 * 1e6;
        log.close().await;
        latencies.sort_unstable();
        let request_ids = if with_request_ids { "yes" } else { "no" };
        let (callers, images) = (callers.to_string(), images.to_string());
        print_latencies(&[name, &callers, &images, request_ids], rate, cpu_micros, &latencies);
    }
}

/// Appends from all callers until the time is over, and returns the latency of each append.
async fn append(
    log: &Arc<SqlDecisionLog>,
    records: &Arc<Vec<Arc<PreparedRecord>>>,
    callers: usize,
    request_id_prefix: Option<&'static str>,
    duration: Duration,
) -> Vec<Duration> {
    let end = Instant::now() + duration;
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let (log, records) = (Arc::clone(log), Arc::clone(records));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let number = latencies.len();
                let start = Instant::now();
                let request = request_id_prefix.map(|prefix| RequestKey {
                    caller: CALLER.to_owned(),
                    id: format!("{prefix}-{callers}-{caller}-{number}"),
                    fingerprint: format!("{number:064x}"),
                    window: SignedDuration::from_mins(10),
                });
                log.append(AppendRequest {
                    record: Arc::clone(&records[(caller + number) % records.len()]),
                    evaluate_time: Timestamp::now(),
                    caller: CALLER.to_owned(),
                    labels: BTreeMap::from([("pipeline".to_owned(), "deploy".to_owned())]),
                    request_key: request,
                    supersedes: None,
                })
                .await
                .unwrap();
                latencies.push(start.elapsed());
            }
            latencies
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// The record of an image with this number. Each of its decisions adds about 200 bytes to the log.
fn prepared_record(number: u64) -> Arc<PreparedRecord> {
    let keys = IndexTerms {
        registry: Registry::parse("123456789012/eu-west-1").unwrap(),
        repository: RepositoryName::parse(&format!("team/app-{}", number % 20)).unwrap(),
        digests: vec![digest(number)],
        environment: None,
        verdict: Verdict::Allow,
        policies: vec![PolicyId::parse("default").unwrap()],
    };
    let (inputs, outcome) = (Blob::encode(&format!("inputs {number}")).unwrap(), Blob::encode("ALLOW").unwrap());
    let blob = Blob::encode(&DecisionRecord {
        keys: keys.clone(),
        tag: None,
        summary: String::new(),
        inputs: inputs.hash(),
        outcome: outcome.hash(),
    })
    .unwrap();
    Arc::new(PreparedRecord { keys, blob, parts: vec![inputs, outcome] })
}
