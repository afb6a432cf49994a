//! Health checks: a server is ready if it can make and record decisions.

use std::{error::Error, pin::Pin, sync::Arc, time::Duration};

use scangate_proto::v1::{
    decision_service_server::SERVICE_NAME as DECISION_SERVICE, policy_service_server::SERVICE_NAME as POLICY_SERVICE,
    scan_gate_service_server::SERVICE_NAME as SCAN_GATE_SERVICE,
};
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_check_response::ServingStatus as WireStatus,
        health_server::{Health, HealthServer},
    },
    server::HealthService,
};

use crate::{decisions::Decisions, policies::Policies};

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

/// Starts the health service and its probe of the store.
pub(crate) async fn service(
    policies: Arc<Policies>,
    decisions: Arc<Decisions>,
) -> (HealthReporter, HealthServer<impl Health>) {
    let reporter = tonic_health::server::HealthReporter::new();
    let service = HealthServer::new(WatchableHealth(HealthService::from_health_reporter(reporter.clone())));
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

/// The health service with the protocol's answer to a watch of an unknown service: SERVICE_UNKNOWN, on a stream that stays open.
/// tonic's own answer is an error, which clients with health checks take as a server without them.
struct WatchableHealth(HealthService);

#[tonic::async_trait]
impl Health for WatchableHealth {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.check(request).await
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        match self.0.watch(request).await {
            Ok(known) => Ok(known.map(|statuses| Box::pin(statuses) as Self::WatchStream)),
            Err(status) if status.code() == Code::NotFound => {
                let unknown = HealthCheckResponse { status: WireStatus::ServiceUnknown.into() };
                let stream = tokio_stream::once(Ok(unknown)).chain(tokio_stream::pending());
                Ok(Response::new(Box::pin(stream)))
            }
            Err(status) => Err(status),
        }
    }
}
