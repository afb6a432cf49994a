//! The client and its program against a real gRPC server on a real socket, with scripted answers.
#![expect(clippy::unwrap_used, unreachable_pub, reason = "nobody calls into a test binary")]

mod answers;
mod calls;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod cli_policy;
mod decisions;
mod fake_gate;
mod findings;
mod retries;
mod tls;
