//! Health checks: a server is ready if it can make and record decisions.
//!
//! A failing ECR, an unreachable issuer of tokens or an expiring certificate leave it ready: they concern all servers at once, and
//! warm answers go on.

use std::{error::Error, sync::Arc, time::Duration};

use scangate_proto::v1::{
    decision_service_server::SERVICE_NAME as DECISION_SERVICE, policy_service_server::SERVICE_NAME as POLICY_SERVICE,
    scan_gate_service_server::SERVICE_NAME as SCAN_GATE_SERVICE,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
};

use crate::{
    decisions::Decisions,
    grpc::HealthService,
    ops::{Check, Readiness},
    policies::Policies,
};

/// The interval between two probes of the store.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// The time limit of a probe; a store that takes longer is unavailable.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// A reporter of the server's health; its probe ends when it is dropped.
pub(crate) struct HealthReporter {
    statuses: tonic_health::server::HealthReporter,
    readiness: Arc<Readiness>,
    probe: JoinHandle<()>,
}

impl HealthReporter {
    /// Reports NOT_SERVING for good, since the server shuts down.
    pub(crate) async fn not_serving(&self) {
        self.probe.abort();
        self.readiness.stop();
        report(&self.statuses, false).await;
    }
}

impl Drop for HealthReporter {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

/// Starts the health service and its probe of the store. The first probe ends before this returns. Watches end when the server
/// stops.
pub(crate) async fn service(
    policies: Arc<Policies>,
    decisions: Arc<Decisions>,
    readiness: Arc<Readiness>,
    stopping: CancellationToken,
) -> (HealthReporter, HealthServer<impl Health>) {
    let statuses = tonic_health::server::HealthReporter::new();
    let service = HealthServer::new(HealthService::new(statuses.clone(), stopping));
    let mut probe = Probe { policies, decisions, readiness: Arc::clone(&readiness), is_ready: true };
    probe.run().await;
    report(&statuses, probe.is_ready).await;
    let reporter = statuses.clone();
    let probe = tokio::spawn(async move {
        loop {
            tokio::time::sleep(PROBE_INTERVAL).await;
            let was_ready = probe.is_ready;
            probe.run().await;
            if probe.is_ready != was_ready {
                report(&reporter, probe.is_ready).await;
            }
        }
    });
    (HealthReporter { statuses, readiness, probe }, service)
}

/// The checks of the store, and the result of the latest ones.
struct Probe {
    policies: Arc<Policies>,
    decisions: Arc<Decisions>,
    readiness: Arc<Readiness>,
    is_ready: bool,
}

impl Probe {
    /// Runs all checks. A change of their outcome is logged.
    async fn run(&mut self) {
        let (policies, decisions) = tokio::join!(check(self.policies.ping()), check(self.decisions.ping()));
        let was_ready = std::mem::replace(&mut self.is_ready, policies.is_ok() && decisions.is_ok());
        self.readiness.set(vec![
            outcome("policies", &policies, "the policies cannot be confirmed; the server's log has the cause"),
            outcome("decision_log", &decisions, "no decision can be recorded; the server's log has the cause"),
        ]);
        match policies.and(decisions) {
            Ok(()) if !was_ready => tracing::info!("store available again: serving decisions"),
            Err(error) if was_ready => {
                let error = &*error as &(dyn Error + 'static);
                tracing::error!(error, "store unavailable: no decision can be recorded; health is NOT_SERVING");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

type CheckResult = Result<(), Box<dyn Error + Send + Sync>>;

async fn check<E: Error + Send + Sync + 'static>(ping: impl Future<Output = Result<(), E>>) -> CheckResult {
    Ok(tokio::time::timeout(PROBE_TIMEOUT, ping).await??)
}

fn outcome(name: &'static str, result: &CheckResult, problem: &'static str) -> Check {
    Check { name, problem: result.is_err().then_some(problem) }
}

/// Reports a status for the whole server, whose name is empty, and for each service.
async fn report(reporter: &tonic_health::server::HealthReporter, is_ready: bool) {
    let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in ["", SCAN_GATE_SERVICE, POLICY_SERVICE, DECISION_SERVICE] {
        reporter.set_service_status(service, status).await;
    }
}
