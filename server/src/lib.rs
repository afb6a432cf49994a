//! The scan-gate server: a gate for deployments from Amazon ECR.
//!
//! The life of a request: [`serve`] wires the parts together, and `grpc` validates the request. [`evaluation`] takes a snapshot of
//! the policies, reads scans through the [`registry`] and calls [`fn@scangate_core::decide`].

pub mod auth;
mod bounded_file;
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
pub mod listen;
pub mod observations;
pub mod ops;
pub mod policies;
pub mod policy_store;
pub mod registry;
mod reload;
mod retention;
pub mod scan_reader;
pub mod scanning_config;
pub mod scans;
pub mod sql;
pub mod telemetry;
pub mod waivers;

use std::{future::Future, sync::Arc, time::Duration};

use jiff::SignedDuration;
use scangate_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{decision_service_server::DecisionServiceServer, policy_service_server::PolicyServiceServer},
};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::util::{Identity, Stack};

pub use grpc::wire_check;

use crate::{
    auth::{Access, Principal, token::Tokens},
    config::{Config, Security},
    decision_log::{DecisionLog, sql::SqlDecisionLog},
    decisions::Decisions,
    evaluation::{Evaluator, Settings},
    grpc::{
        Callers, DecisionService, Edge, FastPath, MAX_ENCODED_BYTES, MAX_REQUEST_BYTES, PolicyService, ScanGateService,
        Services, WaiverLimits,
    },
    idempotency::MAX_WINDOW,
    listen::{Listener, Tls, tls},
    observations::{Observations, sql::SqlObservations},
    ops::Readiness,
    policies::Policies,
    policy_store::sql::SqlPolicyStore,
    registry::{Registry, cache::CachedRegistry, ecr::Ecr},
    reload::Reload,
    sql::{Address, Database, OpenError},
};

