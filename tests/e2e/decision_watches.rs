//! WatchDecisions far behind the end of the log: it catches up at once, and never skips what retention has removed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use scangate_client::{
    Code, Rejection,
    v1::{DecisionFilter, WatchDecisionsRequest, WatchDecisionsResponse, watch_decisions_response::Event},
};
use scangate_core::{Verdict, image::RepositoryName};
use scangate_ecr_simulator::World;
use scangate_server::{
    decision_log::{
        AppendRequest, Blob, DecisionLog as _, DecisionRecord, IndexTerms, PreparedRecord, sql::SqlDecisionLog,
    },
    sql::{Address, Database},
};
use scangate_test_fixtures::{digest, repository};
use scangate_test_postgres::Cluster;
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::harness::{Gate, gate};

/// The longest time until a message arrives.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A replica, and the log of another one on the same store.
async fn replicas(cluster: &Cluster) -> (Gate, Arc<SqlDecisionLog>) {
    let database = cluster.database();
    let gate = gate(World::demo()).store(&database).start().await;
    let log = SqlDecisionLog::new(&Database::open(&Address::parse(&database)).await.unwrap());
    (gate, Arc::new(log))
}

/// Records decisions on `shop/busy`, many in each segment.
async fn record(log: &Arc<SqlDecisionLog>, count: usize) {
    let keys = IndexTerms {
        registry: repository("shop/busy").registry,
        repository: RepositoryName::parse("shop/busy").unwrap(),
        digests: vec![digest(7)],
        environment: None,
        verdict: Verdict::Allow,
        policies: Vec::new(),
    };
    let part = Blob::encode("a part").unwrap();
    let (inputs, outcome) = (part.hash(), part.hash());
    let record = DecisionRecord { keys: keys.clone(), tag: None, summary: String::new(), inputs, outcome };
    let record = PreparedRecord { keys, blob: Blob::encode(&record).unwrap(), parts: vec![part] };
    let request = AppendRequest {
        record: Arc::new(record),
        evaluate_time: SystemTime::now().try_into().unwrap(),
        caller: String::new(),
        labels: BTreeMap::new(),
        request_key: None,
        supersedes: None,
    };
    let mut appending = JoinSet::new();
    for _ in 0..count {
        let (log, request) = (Arc::clone(log), request.clone());
        appending.spawn(async move { log.append(request).await.unwrap() });
    }
    assert_eq!(appending.join_all().await.len(), count);
}

async fn watch(gate: &Gate, filter: DecisionFilter, resume_token: &str) -> Streaming<WatchDecisionsResponse> {
    let request = WatchDecisionsRequest { filter: Some(filter), resume_token: resume_token.to_owned() };
    gate.client.decisions().watch_decisions(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<WatchDecisionsResponse>) -> Result<WatchDecisionsResponse, tonic::Status> {
    tokio::time::timeout(TIMEOUT, stream.message()).await.unwrap().transpose().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filtered_watch_catches_up_at_once() {
    let cluster = Cluster::start();
    let (gate, log) = replicas(&cluster).await;
    let token = next(&mut watch(&gate, DecisionFilter::default(), "").await).await.unwrap().resume_token;
    for _ in 0..3 {
        record(&log, 10_000).await;
    }
    let own = gate.decide("shop/api:2.0.0").await;
    let filter = DecisionFilter { repository: "shop/api".into(), ..Default::default() };

    let mut watch = watch(&gate, filter, &token).await;
    let first = next(&mut watch).await.unwrap().event;
    let second = next(&mut watch).await.unwrap().event;

    assert!(matches!(first, Some(Event::Heartbeat(_))), "{first:?}");
    // Before the heartbeat of a watch that is still behind.
    let Some(Event::Decision(decision)) = second else { panic!("{second:?}") };
    assert_eq!(decision.name, own.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_of_removed_decisions_expires() {
    let cluster = Cluster::start();
    let (gate, log) = replicas(&cluster).await;
    let mut watch = watch(&gate, DecisionFilter::default(), "").await;
    let mut last = next(&mut watch).await.unwrap();
    record(&log, 5_000).await;
    // The watch has read the first of them, and waits for this slow reader.
    while !matches!(last.event, Some(Event::Decision(_))) {
        last = next(&mut watch).await.unwrap();
    }

    log.trim(SystemTime::now().try_into().unwrap()).await.unwrap();

    let expired = loop {
        match next(&mut watch).await {
            Ok(message) => assert!(matches!(message.event, Some(Event::Decision(_))), "it skips the removed ones"),
            Err(status) => break Rejection::from(&status),
        }
    };
    assert_eq!((expired.code, expired.reason.as_str()), (Code::FailedPrecondition, "RESUME_TOKEN_EXPIRED"));
}
