//! Several servers over one PostgreSQL: one gate.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use scangate_client::{
    Client, Code, prost_types,
    v1::{
        CreateWaiverRequest, EvaluateGateRequest, GetDecisionRequest, GetWaiverRequest, ListWaiversRequest, Policy,
        PreviewPolicyRequest, RevokeWaiverRequest, Severity, UpdatePolicyRequest, UpdateWaiverRequest, Verdict, Waiver,
        WaiverScope, WaiverState, preview_policy_request::Draft,
    },
};
use scangate_ecr_simulator::{Simulator, World};
use scangate_test_postgres::Cluster;
use tokio::{task::JoinSet, time::sleep};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::harness::{
    Gate, client, create, gate, no_findings_from, question, refused, rejection,
    tools::{Server, binary, serve, stdout},
};

/// How old what a server decides on may be: its default.
const BOUND: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(40);

async fn replica(store: &str) -> Gate {
    gate(World::demo()).store(store).flag("--store-staleness", "2s").start().await
}

/// How the replica's load balancer sees it.
async fn status(replica: &Gate) -> ServingStatus {
    let channel = Channel::from_shared(format!("http://{}", replica.address)).unwrap().connect().await.unwrap();
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    answer.into_inner().status()
}

async fn becomes(replica: &Gate, expected: ServingStatus) {
    let began = Instant::now();
    while status(replica).await != expected {
        assert!(began.elapsed() < PATIENCE, "it does not become {expected:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_on_one_replica_is_enforced_on_the_other_with_its_token_at_once() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (one, other) = (replica(&database).await, replica(&database).await);
    one.client.create_policy(create("team", no_findings_from(Severity::High))).await.unwrap();

    for round in 0..30 {
        let severity = if round % 2 == 0 { Severity::Low } else { Severity::Critical };
        let mut policy = no_findings_from(severity);
        "policies/team".clone_into(&mut policy.name);
        "*".clone_into(&mut policy.etag);
        let update = UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
        let written = one.client.update_policy(update).await.unwrap();

        let ask = EvaluateGateRequest { at_least_as_fresh: written.revision_token, ..question("shop/api:2.0.0") };
        let decision = other.client.evaluate(ask).await.unwrap().into_message();

        assert_eq!(decision.revision, written.revision);
        let team = decision.policies.iter().find(|policy| policy.name == "policies/team").unwrap();
        assert_eq!(team.revision, written.revision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_on_one_replica_is_read_and_tried_on_the_other_with_its_token() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (one, other) = (replica(&database).await, replica(&database).await);

    for round in 0..10 {
        let scope = WaiverScope { vulnerability_id: "CVE-1".into(), ..Default::default() };
        let waiver = Waiver { scope: Some(scope), reason: "not reachable".into(), ..Default::default() };
        let waiver_id = format!("w-{round}");
        let name = format!("waivers/{waiver_id}");
        let request = CreateWaiverRequest { waiver_id, waiver: Some(waiver), ..Default::default() };
        let token = one.client.policies().create_waiver(request).await.unwrap().into_inner().revision_token;

        let get = GetWaiverRequest { name: name.clone(), at_least_as_fresh: token };
        let got = other.client.policies().get_waiver(get).await.unwrap().into_inner().waiver.unwrap();

        assert_eq!(got.name, name);
        let revoke = RevokeWaiverRequest { name, etag: "*".into(), reason: "fixed".into(), ..Default::default() };
        let token = one.client.policies().revoke_waiver(revoke).await.unwrap().into_inner().revision_token;

        let states = vec![WaiverState::Active.into()];
        let list = ListWaiversRequest { states, at_least_as_fresh: token, ..Default::default() };
        let active = other.client.policies().list_waivers(list).await.unwrap().into_inner().waivers;

        assert_eq!(active, Vec::new());
        let id = format!("p-{round}");
        let written = one.client.create_policy(create(&id, no_findings_from(Severity::Low))).await.unwrap();

        let preview = PreviewPolicyRequest {
            draft: Some(Draft::DeletePolicy(format!("policies/{id}"))),
            window: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            at_least_as_fresh: written.revision_token,
        };
        let previewed = other.client.policies().preview_policy(preview).await;

        assert!(previewed.is_ok(), "{previewed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_waiver_stays_so_on_a_replica_that_has_not_heard_of_it() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (one, other) = (replica(&database).await, replica(&database).await);

    for round in 0..30 {
        let scope = WaiverScope { vulnerability_id: "CVE-1".into(), ..Default::default() };
        let waiver = Waiver { scope: Some(scope), reason: "not reachable".into(), ..Default::default() };
        let id = format!("w-{round}");
        let request = CreateWaiverRequest { waiver_id: id.clone(), waiver: Some(waiver.clone()), ..Default::default() };
        let made = one.client.policies().create_waiver(request).await.unwrap().into_inner();
        let ask = EvaluateGateRequest { at_least_as_fresh: made.revision_token, ..question("shop/api:2.0.0") };
        drop(other.client.evaluate(ask).await.unwrap());
        let name = format!("waivers/{id}");
        let revoke = RevokeWaiverRequest { name, etag: "*".into(), reason: "fixed".into(), ..Default::default() };
        let revoked = one.client.policies().revoke_waiver(revoke).await.unwrap().into_inner().waiver.unwrap();

        let waiver = Waiver { name: revoked.name, etag: revoked.etag, ..waiver };
        let update = UpdateWaiverRequest { waiver: Some(waiver), ..Default::default() };
        let refused = refused(other.client.policies().update_waiver(update).await);

        assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "WAIVER_REVOKED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_its_store_says_so_and_comes_back_by_itself() {
    let mut cluster = Cluster::start();
    let replica = replica(&cluster.database()).await;
    let _ = replica.decide("shop/api:2.0.0").await;

    cluster.crash();
    becomes(&replica, ServingStatus::NotServing).await;
    let refused = rejection(replica.evaluate("shop/api:2.0.0").await);
    cluster.start_server();
    becomes(&replica, ServingStatus::Serving).await;
    let decision = replica.evaluate("shop/api:2.0.0").await;

    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(decision.is_ok(), "{decision:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_record_says_so_and_comes_back_by_itself() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let replica = replica(&database).await;
    let _ = replica.decide("shop/web:1.4.2").await;

    cluster.execute(&database, "alter table decision_blobs add constraint nothing_more check (false) not valid");
    let refused = rejection(replica.evaluate("shop/api:2.0.0").await);
    becomes(&replica, ServingStatus::NotServing).await;
    cluster.execute(&database, "alter table decision_blobs drop constraint nothing_more");
    becomes(&replica, ServingStatus::Serving).await;
    let decision = replica.evaluate("shop/api:2.0.0").await;

    assert_eq!(refused.code, Code::Unavailable);
    assert!(decision.is_ok(), "{decision:?}");
}

/// Three servers in processes of their own, over one PostgreSQL and one simulated ECR.
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

    async fn client(&self, at: usize) -> Client {
        client(self.servers[at % self.servers.len()].address).await
    }
}

/// What a caller was told: when he asked, and at which revision the verdict was given.
struct Told {
    asked: Instant,
    revision: u64,
    verdict: Verdict,
    name: String,
}

/// Asks each server over and over until told to stop; an error is no answer, and no ALLOW.
async fn ask(fleet: &Fleet, callers: usize, stop: &Arc<AtomicBool>) -> JoinSet<Vec<Told>> {
    let mut asking = JoinSet::new();
    for caller in 0..callers {
        let (client, stop) = (fleet.client(caller).await, Arc::clone(stop));
        asking.spawn(async move {
            let mut told = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                match client.evaluate(question("shop/worker:3.1.0")).await {
                    Ok(decision) => told.push(Told {
                        asked,
                        revision: decision.as_message().revision,
                        verdict: decision.verdict(),
                        name: decision.name().to_owned(),
                    }),
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
            told
        });
    }
    asking
}

fn under(etag: &str, policy: Policy) -> UpdatePolicyRequest {
    let policy = Policy { name: "policies/shop".to_owned(), etag: etag.to_owned(), ..policy };
    UpdatePolicyRequest { policy: Some(policy), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_tightened_on_one_server_is_enforced_by_all_within_the_bound_under_load() {
    let fleet = Fleet::start().await;
    let writer = fleet.client(0).await;
    let lax = || Policy { description: "lax".to_owned(), ..Policy::default() };
    let strict = || no_findings_from(Severity::Low);
    let created = writer.create_policy(create("shop", lax())).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let asking = ask(&fleet, 12, &stop).await;

    let mut tightened: Vec<(u64, Instant)> = Vec::new();
    let mut loosened = vec![created.revision];
    for round in 0..12 {
        sleep(Duration::from_millis(150)).await;
        let written = writer.update_policy(under("*", strict())).await.unwrap();
        tightened.push((written.revision, Instant::now()));
        // With the token, on whichever server, at once.
        let other = fleet.client(1 + round % 2).await;
        let ask = EvaluateGateRequest { at_least_as_fresh: written.revision_token, ..question("shop/worker:3.1.0") };
        assert_eq!(other.evaluate(ask).await.unwrap().verdict(), Verdict::Deny);
        sleep(Duration::from_millis(150)).await;
        loosened.push(writer.update_policy(under("*", lax())).await.unwrap().revision);
    }
    sleep(Duration::from_secs(1)).await;
    writer.update_policy(under("*", strict())).await.unwrap();
    let last = Instant::now();
    sleep(BOUND + Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let told: Vec<Told> = asking.join_all().await.into_iter().flatten().collect();

    assert!(told.len() > 2_000, "{}", told.len());
    assert!(told.iter().filter(|told| told.verdict == Verdict::Allow).count() > 100);
    for told in &told {
        // The verdict is that of the revision it names.
        assert_eq!(told.verdict == Verdict::Allow, loosened.contains(&told.revision), "{}", told.name);
        // And that revision is no older than the bound allows.
        let replaced = tightened.iter().find(|(revision, _)| *revision > told.revision);
        if let Some((revision, at)) = replaced.filter(|_| told.verdict == Verdict::Allow) {
            assert!(told.asked < *at + BOUND, "revision {} was allowed long after {revision}", told.revision);
        }
        assert!(told.verdict != Verdict::Allow || told.asked < last + BOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_database_costs_no_acknowledged_decision_and_gives_no_wrong_allow() {
    let mut fleet = Fleet::start().await;
    let writer = fleet.client(0).await;
    writer.create_policy(create("shop", no_findings_from(Severity::Low))).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let asking = ask(&fleet, 12, &stop).await;

    for trouble in ["crash", "pause", "cut"] {
        sleep(Duration::from_secs(1)).await;
        match trouble {
            "crash" => {
                fleet.cluster.crash();
                sleep(Duration::from_secs(1)).await;
                fleet.cluster.start_server();
            }
            "pause" => {
                fleet.cluster.pause();
                sleep(Duration::from_secs(7)).await;
                fleet.cluster.resume();
            }
            _ => fleet.cluster.terminate_connections(),
        }
        // Each of them comes back by itself.
        for at in 0..3 {
            let client = fleet.client(at).await;
            let began = Instant::now();
            while client.evaluate(question("shop/api:2.0.0")).await.is_err() {
                assert!(began.elapsed() < PATIENCE, "server {at} does not come back after {trouble}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let told: Vec<Told> = asking.join_all().await.into_iter().flatten().collect();

    assert!(told.len() > 300, "{}", told.len());
    assert!(told.iter().all(|told| told.verdict == Verdict::Deny), "the image was never to be allowed");
    all_are_recorded(&fleet.client(1).await, told.iter().map(|told| told.name.as_str())).await;
    for server in fleet.servers.drain(..) {
        server.kill().await;
    }
    chains_hold(&fleet.store).await;
}

async fn all_are_recorded(client: &Client, names: impl Iterator<Item = &str>) {
    for name in names {
        let request = GetDecisionRequest { name: name.to_owned() };
        client.decisions().get_decision(request).await.unwrap_or_else(|refused| panic!("{name}: {refused}"));
    }
}

/// What the operator's own check says.
async fn chains_hold(store: &str) {
    let mut command = tokio::process::Command::new(binary("scangate-server"));
    let output = command.args(["verify-decisions", "--store", store]).output().await.unwrap();
    assert!(stdout(&output).contains("verified "));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_every_decision_that_a_caller_received_is_in_the_log() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scangate.db").display().to_string();
    let ecr = Simulator::start_local(World::demo()).await.unwrap();

    for store in [file, cluster.database()] {
        let mut received = Vec::new();
        for _ in 0..2 {
            let server = serve(&ecr.endpoint(), Path::new(&store)).await;
            let count = Arc::new(AtomicUsize::new(0));
            let mut callers = JoinSet::new();
            for _ in 0..16 {
                let (client, count) = (client(server.address).await, Arc::clone(&count));
                callers.spawn(async move {
                    let mut received = Vec::new();
                    while let Ok(decision) = client.evaluate(question("shop/api:2.0.0")).await {
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
            received.extend(callers.join_all().await.into_iter().flatten());
            chains_hold(&store).await;
        }
        let server = serve(&ecr.endpoint(), Path::new(&store)).await;
        assert!(received.len() >= 3_000, "{}", received.len());
        all_are_recorded(&client(server.address).await, received.iter().map(String::as_str)).await;
        server.kill().await;
    }
}