/// The most concurrent HTTP/2 streams of one connection.
const MAX_STREAMS: u32 = 1024;
/// The interval between keep-alive pings on an idle connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// The time within which the peer must answer a ping before the connection is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest header list of a request, in bytes.
const MAX_HEADERS: u32 = 16 * 1024;
/// An error that stops the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is invalid.
    #[error("invalid configuration: {0}")]
    Config(#[from] config::Invalid),
    /// The address of the listener is unknown.
    #[error("cannot read the address of the listener")]
    Listener(#[source] std::io::Error),
    /// The store failed to open.
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    /// The decisions could not be verified.
    #[error("cannot verify the decisions")]
    Decisions(#[from] decisions::Error),
    /// The policies failed to load.
    #[error("cannot load the policies")]
    Policies(#[from] policies::Error),
    /// The registry could not be set up.
    #[error("cannot set up the registry")]
    Registry(#[from] registry::Error),
    /// The reflection service could not be set up.
    #[error("cannot set up reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The TLS files cannot be used.
    #[error("cannot use the TLS files")]
    Tls(#[from] tls::Error),
    /// The operations listener cannot be bound.
    #[error(transparent)]
    Ops(#[from] ops::BindError),
    /// The transport failed.
    #[error("transport failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves on a listener until `shutdown` resolves, then lets running calls finish within the configured grace period.
pub async fn serve(
    config: Config,
    listener: impl Into<Listener>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let entrance = Entrance::open(&config, listener.into()).await?;
    let database = Database::open(&config.store).await?;
    let log = Arc::new(SqlDecisionLog::new(&database));
    let outcome = serve_through(entrance, config, &database, Arc::clone(&log) as _, shutdown).await;
    log.close().await;
    outcome
}

/// Serves like [`serve`], over an open database and decision log.
pub async fn serve_over(
    config: Config,
    database: &Arc<Database>,
    log: Arc<dyn DecisionLog>,
    listener: impl Into<Listener>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let entrance = Entrance::open(&config, listener.into()).await?;
    serve_through(entrance, config, database, log, shutdown).await
}

async fn serve_through(
    entrance: Entrance,
    config: Config,
    database: &Arc<Database>,
    log: Arc<dyn DecisionLog>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let services = services(&config, entrance.approval_is_demanded, database, Arc::clone(&log)).await?;
    let _retention = retention::spawn(log, config.decision_retention);
    run(&config, services, entrance, shutdown).await
}

/// The way into the server, checked before anything else: its listener, and the callers that it admits.
struct Entrance {
    listener: Listener,
    callers: Callers,
    /// True if waivers need the approval of another caller.
    approval_is_demanded: bool,
    tls: Option<Arc<Tls>>,
    reload: Reload,
    /// The operations listener, which answers from the start on.
    readiness: Arc<Readiness>,
    operations: Option<ops::Operations>,
}

impl Entrance {
    async fn open(config: &Config, listener: Listener) -> Result<Self, Error> {
        let hangup = reload::catch_hangup();
        let listen = listener.address().map_err(Error::Listener)?;
        let security = Security::load(config, &listen)?;
        for warning in security.warnings() {
            tracing::warn!("{warning}");
        }
        let tls = config.tls().map(Tls::load).transpose()?;
        let access = Access::new(security.grants.clone());
        let anonymous = security.anonymous_role.is_some().then(|| Principal::new(auth::Identity::anonymous()));
        let tokens = Tokens::start(security.issuers.clone());
        let callers = Callers::new(Arc::clone(&access), Arc::clone(&tokens), anonymous);
        let approval_is_demanded = security.waiver_needs_approver;
        let reload = Reload { config: config.clone(), listen, security, access, tokens, tls: tls.clone(), hangup };
        let readiness = Arc::new(Readiness::starting());
        let operations = ops::bind(config.ops_listen).await?.map(|ops| ops::serve(ops, Arc::clone(&readiness)));
        Ok(Self { listener, callers, approval_is_demanded, tls, reload, readiness, operations })
    }
}

/// Updates the schema of a store, and creates the store if missing.
pub async fn migrate(store: &Address) -> Result<(), Error> {
    let database = Database::open(store).await?;
    SqlPolicyStore::open(&database).await.map_err(policies::Error::from)?;
    Ok(())
}

/// Verifies every chain of a store's decision log, and everything that decisions rest on.
pub async fn verify_decisions(store: &Address) -> Result<decision_log::Report, Error> {
    let database = Database::open_existing(store).await?;
    let log = SqlDecisionLog::new(&database);
    Ok(decisions::verify(&log, &SqlPolicyStore::open_existing(&database)).await?)
}

async fn services(
    config: &Config,
    approval_is_demanded: bool,
    database: &Arc<Database>,
    log: Arc<dyn DecisionLog>,
) -> Result<Services, Error> {
    let observations: Arc<dyn Observations> = Arc::new(SqlObservations::new(database));
    let store = SqlPolicyStore::open(database).await.map_err(policies::Error::from)?;
    let policies = Policies::load(Arc::new(store), config.store_staleness).await?;
    let decisions = Arc::new(Decisions::new(log, Arc::clone(&policies)));
    let registry: Arc<dyn Registry> = Arc::new(CachedRegistry::new(Ecr::connect(config.ecr()).await?, config.cache()));
    let settings = Settings {
        findings_max_age: config.findings_max_age,
        request_id_window: SignedDuration::try_from(config.request_id_window).unwrap_or(MAX_WINDOW),
        environments: config.environments.iter().cloned().collect(),
    };
    let stopping = CancellationToken::new();
    let gate = Evaluator::new(
        Arc::clone(&registry),
        Arc::clone(&policies),
        Arc::clone(&observations),
        Arc::clone(&decisions),
        settings,
        stopping.clone(),
    );
    let waiver_limits = WaiverLimits { max_term: config.waiver_max_term, approval_is_demanded };
    Ok(Services { gate, registry, policies, observations, waiver_limits, decisions, stopping })
}

async fn run(
    config: &Config,
    services: Services,
    entrance: Entrance,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let stopping = services.stopping.clone();
    let (policies, decisions) = (Arc::clone(&services.policies), Arc::clone(&services.decisions));
    let Entrance { listener, callers, tls, reload, readiness, operations: _operations, .. } = entrance;
    let (health, health_service) = health::service(policies, decisions, readiness, stopping.clone()).await;
    let service = grpc_service(services, health_service)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let address = reload.listen.to_string();
    telemetry::audit("start", &address, "Ok");
    let incoming = listen::incoming(listener, tls);
    let serving = server(config, callers).serve_with_incoming_shutdown(service, incoming, async {
        // A dropped sender stops the server just the same.
        stopped.await.ok();
    });
    tokio::pin!(serving);
    tokio::select! {
        outcome = &mut serving => return Ok(outcome?),
        () = reload.run() => {}
        () = shutdown => {}
    }
    tracing::info!("shutting down");
    telemetry::audit("stop", &address, "Ok");
    health.not_serving().await;
    stopping.cancel();
    drop(stop);
    let Ok(outcome) = tokio::time::timeout(config.shutdown_grace, serving).await else {
        tracing::warn!("grace period exceeded: remaining calls cancelled");
        return Ok(());
    };
    Ok(outcome?)
}

/// Builds the transport with its limits and the middleware.
fn server(config: &Config, callers: Callers) -> Server<Stack<Edge, Identity>> {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(MAX_STREAMS)
        .layer(Edge::new(config.max_concurrent_calls, callers))
}

/// Builds the service of all methods.
fn grpc_service(services: Services, health: HealthServer<impl Health>) -> Result<FastPath, Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let gate = ScanGateService::new(services.clone());
    let policies = PolicyServiceServer::new(PolicyService::new(services.clone()))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_ENCODED_BYTES);
    let decisions = DecisionServiceServer::new(DecisionService::new(services))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_ENCODED_BYTES);
    let routes = Routes::new(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(policies)
        .add_service(decisions);
    Ok(FastPath::new(gate, routes))
}
