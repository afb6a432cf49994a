//! The listener: it accepts connections over TCP or a Unix socket, makes TLS handshakes and establishes the identity of each peer.
//!
//! [`incoming`] yields the connections on which HTTP/2 can begin. No peer can delay another: handshakes run concurrently, with a
//! time limit, and each peer address has a share of them. Each connection carries its [`Peer`], which every request on it finds
//! among its extensions.

mod accept;
mod address;
mod certificate;
mod handshake_slots;
mod peer;
mod refusal_log;
mod socket;
pub mod tls;
mod write_coalescing;

pub use self::{
    accept::{Connection, incoming},
    address::{BindError, InvalidListen, Listen, Listener},
    peer::Peer,
    tls::Tls,
};
