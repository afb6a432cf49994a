//! The peer of a connection.

use std::{net::SocketAddr, sync::Arc};

use crate::auth::{Identity, Principal, Source};

/// The peer of a connection. Each request on the connection has it among its extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    /// The identity of its client certificate, or of its process on a Unix socket; `None` without a certificate.
    ///
    /// It was valid when the connection began. A connection outlives a certificate, so each call checks its expiry.
    pub principal: Option<Arc<Principal>>,
}

impl Peer {
    /// A peer at an address, without an identity.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address: Some(address), principal: None }
    }

    /// A process of this user on this machine.
    pub(super) fn process_of(uid: u32) -> Self {
        let identity = Identity {
            name: format!("uid:{uid}"),
            source: Source::UnixSocket,
            claims: std::collections::BTreeMap::new(),
            expire_time: None,
        };
        Self { address: None, principal: Some(Principal::new(identity)) }
    }
}
