//! Several server processes over one store: policy changes under load, database faults and SIGKILL.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use scangate_client::{
    Client,
    prost_types::FieldMask,
    v1::{
        EvaluateGateRequest, GetDecisionRequest, Policy, Severity, UpdatePolicyRequest, UpdatePolicyResponse, Verdict,
    },
};
use scangate_ecr_simulator::{Simulator, World};
use scangate_test_postgres::Cluster;
use tokio::{task::JoinSet, time::sleep};

use crate::harness::{
    client, create_policy_request, deny_findings_from, evaluate_request, revision_number,
    tools::{Server, binary, serve, stdout},
};

/// The default maximum age of a server's policy snapshot.
const STALENESS_BOUND: Duration = Duration::from_secs(5);
/// The time in which a server must recover.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(40);
/// An image that a strict policy denies.
const IMAGE: &str = "shop/worker:3.1.0";

/// Three server processes over one PostgreSQL and one simulated ECR.
struct Fleet {
    cluster: Cluster,
    store: String,
    _ecr: Simulator,
    servers: Vec<Server>,
}

impl Fleet {
    async fn start() -> Self {
        let cluster = Cluster::start();
        let store = cluster.database();
        let ecr = Simulator::start_local(World::demo()).await.unwrap();
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(serve(&ecr.endpoint(), Path::new(&store)).await);
        }
        Self { cluster, store, _ecr: ecr, servers }
    }

    /// A client of one of the servers, chosen by number.
    async fn client(&self, number: usize) -> Client {
        client(self.servers[number % self.servers.len()].address).await
    }
}

/// A decision that a caller received, and when it sent the request.
struct Received {
    sent: Instant,
    revision: u64,
    verdict: Verdict,
    name: String,
}

/// Callers that evaluate [`IMAGE`] until stopped. An error counts neither as a decision nor as ALLOW.
struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Vec<Received>>,
}

impl Load {
    /// Starts callers on every server of the fleet.
    async fn start(fleet: &Fleet, callers: usize) -> Self {
        let mut load = Self { stop: Arc::new(AtomicBool::new(false)), callers: JoinSet::new() };
        for caller in 0..callers {
            load.callers.spawn(evaluate_until_stopped(fleet.client(caller).await, Arc::clone(&load.stop)));
        }
        load
    }

