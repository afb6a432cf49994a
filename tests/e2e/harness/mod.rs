//! A gate for each test: the server on a free port, over a simulated ECR that the test defines.

pub mod callers;
pub mod oidc_provider;
pub mod raw;
pub mod tools;

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use scangate_client::{
    Client, ConnectOptions, Decision, Error, Rejection, RetryPolicy,
    v1::{
        self, CreatePolicyRequest, CreatePolicyResponse, CreateWaiverRequest, EvaluateGateRequest, FindingCondition,
        Policy, Rule, RuleEffect, Severity, Waiver, WaiverScope,
    },
};
use scangate_ecr_simulator::{Simulator, World};
use scangate_server::{config::Config, ops::OpsListen, registry::ecr::Credentials};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// The registry of the simulator.
pub const REGISTRY: &str = "123456789012/eu-west-1";

/// A running gate, which stops when dropped.
pub struct Gate {
    /// A client without retries.
    pub client: Client,
    /// The simulated ECR that it reads.
    pub ecr: Simulator,
    /// The address on which it listens.
    pub address: SocketAddr,
    /// The folder of its SQLite store.
    pub state: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), scangate_server::Error>>,
}

/// The number in a revision of this version's form, for tests that order revisions. It is opaque to callers.
pub fn revision_number(revision: &str) -> u64 {
    revision.strip_prefix("rev-").unwrap().parse().unwrap()
}

/// The settings of a gate to start.
pub struct Builder {
    world: World,
    store: Option<String>,
    address: SocketAddr,
    flags: Vec<String>,
    /// True if the gate serves TLS: then its own client cannot connect.
    is_tls: bool,
}

/// Begins a gate over this simulated ECR.
pub fn gate(world: World) -> Builder {
    Builder { world, store: None, address: ([127, 0, 0, 1], 0).into(), flags: Vec::new(), is_tls: false }
}

impl Builder {
    /// Adds a flag of `scangate-server serve`.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Uses this store instead of a new SQLite file.
    pub fn store(mut self, address: &str) -> Self {
        self.store = Some(address.to_owned());
        self
    }

    /// Serves TLS, by the flags that name its files. The gate's own client is not connected.
    pub fn tls(mut self) -> Self {
        self.is_tls = true;
        self
    }

    /// Listens on this address instead of a free port.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Starts the gate.
    pub async fn start(self) -> Gate {
        let ecr = Simulator::start_local(self.world).await.unwrap();
        let state = tempfile::tempdir().unwrap();
        let mut flags = vec!["--registry".to_owned(), REGISTRY.to_owned()];
        flags.extend(["--ecr-endpoint".to_owned(), ecr.endpoint()]);
        let store = self.store.unwrap_or_else(|| state.path().join("scangate.db").display().to_string());
        flags.extend(["--store".to_owned(), store]);
        flags.extend(self.flags);
        let listener = TcpListener::bind(self.address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(scangate_server::serve(config(&flags), listener, async {
            stopped.await.ok();
        }));
        let client = if self.is_tls { lazy_client(address) } else { client(address).await };
        Gate { client, ecr, address, state, stop: Some(stop), serving }
    }
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

/// The configuration for these flags of `scangate-server serve`, with credentials that only a simulator accepts.
pub fn config(flags: &[String]) -> Config {
    let flags = std::iter::once("serve".to_owned()).chain(flags.iter().cloned());
    let config = Flags::try_parse_from(flags).unwrap().config;
    // Servers of one process would take each other's port.
    Config { ecr_credentials: Credentials::Placeholder, ops_listen: OpsListen::None, ..config }
}

/// A client without retries: tests see the first response.
pub async fn client(address: SocketAddr) -> Client {
    Client::connect(client_options(address)).await.unwrap()
}

/// A client that connects with its first call.
fn lazy_client(address: SocketAddr) -> Client {
    Client::connect_lazy(client_options(address)).unwrap()
}

fn client_options(address: SocketAddr) -> ConnectOptions {
    ConnectOptions::new(format!("http://{address}")).call_timeout(Duration::from_mins(1)).retry(RetryPolicy::none())
}

impl Gate {
    /// Evaluates an image.
    pub async fn evaluate(&self, image: &str) -> Result<Decision, Error> {
        self.client.evaluate(evaluate_request(image)).await
    }

    /// Evaluates an image and returns its decision; panics on an error.
    pub async fn decide(&self, image: &str) -> v1::Decision {
        self.evaluate(image).await.unwrap().into_message()
    }

    /// Evaluates an image and returns the rejection; panics on a decision.
    pub async fn rejection(&self, image: &str) -> Rejection {
        rejection(self.evaluate(image).await)
    }

    /// Creates a policy; panics on an error.
    pub async fn create_policy(&self, id: &str, policy: Policy) -> CreatePolicyResponse {
        self.client.create_policy(create_policy_request(id, policy)).await.unwrap()
    }

    /// Creates a waiver; panics on an error.
    pub async fn create_waiver(&self, id: &str, waiver: Waiver) -> Waiver {
        let created = self.client.policies().create_waiver(create_waiver_request(id, waiver)).await.unwrap();
        created.into_inner().waiver.unwrap()
    }

    /// Stops the gate and waits until it has ended.
    pub async fn stop(mut self) -> Result<(), scangate_server::Error> {
        drop(self.stop.take());
        self.serving.await.unwrap()
    }
}

/// A request to evaluate an image, with all other fields at their defaults.
pub fn evaluate_request(image: &str) -> EvaluateGateRequest {
    EvaluateGateRequest { image: image.to_owned(), ..Default::default() }
}

/// The rejection that a client returned; panics on a response.
#[track_caller]
pub fn rejection<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Rejection {
    match outcome {
        Ok(response) => panic!("unexpected response: {response:?}"),
        Err(error) => error.rejection().cloned().unwrap_or_else(|| panic!("no rejection: {error:?}")),
    }
}

/// The rejection that a generated client returned; panics on a response.
#[track_caller]
pub fn status_rejection<T: std::fmt::Debug>(outcome: Result<T, tonic::Status>) -> Rejection {
    match outcome {
        Ok(response) => panic!("unexpected response: {response:?}"),
        Err(status) => Rejection::from(&status),
    }
}

/// A policy that denies every finding of this severity or above.
pub fn deny_findings_from(severity: Severity) -> Policy {
    let when = FindingCondition { min_severity: severity.into(), ..Default::default() };
    let effect = RuleEffect::Deny.into();
    let rule = Rule { id: "none".to_owned(), when: Some(when), effect, ..Default::default() };
    Policy { rules: vec![rule], ..Default::default() }
}

/// A request to create a policy.
pub fn create_policy_request(id: &str, policy: Policy) -> CreatePolicyRequest {
    CreatePolicyRequest { policy_id: id.to_owned(), policy: Some(policy), ..Default::default() }
}

/// A waiver for a vulnerability in every image.
pub fn waiver(vulnerability: &str) -> Waiver {
    let scope =
        WaiverScope { vulnerability_id: vulnerability.to_owned(), everywhere: Some(true), ..Default::default() };
    Waiver { scope: Some(scope), reason: "not reachable".to_owned(), ..Default::default() }
}

/// A request to create a waiver.
pub fn create_waiver_request(id: &str, waiver: Waiver) -> CreateWaiverRequest {
    CreateWaiverRequest { waiver_id: id.to_owned(), waiver: Some(waiver), ..Default::default() }
}
