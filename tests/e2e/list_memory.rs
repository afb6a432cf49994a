//! The memory of a page of decisions with large findings, in a server process of its own over SQLite.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use prost::Message;
use scangate_client::v1::{CreatePolicyRequest, DecisionView, EvaluateGateRequest, ListDecisionsRequest};
use scangate_ecr_simulator::{ImageSpec, ScanScript, Simulator, World};
use scangate_server::{
    decision_log::{AppendRequest, Blob, DecisionLog as _, Filter, Listed, PreparedRecord, sql::SqlDecisionLog},
    sql::{Address, Database},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    answer_sizes::{large_findings, policy_with_rules},
    harness::{client, evaluate_request, tools},
};

const DECISIONS: usize = 1000;
/// The number of decisions that differ. Each states 3,000 findings of more than 1 KB.
const DISTINCT: usize = 24;
const MAX_RESPONSE_BYTES: usize = 3_584 * 1024;
const MAX_PAGE_KIB: u64 = 64 * 1024;

/// A value of `/proc/PID/status`, in KiB.
fn memory(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', ' ', '\t']).split(' ').next().unwrap().trim().parse().unwrap()
}

/// Records the decisions of a store again, in turn. The runtime's end closes the store.
fn record_again(store: &Path, count: usize) {
    Runtime::new().unwrap().block_on(append_recorded(store, count));
}

async fn append_recorded(store: &Path, count: usize) {
    let log = Arc::new(SqlDecisionLog::new(&Database::open(&Address::File(store.to_owned())).await.unwrap()));
    let recorded = log.list(&Filter::default(), None, DISTINCT).await.unwrap().decisions;
    let mut records = Vec::new();
    for (listed, _) in recorded {
        let Listed::Entry(entry) = listed else { panic!("{listed:?}") };
        let parts = log.blobs(&[entry.record.inputs, entry.record.outcome]).await.unwrap().into_values().collect();
        let (keys, blob) = (entry.record.keys.clone(), Blob::encode(&*entry.record).unwrap());
        records.push((Arc::new(PreparedRecord { keys, blob, parts }), entry.evaluate_time));
    }
    let mut appending = JoinSet::new();
    for number in 0..count {
        let (record, evaluate_time) = records[number % DISTINCT].clone();
        let log = Arc::clone(&log);
        let labels = BTreeMap::from([("number".to_owned(), number.to_string())]);
        let request =
            AppendRequest { record, evaluate_time, caller: String::new(), labels, request_key: None, supersedes: None };
        appending.spawn(async move { log.append(request).await.unwrap() });
    }
    appending.join_all().await;
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_of_decisions_bounds_memory() {
    let mut world = World::enhanced();
    world.push(ImageSpec::single("team/big", "1").scan(ScanScript::complete(large_findings(100, 200))));
    let ecr = Simulator::start_local(world).await.unwrap();
    let directory = TempDir::new().unwrap();
    let store = directory.path().join("scangate.db");
    let server = tools::serve(&ecr.endpoint(), &store).await;
    let recording = client(server.address).await;
    let policy = Some(policy_with_rules(30));
    let create = CreatePolicyRequest { policy_id: "many".into(), policy, ..Default::default() };
    recording.create_policy(create).await.unwrap();
    for number in 0..DISTINCT {
        let request = EvaluateGateRequest { environment: format!("e{number}"), ..evaluate_request("team/big:1") };
        drop(recording.evaluate(request).await.unwrap());
    }
    server.kill().await;
    let stored = store.clone();
    tokio::task::spawn_blocking(move || record_again(&stored, DECISIONS - DISTINCT)).await.unwrap();

    // A new process, which has nothing in its caches.
    let server = tools::serve(&ecr.endpoint(), &store).await;
    let reading = client(server.address).await;
    for (view, is_full_page) in [(DecisionView::Basic, true), (DecisionView::Full, false)] {
        let request = ListDecisionsRequest { page_size: 1, view: view.into(), ..Default::default() };
        reading.decisions().list_decisions(request).await.unwrap();
        // Resets the peak.
        fs::write(format!("/proc/{}/clear_refs", server.id()), "5").unwrap();
        let before = memory(server.id(), "VmRSS");

        let request = ListDecisionsRequest { page_size: 1000, view: view.into(), ..Default::default() };
        let page = reading.decisions().list_decisions(request).await.unwrap().into_inner();

        let used = memory(server.id(), "VmHWM").saturating_sub(before);
        assert!(used <= MAX_PAGE_KIB, "{view:?}: {used} KiB");
        assert!(page.encoded_len() <= MAX_RESPONSE_BYTES, "{view:?}: {} bytes", page.encoded_len());
        assert_eq!(page.decisions.len() == DECISIONS, is_full_page, "{view:?}");
        assert!(!page.decisions.is_empty());
    }
}
