//! Identities: the name of a caller, and its source.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::Caller;

/// The name of callers without an identity.
pub const ANONYMOUS: &str = "anonymous";

/// The source of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client certificate.
    Certificate,
    /// A JSON Web Token.
    Token,
    /// The credentials of the peer of a Unix socket.
    UnixSocket,
    /// No source: an anonymous caller.
    None,
}

impl Source {
    /// Returns the name in log lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::UnixSocket => "unix_socket",
            Self::None => "none",
        }
    }
}

/// The identity of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name, e.g. `spiffe://example.org/ci`, `dns:ci.example.org`, `github:repo:acme/shop`, `uid:1000` or `anonymous`.
    pub name: String,
    /// Its source.
    pub source: Source,
    /// The claims of a token as text, for grants that demand values of them; empty for other sources.
    pub claims: BTreeMap<String, String>,
    /// The instant from which the identity no longer counts; `None`: no end.
    pub expire_time: Option<Timestamp>,
}

impl Identity {
    /// The identity of a caller without one.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), source: Source::None, claims: BTreeMap::new(), expire_time: None }
    }
}

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// True for a name of printable ASCII characters without spaces at its ends: two names that look equal are equal.
pub fn is_valid_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| (b' '..=b'~').contains(&b))
        && !name.starts_with(' ')
        && !name.ends_with(' ')
}

/// An established identity, with the caller that the grants made of it.
#[derive(Debug)]
pub struct Principal {
    identity: Identity,
    /// The caller of the latest lookup. It is looked up again if the grants have changed since.
    pub(super) caller: ArcSwapOption<Caller>,
    /// True once its source no longer stands for it.
    withdrawn: Arc<AtomicBool>,
}

impl Principal {
    /// Creates a principal.
    pub fn new(identity: Identity) -> Arc<Self> {
        Self::until_withdrawn(identity, Arc::default())
    }

    /// Creates a principal that its source can withdraw, with all others that share the flag.
    pub(super) fn until_withdrawn(identity: Identity, withdrawn: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self { identity, caller: ArcSwapOption::empty(), withdrawn })
    }

    /// True if the source of the identity was removed from the configuration since.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Relaxed)
    }

    /// The identity.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}
