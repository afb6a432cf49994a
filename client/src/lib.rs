//! Client of the scan-gate: ask whether a container image on Amazon ECR may be deployed, and fail closed.
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
//! // The reference pinned by digest, and only if the gate allows the image: deploy exactly this.
//! println!("{}", decision.require_allowed()?);
//! # Ok(())
//! # }
//! ```
//!
//! Every call carries a deadline, and is retried where repeating it is safe ([`RetryPolicy`]). What an answer lacks is
//! never taken for permission: [`Decision::require_allowed`] hands out a reference for an enforced ALLOW and nothing else.
//!
//! The feature `cli` (on by default) adds the program `scangate`; the library alone needs `default-features = false`.

mod batch;
mod call;
mod client;
mod credentials;
mod decision;
mod error;
mod findings;
mod gate;
mod options;
mod policies;
mod retry;
mod watch;

pub use batch::BatchDecision;
pub use client::{Client, DecisionClient, GateClient, PolicyClient};
pub use credentials::Credentials;
pub use decision::{Decision, NotAllowed, Refusal};
pub use error::{Error, FieldViolation, Rejection};
pub use options::ConnectOptions;
/// The well-known types that messages have fields of, e.g. `Duration` and `Timestamp`.
pub use prost_types;
pub use retry::RetryPolicy;
/// The generated messages and clients of the contract.
pub use scangate_proto::v1;
/// The status codes of a [`Rejection`].
pub use tonic::Code;
pub use watch::ScanWatch;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
