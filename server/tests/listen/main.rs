//! The listener over real sockets: TLS, client certificates, reload, slow peers, Unix sockets.

mod client_certificates;
mod fixtures;
mod reload;
mod slow_peers;
mod unix_socket;
