//! Client for scan-gate: checks whether a container image on Amazon ECR may be deployed, and fails closed.
//!
//! One rule: **deploy only what a `deploy_image` says**. [`Decision::require_allowed`] returns the decision's own;
//! [`Decision::require_allowed_manifests`] returns the one of each manifest, for several but not all platforms of an index.
//!
//! ```no_run
//! use scangate_client::{Client, ConnectOptions, v1::EvaluateGateRequest};
//!
//! # async fn deploy() -> Result<(), scangate_client::Error> {
//! let client = Client::connect(ConnectOptions::new("http://127.0.0.1:50051")).await?;
//! let decision = client
//!     .evaluate(EvaluateGateRequest {
//!         image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:2.3.0".into(),
//!         environment: "prod".into(),
//!         ..Default::default()
//!     })
//!     .await?;
//! // The reference pinned by digest, only if the image is allowed: deploy exactly this one.
//! println!("{}", decision.require_allowed()?);
//! # Ok(())
//! # }
//! ```
//!
//! Every call has a deadline and is retried where a repetition is safe ([`RetryPolicy`]). A missing field never permits
//! a deployment: [`Decision::require_allowed`] returns a reference for a consistent ALLOW only. A simulation
//! ([`Client::simulate`]) has no reference.
//!
//! Complete programs are in [`examples/`](https://github.com/scan-gate/scan-gate/tree/main/client/examples).
//!
//! The feature `cli` (on by default) adds the program `scangate`. For the library alone, set `default-features = false`.

mod batch;
mod call;
mod client;
mod credentials;
mod decision;
mod duration;
mod error;
mod findings;
mod gate;
mod options;
mod policies;
mod retry;
mod token;
mod watch;

pub use batch::BatchDecision;
pub use client::{Client, DecisionClient, GateClient, PolicyClient};
pub use credentials::Transport;
pub use decision::{Decision, NotAllowed, Refusal};
pub use error::{Error, FieldViolation, Rejection};
pub use options::ConnectOptions;
/// The well-known types of message fields, e.g. `Duration` and `Timestamp`.
pub use prost_types;
pub use retry::RetryPolicy;
/// The generated messages and clients of the contract `scangate.v1`.
pub use scangate_proto::v1;
pub use token::{TokenFailure, TokenSource};
/// The gRPC status code of a [`Rejection`].
pub use tonic::Code;
pub use watch::{Watch, WatchRequest};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
