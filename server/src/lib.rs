//! The scan-gate server: the gate over Amazon ECR, wired together.
//!
//! Follow one request: [`serve`] wires, `grpc` validates, [`gate`] takes the policies' snapshot, asks the [`registry`] and
//! lets [`fn@scangate_core::decide`] decide.

pub mod config;
pub mod decisions;
#[cfg(feature = "demo")]
pub mod demo;
pub mod findings;
pub mod gate;
mod grpc;
mod health;
pub mod log;
pub mod observations;
pub mod openvex;
pub mod policies;
pub mod preview;
mod random;
pub mod registry;
mod retention;
pub mod scanning;
pub mod scans;
pub mod store;
pub mod telemetry;
mod transport;
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
    decisions::Decisions,
    gate::{Gate, Settings},
    grpc::{DecisionApi, Front, MAX_ANSWER, MAX_REQUEST, PolicyApi, RequestLayer, ScanGate, Services, WaiverTerms},
    log::Log,
    observations::Observations,
    policies::Policies,
    registry::{Registry, cached::Cached, ecr::Ecr},
    store::sql::{Address, OpenError, Sql, SqlLog},
    transport::Gathering,
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
    /// The log of decisions cannot be read.
    #[error("the log of decisions cannot be read")]
    Log(#[from] log::Error),
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
    let store = Arc::new(Sql::open(&config.store).await?);
    let log = Arc::new(SqlLog::new(&store));
    let outcome = serve_over(config, store, Arc::clone(&log) as _, listener, shutdown).await;
    log.close().await;
    outcome
}

/// Like [`serve`], over a store and a log of decisions that are open.
pub async fn serve_over(
    config: Config,
    store: Arc<Sql>,
    log: Arc<dyn Log>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let observations: Arc<dyn Observations> = Arc::clone(&store) as _;
    let policies = Policies::load(store, config.store_staleness).await?;
    let decisions = Arc::new(Decisions::new(Arc::clone(&log), Arc::clone(&policies)));
    let _retention = retention::keep(log, config.decision_retention);
    let registry: Arc<dyn Registry> = Arc::new(Cached::new(Ecr::connect(config.ecr()).await?, config.cache()));
    let waiver_terms = WaiverTerms { max_term: config.waiver_max_term, needs_approver: config.waiver_needs_approver };
    let findings_max_age = config.findings_max_age;
    let settings = Settings { findings_max_age, environments: config.environments.iter().cloned().collect() };
    let gate = Gate::new(
        Arc::clone(&registry),
        Arc::clone(&policies),
        Arc::clone(&observations),
        Arc::clone(&decisions),
        settings,
    );
    let stopping = CancellationToken::new();
    let services =
        Services { gate, registry, policies, observations, waiver_terms, decisions, findings_max_age, stopping };
    run(&config, services, listener, shutdown).await
}

/// Brings the schema of a store up to date, and begins a store where there is none.
pub async fn migrate(store: &Address) -> Result<(), Error> {
    Sql::open(store).await?;
    Ok(())
}

/// Follows every chain of the decision log in a store, and reads everything that decisions rest on.
pub async fn verify_decisions(store: &Address) -> Result<log::Report, Error> {
    let store = Sql::open_existing(store).await?;
    Ok(SqlLog::new(&store).verify().await?)
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
    let gate = ScanGate::new(services.clone());
    let policies = PolicyServiceServer::new(PolicyApi::new(services.clone()))
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_ANSWER);
    let decisions = DecisionServiceServer::new(DecisionApi::new(services.decisions, services.stopping.clone()))
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_ANSWER);
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
    let serving = server.serve_with_incoming_shutdown(Front::new(gate, others), incoming, async {
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
