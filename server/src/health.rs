//! Health checks: a server is ready if it can make and record decisions.

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

use crate::{decisions::Decisions, grpc::HealthService, policies::Policies};

/// The interval between two probes of the store.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// A reporter of the server's health; its probe ends when it is dropped.
pub(crate) struct HealthReporter {
    reporter: tonic_health::server::HealthReporter,
    probe: JoinHandle<()>,
}

impl HealthReporter {
    /// Reports NOT_SERVING for good, since the server shuts down.
    pub(crate) async fn not_serving(&self) {
        self.probe.abort();
        report(&self.reporter, ServingStatus::NotServing).await;
    }
}

impl Drop for HealthReporter {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

/// Starts the health service and its probe of the store. Watches end when the server stops.
pub(crate) async fn service(
    policies: Arc<Policies>,
    decisions: Arc<Decisions>,
    stopping: CancellationToken,
) -> (HealthReporter, HealthServer<impl Health>) {
    let reporter = tonic_health::server::HealthReporter::new();
    let service = HealthServer::new(HealthService::new(reporter.clone(), stopping));
    report(&reporter, ServingStatus::Serving).await;
    let probe = tokio::spawn(probe(reporter.clone(), policies, decisions));
    (HealthReporter { reporter, probe }, service)
}

async fn probe(reporter: tonic_health::server::HealthReporter, policies: Arc<Policies>, decisions: Arc<Decisions>) {
    let mut is_ready = true;
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let result = can_decide(&policies, &decisions).await;
        if result.is_ok() == is_ready {
            continue;
        }
        is_ready = result.is_ok();
        match result {
            Ok(()) => tracing::info!("store available again: serving decisions"),
            Err(error) => {
                let error = &*error as &(dyn Error + 'static);
                tracing::error!(error, "store unavailable: no decision can be recorded; health is NOT_SERVING");
            }
        }
        report(&reporter, if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    }
}

async fn can_decide(policies: &Policies, decisions: &Decisions) -> Result<(), Box<dyn Error + Send + Sync>> {
    policies.ping().await?;
    Ok(decisions.ping().await?)
}

/// Reports a status for the whole server, whose name is empty, and for each service.
async fn report(reporter: &tonic_health::server::HealthReporter, status: ServingStatus) {
    for service in ["", SCAN_GATE_SERVICE, POLICY_SERVICE, DECISION_SERVICE] {
        reporter.set_service_status(service, status).await;
    }
}
