//! The listener over real sockets: TLS, client certificates, reload, slow peers, Unix sockets.

#![expect(clippy::unwrap_used, reason = "a test panics on a failed step")]

mod client_certificates;
mod fixtures;
mod reload;
mod slow_peers;
mod unix_socket;
