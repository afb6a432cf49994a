//! Tests of the client and of `scangate` against a scripted gRPC server on a real socket.
#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test binary has no public API")]

mod calls;
#[cfg(feature = "cli")]
mod cli;
mod decisions;
mod fake_server;
mod findings;
mod fixtures;
mod retries;
mod tls;
mod tokens;
mod unix_socket;
