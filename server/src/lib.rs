//! The scan-gate server: the gate over Amazon ECR, wired together.
//!
//! Follow one request: [`serve`] wires, `grpc` validates, [`evaluation`] takes the policies' snapshot, asks the [`registry`] and
//! lets [`fn@scangate_core::decide`] decide.

pub mod cli;
pub mod config;
pub mod decision_log;
pub mod decisions;
#[cfg(feature = "demo")]
pub mod demo;
pub mod evaluation;
pub mod findings;
mod grpc;
mod health;
mod id;
pub mod idempotency;
mod net;
pub mod observations;
pub mod policies;
pub mod policy_store;
pub mod registry;
mod retention;
pub mod scan_reader;
pub mod scanning_config;
pub mod scans;
pub mod sql;
pub mod telemetry;
pub mod waivers;

use std::{future::Future, sync::Arc, time::Duration};

use scangate_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{decision_service_server::DecisionServiceServer, policy_service_server::PolicyServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    config::Config,
    decision_log::{DecisionLog, sql::SqlDecisionLog},
    decisions::Decisions,
    evaluation::{Evaluator, Settings},
    grpc::{
        DecisionService, FastPath, MAX_REQUEST, MAX_RESPONSE, PolicyService, RequestLayer, ScanGateService, Services,
        WaiverLimits,
    },
    net::write_coalescing::Gathering,
    observations::{Observations, sql::SqlObservations},
    policies::Policies,
    policy_store::sql::SqlPolicyStore,
    registry::{Registry, cache::CachedRegistry, ecr::Ecr},
    sql::{Address, Database, OpenError},
};

/// Streams that one connection may have open.
const MAX_STREAMS: u32 = 1024;
/// How long an idle connection lives between signs of life.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEADERS: u32 = 16 * 1024;

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy store cannot be opened.
    #[error("the policy store cannot be opened")]
    Store(#[from] OpenError),
    /// The decisions cannot be verified.
    #[error("the decisions cannot be verified")]
    Decisions(#[from] decisions::Error),
    /// The policies cannot be loaded.
    #[error("the policies cannot be loaded")]
    Policies(#[from] policies::Error),
    /// The registry cannot be set up.
    #[error("the registry cannot be set up")]
    Registry(#[from] registry::Error),
    /// Reflection cannot be set up.
    #[error("reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the transport failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves the gate on a listener until `shutdown` resolves, then lets running calls end within the configured grace period.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let database = Database::open(&config.store).await?;
    let log = Arc::new(SqlDecisionLog::new(&database));
    let outcome = serve_over(config, &database, Arc::clone(&log) as _, listener, shutdown).await;
    log.close().await;
    outcome
}

/// Like [`serve`], over a store and a log of decisions that are open.
pub async fn serve_over(
    config: Config,
    database: &Arc<Database>,
    log: Arc<dyn DecisionLog>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let observations: Arc<dyn Observations> = Arc::new(SqlObservations::new(database));
    let store = SqlPolicyStore::open(database).await.map_err(policies::Error::from)?;
    let policies = Policies::load(Arc::new(store), config.store_staleness).await?;
    let decisions = Arc::new(Decisions::new(Arc::clone(&log), Arc::clone(&policies)));
    let _retention = retention::keep(log, config.decision_retention);
    let registry: Arc<dyn Registry> = Arc::new(CachedRegistry::new(Ecr::connect(config.ecr()).await?, config.cache()));
    let waiver_limits =
        WaiverLimits { max_term: config.waiver_max_term, requires_approver: config.waiver_needs_approver };
    let findings_max_age = config.findings_max_age;
    let settings = Settings { findings_max_age, environments: config.environments.iter().cloned().collect() };
    let gate = Evaluator::new(
        Arc::clone(&registry),
        Arc::clone(&policies),
        Arc::clone(&observations),
        Arc::clone(&decisions),
        settings,
    );
    let stopping = CancellationToken::new();
    let services =
        Services { gate, registry, policies, observations, waiver_limits, decisions, findings_max_age, stopping };
    run(&config, services, listener, shutdown).await
}

/// Brings the schema of a store up to date, and begins a store where there is none.
pub async fn migrate(store: &Address) -> Result<(), Error> {
    let database = Database::open(store).await?;
    SqlPolicyStore::open(&database).await.map_err(policies::Error::from)?;
    Ok(())
}

/// Follows every chain of the decision log in a store, and reads everything that decisions rest on.
pub async fn verify_decisions(store: &Address) -> Result<decision_log::Report, Error> {
    let database = Database::open_existing(store).await?;
    let log = SqlDecisionLog::new(&database);
    Ok(decisions::verify(&log, &SqlPolicyStore::open_existing(&database)).await?)
}

async fn run(
    config: &Config,
    services: Services,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let (health, health_service) =
        health::service(Arc::clone(&services.policies), Arc::clone(&services.decisions)).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let gate = ScanGateService::new(services.clone());
    let policies = PolicyServiceServer::new(PolicyService::new(services.clone()))
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_RESPONSE);
    let decisions = DecisionServiceServer::new(DecisionService::new(services.decisions, services.stopping.clone()))
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_RESPONSE);
    let others = Routes::new(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(policies)
        .add_service(decisions);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(MAX_STREAMS)
        .layer(RequestLayer::new(config.max_concurrent_calls));

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).map(|accepted| accepted.map(Gathering::new));
    let serving = server.serve_with_incoming_shutdown(FastPath::new(gate, others), incoming, async {
        // A dropped sender stops the server just the same.
        stopped.await.ok();
    });
    tokio::pin!(serving);
    tokio::select! {
        outcome = &mut serving => return Ok(outcome?),
        () = shutdown => {}
    }
    tracing::info!("shutting down");
    health.not_serving().await;
    services.stopping.cancel();
    drop(stop);
    let Ok(outcome) = tokio::time::timeout(config.shutdown_grace, serving).await else {
        tracing::warn!("some calls did not end within the grace period and were cut off");
        return Ok(());
    };
    Ok(outcome?)
}
