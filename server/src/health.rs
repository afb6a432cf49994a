//! Health: readiness is "a decision can be made", and recorded.

use std::{sync::Arc, time::Duration};

use scangate_proto::v1::{
    decision_service_server::SERVICE_NAME as DECISIONS, policy_service_server::SERVICE_NAME as POLICIES,
    scan_gate_service_server::SERVICE_NAME as GATE,
};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::HealthReporter,
};

use crate::{decisions::Decisions, policies::Policies};

const LOOK: Duration = Duration::from_secs(2);

/// Reports health; looking ends when this is dropped.
pub(crate) struct Reporting {
    reporter: HealthReporter,
    looking: tokio::task::JoinHandle<()>,
}

impl Reporting {
    /// Says so for good: the server shuts down.
    pub(crate) async fn not_serving(&self) {
        self.looking.abort();
        report(&self.reporter, ServingStatus::NotServing).await;
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// The health service, kept true by looking at the store every two seconds.
pub(crate) async fn service(
    policies: Arc<Policies>,
    decisions: Arc<Decisions>,
) -> (Reporting, HealthServer<impl Health>) {
    let (reporter, service) = tonic_health::server::health_reporter();
    report(&reporter, ServingStatus::Serving).await;
    let looking = tokio::spawn(look(reporter.clone(), policies, decisions));
    (Reporting { reporter, looking }, service)
}

async fn look(reporter: HealthReporter, policies: Arc<Policies>, decisions: Arc<Decisions>) {
    let mut ready = true;
    loop {
        tokio::time::sleep(LOOK).await;
        let can_decide = can_decide(&policies, &decisions).await;
        if can_decide.is_ok() == ready {
            continue;
        }
        ready = can_decide.is_ok();
        match can_decide {
            Ok(()) => tracing::info!("decisions can be made again"),
            Err(error) => {
                let error = &*error as &(dyn std::error::Error + 'static);
                tracing::error!(error, "no decision can be made: the store does not answer, or takes nothing");
            }
        }
        report(&reporter, if ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    }
}

async fn can_decide(
    policies: &Policies,
    decisions: &Decisions,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    policies.ping().await?;
    Ok(decisions.ping().await?)
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for service in ["", GATE, POLICIES, DECISIONS] {
        reporter.set_service_status(service, status).await;
    }
}
