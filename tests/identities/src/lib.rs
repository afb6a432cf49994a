//! Identities of tests and benchmarks: a certificate authority, an issuer of tokens, and a TLS client that insists on sending its
//! certificate.

mod authority;
mod issuer;
mod tls_client;

pub use self::{
    authority::{Authority, Pair, Purpose, Subject, Validity},
    issuer::Issuer,
    tls_client::client_config,
};
