//! The scan-gate server: a gate for deployments from Amazon ECR.
//!
//! The life of a request: [`serve`] wires the parts together, and `grpc` validates the request. [`evaluation`] takes a snapshot of
//! the policies, reads scans through the [`registry`] and calls [`fn@scangate_core::decide`].

pub mod auth;
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
    auth::{
        Access, Grant, Permission, Principal,
        token::{Issuers, Tokens},
    },
    config::Config,
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
    policies::Policies,
    policy_store::sql::SqlPolicyStore,
    registry::{Registry, cache::CachedRegistry, ecr::Ecr},
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
/// The interval between two comparisons of the TLS files with those in force.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// An error that stops the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Waivers cannot be approved.
    #[error(
        "waivers cannot be approved: --waiver-needs-approver needs callers with an identity, and this version has no source of \
         identities; remove the option, and let a proxy in front of the server decide who may write waivers"
    )]
    NoIdentitySource,
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
    /// TLS is configured for a Unix socket.
    #[error("a Unix socket has no TLS; remove --tls-cert, or listen on IP:PORT")]
    TlsOverUnixSocket,
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
    if config.waiver_needs_approver {
        return Err(Error::NoIdentitySource);
    }
    let database = Database::open(&config.store).await?;
    let log = Arc::new(SqlDecisionLog::new(&database));
    let outcome = serve_over(config, &database, Arc::clone(&log) as _, listener, shutdown).await;
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
    let listener = listener.into();
    let tls = load_tls(&config, &listener)?;
    let services = services(&config, database, Arc::clone(&log)).await?;
    let _retention = retention::spawn(log, config.decision_retention);
    run(&config, services, listener, tls, shutdown).await
}

/// Loads the TLS files.
fn load_tls(config: &Config, listener: &Listener) -> Result<Option<Arc<Tls>>, Error> {
    match (config.tls(), listener) {
        (None, _) => Ok(None),
        (Some(_), Listener::Unix(_)) => Err(Error::TlsOverUnixSocket),
        (Some(files), Listener::Tcp(_)) => Ok(Some(Tls::load(files)?)),
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

async fn services(config: &Config, database: &Arc<Database>, log: Arc<dyn DecisionLog>) -> Result<Services, Error> {
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
    let waiver_limits = WaiverLimits { max_term: config.waiver_max_term };
    Ok(Services { gate, registry, policies, observations, waiver_limits, decisions, stopping })
}

async fn run(
    config: &Config,
    services: Services,
    listener: Listener,
    tls: Option<Arc<Tls>>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let stopping = services.stopping.clone();
    let (policies, decisions) = (Arc::clone(&services.policies), Arc::clone(&services.decisions));
    let (health, health_service) = health::service(policies, decisions, stopping.clone()).await;
    let service = grpc_service(services, health_service)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let incoming = listen::incoming(listener, tls.clone());
    let serving = server(config).serve_with_incoming_shutdown(service, incoming, async {
        // A dropped sender stops the server just the same.
        stopped.await.ok();
    });
    tokio::pin!(serving);
    tokio::select! {
        outcome = &mut serving => return Ok(outcome?),
        () = reload(tls) => {}
        () = shutdown => {}
    }
    tracing::info!("shutting down");
    health.not_serving().await;
    stopping.cancel();
    drop(stop);
    let Ok(outcome) = tokio::time::timeout(config.shutdown_grace, serving).await else {
        tracing::warn!("grace period exceeded: remaining calls cancelled");
        return Ok(());
    };
    Ok(outcome?)
}

/// Keeps the TLS files current, for ever.
async fn reload(tls: Option<Arc<Tls>>) {
    loop {
        tokio::time::sleep(RELOAD_INTERVAL).await;
        if let Some(tls) = &tls {
            // It logs its failures; the earlier files stay in force.
            tls.reload().await.ok();
        }
    }
}

/// Builds the transport with its limits and the middleware.
fn server(config: &Config) -> Server<Stack<Edge, Identity>> {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(MAX_STREAMS)
        .layer(Edge::new(config.max_concurrent_calls, callers()))
}

/// Builds the callers: without a source of identities, every caller is anonymous and may do everything.
fn callers() -> Callers {
    let everything = Grant::to_anonymous(&Permission::ALL);
    let tokens = Tokens::start(Issuers::default());
    Callers::new(Access::new(vec![everything]), tokens, Some(Principal::new(auth::Identity::anonymous())))
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
