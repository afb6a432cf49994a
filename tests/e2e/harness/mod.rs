//! A gate for a test: the real server on a free port, over a simulated ECR of the test's making.

pub mod tools;

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use scangate_client::{
    Client, ConnectOptions, Decision, Error, Rejection, RetryPolicy,
    v1::{self, CreatePolicyRequest, EvaluateGateRequest, FindingFilter, Policy, Rule, RuleEffect, Severity},
};
use scangate_ecr_simulator::{Simulator, World};
use scangate_server::{config::Config, registry::ecr::Credentials};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// The registry of the simulator.
pub const REGISTRY: &str = "123456789012/eu-west-1";

/// A running gate; stops when it is dropped.
pub struct Gate {
    /// The client.
    pub client: Client,
    /// The simulated ECR behind it.
    pub ecr: Simulator,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its policies are.
    pub state: TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), scangate_server::Error>>,
}

/// A gate in the making.
pub struct Builder {
    world: World,
    store: Option<String>,
    flags: Vec<String>,
}

/// A gate over this world.
pub fn gate(world: World) -> Builder {
    Builder { world, store: None, flags: Vec::new() }
}

impl Builder {
    /// With a flag of `scangate-server serve`.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// With this store, and not with one of its own.
    pub fn store(mut self, address: &str) -> Self {
        self.store = Some(address.to_owned());
        self
    }

    /// Starts it.
    pub async fn start(self) -> Gate {
        let ecr = Simulator::start_local(self.world).await.unwrap();
        let state = tempfile::tempdir().unwrap();
        let mut flags = vec!["--registry".to_owned(), REGISTRY.to_owned()];
        flags.extend(["--ecr-endpoint".to_owned(), ecr.endpoint()]);
        let store = self.store.unwrap_or_else(|| state.path().join("scangate.db").display().to_string());
        flags.extend(["--store".to_owned(), store]);
        flags.extend(self.flags);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(scangate_server::serve(config(&flags), listener, async {
            stopped.await.ok();
        }));
        let client = client(address).await;
        Gate { client, ecr, address, state, stop: Some(stop), serving }
    }
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

/// The configuration that these flags of `scangate-server serve` make, with credentials that only a simulator takes.
pub fn config(flags: &[String]) -> Config {
    let flags = std::iter::once("serve".to_owned()).chain(flags.iter().cloned());
    Config { ecr_credentials: Credentials::Placeholder, ..Flags::try_parse_from(flags).unwrap().config }
}

/// A client that does not retry: tests see the first answer.
pub async fn client(address: SocketAddr) -> Client {
    let options = ConnectOptions::new(format!("http://{address}"))
        .call_timeout(Duration::from_mins(1))
        .retry(RetryPolicy::none());
    Client::connect(options).await.unwrap()
}

impl Gate {
    /// Asks about an image.
    pub async fn evaluate(&self, image: &str) -> Result<Decision, Error> {
        self.client.evaluate(question(image)).await
    }

    /// Asks about an image that there is an answer about.
    pub async fn decide(&self, image: &str) -> v1::Decision {
        self.evaluate(image).await.unwrap().into_message()
    }

    /// Asks about an image that there is no answer about.
    pub async fn refusal(&self, image: &str) -> Rejection {
        rejection(self.evaluate(image).await)
    }

    /// Stops it and waits for its end.
    pub async fn stop(mut self) -> Result<(), scangate_server::Error> {
        drop(self.stop.take());
        self.serving.await.unwrap()
    }
}

/// A question about an image, without anything else.
pub fn question(image: &str) -> EvaluateGateRequest {
    EvaluateGateRequest { image: image.to_owned(), ..Default::default() }
}

/// What the gate said instead of an answer.
#[track_caller]
pub fn rejection<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Rejection {
    match outcome {
        Ok(answer) => panic!("the gate answered: {answer:?}"),
        Err(error) => error.rejection().cloned().unwrap_or_else(|| panic!("no rejection: {error:?}")),
    }
}

/// What a generated client was told instead of an answer.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, tonic::Status>) -> Rejection {
    match outcome {
        Ok(answer) => panic!("the gate answered: {answer:?}"),
        Err(status) => Rejection::from(&status),
    }
}

/// A policy that allows no finding of a severity or above.
pub fn no_findings_from(severity: Severity) -> Policy {
    let when = FindingFilter { min_severity: severity.into(), ..Default::default() };
    let effect = RuleEffect::Deny.into();
    let rule = Rule { id: "none".to_owned(), when: Some(when), effect, ..Default::default() };
    Policy { rules: vec![rule], ..Default::default() }
}

/// A request to create a policy.
pub fn create(id: &str, policy: Policy) -> CreatePolicyRequest {
    CreatePolicyRequest { policy_id: id.to_owned(), policy: Some(policy), ..Default::default() }
}