    /// Stops the callers and returns their decisions.
    async fn stop(self) -> Vec<Received> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

async fn evaluate_until_stopped(client: Client, stop: Arc<AtomicBool>) -> Vec<Received> {
    let mut received = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        match client.evaluate(evaluate_request(IMAGE)).await {
            Ok(decision) => received.push(Received {
                sent,
                revision: revision_number(&decision.as_message().revision),
                verdict: decision.verdict(),
                name: decision.name().to_owned(),
            }),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    received
}

async fn replace_policy(writer: &Client, policy: Policy) -> UpdatePolicyResponse {
    let policy = Policy { name: "policies/shop".to_owned(), etag: "*".to_owned(), ..policy };
    let update_mask = Some(FieldMask { paths: vec!["*".to_owned()] });
    writer.update_policy(UpdatePolicyRequest { policy: Some(policy), update_mask, ..Default::default() }).await.unwrap()
}

fn lax() -> Policy {
    Policy { description: "lax".to_owned(), replaces_default: Some(true), ..Policy::default() }
}

fn strict() -> Policy {
    deny_findings_from(Severity::Low)
}

/// The revisions of a policy that changes between lax and strict; strict ones with the time of the acknowledgement.
struct Revisions {
    strict: Vec<(u64, Instant)>,
    lax: Vec<u64>,
}

impl Revisions {
    /// Asserts that a decision has the verdict of its revision, and that this revision is within the staleness bound.
    fn check(&self, received: &Received) {
        let Received { sent, revision, verdict, name } = received;
        let is_allowed = *verdict == Verdict::Allow;
        assert_eq!(is_allowed, self.lax.contains(revision), "{name}");
        let replaced = self.strict.iter().find(|(strict, _)| strict > revision);
        if let Some((strict, at)) = replaced.filter(|_| is_allowed) {
            assert!(*sent < *at + STALENESS_BOUND, "revision {revision} was allowed long after {strict}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tightened_policy_reaches_all_servers_within_bound() {
    let fleet = Fleet::start().await;
    let writer = fleet.client(0).await;
    let created = writer.create_policy(create_policy_request("shop", lax())).await.unwrap();
    let load = Load::start(&fleet, 12).await;

    let mut revisions = Revisions { strict: Vec::new(), lax: vec![revision_number(&created.revision)] };
    for round in 0..12 {
        sleep(Duration::from_millis(150)).await;
        let written = replace_policy(&writer, strict()).await;
        revisions.strict.push((revision_number(&written.revision), Instant::now()));
        // With the revision, the change takes effect at once on every server.
        let other = fleet.client(1 + round % 2).await;
        let request = EvaluateGateRequest { at_least_as_fresh: written.revision, ..evaluate_request(IMAGE) };
        assert_eq!(other.evaluate(request).await.unwrap().verdict(), Verdict::Deny);
        sleep(Duration::from_millis(150)).await;
        revisions.lax.push(revision_number(&replace_policy(&writer, lax()).await.revision));
    }
    sleep(Duration::from_secs(1)).await;
    replace_policy(&writer, strict()).await;
    let last = Instant::now();
    sleep(STALENESS_BOUND + Duration::from_secs(1)).await;
    let received = load.stop().await;

    assert!(received.len() > 2_000, "{}", received.len());
    assert!(received.iter().filter(|received| received.verdict == Verdict::Allow).count() > 100);
    for received in &received {
        revisions.check(received);
        assert!(received.verdict != Verdict::Allow || received.sent < last + STALENESS_BOUND);
    }
}

/// Waits until a server of the fleet decides again.
async fn wait_for_recovery(fleet: &Fleet, server: usize) {
    let client = fleet.client(server).await;
    let began = Instant::now();
    while client.evaluate(evaluate_request("shop/api:2.0.0")).await.is_err() {
        assert!(began.elapsed() < RECOVERY_TIMEOUT, "server {server} does not recover");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until every server decides again, and one second more.
async fn wait_for_recovery_of_all(fleet: &Fleet) {
    for server in 0..3 {
        wait_for_recovery(fleet, server).await;
    }
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_faults_lose_nothing_and_allow_nothing() {
    let mut fleet = Fleet::start().await;
    let writer = fleet.client(0).await;
    writer.create_policy(create_policy_request("shop", strict())).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let load = Load::start(&fleet, 12).await;
    sleep(Duration::from_secs(1)).await;

    fleet.cluster.crash();
    sleep(Duration::from_secs(1)).await;
    fleet.cluster.start_server();
    wait_for_recovery_of_all(&fleet).await;
    fleet.cluster.pause();
    sleep(Duration::from_secs(7)).await;
    fleet.cluster.resume();
    wait_for_recovery_of_all(&fleet).await;
    fleet.cluster.terminate_connections();
    wait_for_recovery_of_all(&fleet).await;
    let received = load.stop().await;

    assert!(received.len() > 300, "{}", received.len());
    assert!(received.iter().all(|received| received.verdict == Verdict::Deny), "the strict policy was not applied");
    assert_recorded(&fleet.client(1).await, received.iter().map(|received| received.name.as_str())).await;
    for server in fleet.servers.drain(..) {
        server.kill().await;
    }
    assert_chains_intact(&fleet.store).await;
}

async fn assert_recorded(client: &Client, names: impl Iterator<Item = &str>) {
    for name in names {
        let request = GetDecisionRequest { name: name.to_owned(), ..Default::default() };
        client.decisions().get_decision(request).await.unwrap_or_else(|refused| panic!("{name}: {refused}"));
    }
}

/// Asserts that `verify-decisions` finds no damage.
async fn assert_chains_intact(store: &str) {
    let mut command = tokio::process::Command::new(binary("scangate-server"));
    let output = command.args(["verify-decisions", "--store", store]).output().await.unwrap();
    assert!(stdout(&output).contains("verified "));
}

/// Kills a server under load, and returns the names of the decisions that its callers received.
async fn kill_under_load(ecr: &str, store: &str) -> Vec<String> {
    let server = serve(ecr, Path::new(store)).await;
    let count = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (client, count) = (client(server.address).await, Arc::clone(&count));
        callers.spawn(async move {
            let mut received = Vec::new();
            while let Ok(decision) = client.evaluate(evaluate_request("shop/api:2.0.0")).await {
                received.push(decision.name().to_owned());
                count.fetch_add(1, Ordering::Relaxed);
            }
            received
        });
    }
    while count.load(Ordering::Relaxed) < 1_500 {
        sleep(Duration::from_millis(10)).await;
    }
    server.kill().await;
    callers.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_loses_no_returned_decision() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scangate.db").display().to_string();
    let ecr = Simulator::start_local(World::demo()).await.unwrap();

    for store in [file, cluster.database()] {
        let mut received = Vec::new();
        for _ in 0..2 {
            received.extend(kill_under_load(&ecr.endpoint(), &store).await);
            assert_chains_intact(&store).await;
        }
        let server = serve(&ecr.endpoint(), Path::new(&store)).await;
        assert!(received.len() >= 3_000, "{}", received.len());
        assert_recorded(&client(server.address).await, received.iter().map(String::as_str)).await;
        server.kill().await;
    }
}
