//! Acknowledged policy writes survive SIGKILL of the server.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use scangate_client::v1::{ListPoliciesRequest, Policy, Severity};
use scangate_ecr_simulator::{Simulator, World};
use tokio::{
    sync::{Mutex, Notify},
    task::JoinSet,
};

use crate::harness::{client, create_policy_request, deny_findings_from, revision_number, tools::serve};

const WRITERS: usize = 8;
/// The acknowledged writes of each round before the kill.
const WRITES_PER_ROUND: usize = 40;

/// The policies sent, and the revisions acknowledged, by policy id.
#[derive(Default)]
struct Ledger {
    sent: BTreeMap<String, Policy>,
    acknowledged: BTreeMap<String, String>,
}

fn draft(id: &str) -> Policy {
    Policy { description: format!("written as {id}, {}", "x".repeat(500)), ..deny_findings_from(Severity::High) }
}

/// Writes policies from several clients and kills the server while they write.
async fn write_and_kill(ecr: &str, store: &Path, round: usize, ledger: &Arc<Mutex<Ledger>>) {
    let server = serve(ecr, store).await;
    let enough = Arc::new(Notify::new());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = client(server.address).await;
        let (ledger, enough) = (Arc::clone(ledger), Arc::clone(&enough));
        writers.spawn(async move {
            for number in 0.. {
                let id = format!("r{round}-w{writer}-{number}");
                ledger.lock().await.sent.insert(id.clone(), draft(&id));
                let Ok(created) = client.create_policy(create_policy_request(&id, draft(&id))).await else { return };
                let mut ledger = ledger.lock().await;
                ledger.acknowledged.insert(id, created.revision);
                if ledger.acknowledged.len() >= (round + 1) * WRITES_PER_ROUND {
                    enough.notify_one();
                }
            }
        });
    }
    enough.notified().await;
    server.kill().await;
    writers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_loses_no_acknowledged_policy() {
    let ecr = Simulator::start_local(World::demo()).await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let store = state.path().join("scangate.db");
    let ledger = Arc::new(Mutex::new(Ledger::default()));

    for round in 0..3 {
        write_and_kill(&ecr.endpoint(), &store, round, &ledger).await;
        let server = serve(&ecr.endpoint(), &store).await;
        let reader = client(server.address).await;

        let listed = reader.list_policies(ListPoliciesRequest::default()).await.unwrap();

        let ledger = ledger.lock().await;
        let stored: BTreeMap<String, Policy> = listed
            .policies
            .into_iter()
            .map(|policy| (policy.name.trim_start_matches("policies/").to_owned(), policy))
            .collect();
        for (id, revision) in &ledger.acknowledged {
            assert_eq!(
                stored.get(id).map(|policy| policy.revision.as_str()),
                Some(revision.as_str()),
                "acknowledged {id} is lost"
            );
        }
        for (id, policy) in stored.iter().filter(|(id, _)| *id != "default") {
            let sent = ledger.sent.get(id).unwrap_or_else(|| panic!("{id} was not sent"));
            assert_eq!((&policy.description, &policy.rules), (&sent.description, &sent.rules), "{id} is incomplete");
            assert!(revision_number(&policy.revision) <= revision_number(&listed.revision));
        }
        server.kill().await;
    }
}
