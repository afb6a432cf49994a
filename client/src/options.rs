//! The options of a connection: endpoint, timeouts, TLS, identity, retries.

use std::{fmt, net::IpAddr, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{
    error::{BoxError, Error},
    retry::RetryPolicy,
    token::TokenSource,
};

/// The default timeout of a call, without the `wait` that it requests.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The time within which the server must respond to a keepalive ping; after it the connection counts as broken.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The options of a connection. They are checked by [`Client::connect`](crate::Client::connect).
///
/// ```
/// use std::time::Duration;
///
/// use scangate_client::{ConnectOptions, RetryPolicy};
///
/// let options = ConnectOptions::new("https://gate.example:443")
///     .call_timeout(Duration::from_secs(10))
///     .bearer_token("secret")
///     .retry(RetryPolicy::none());
///
/// // Secrets are not part of the debug output.
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct ConnectOptions {
    pub(crate) endpoint: String,
    connect_timeout: Duration,
    pub(crate) call_timeout: Duration,
    keepalive: Duration,
    user_agent: String,
    pub(crate) token_source: Option<TokenSource>,
    ca_certificate: Option<Vec<u8>>,
    domain: Option<String>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) retry: RetryPolicy,
}

impl ConnectOptions {
    /// The options for a server at `https://host:port`, `http://host:port` or `unix:/path` (a Unix socket).
    ///
    /// With `https`, the client trusts the certificate authorities of the operating system.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: CALL_TIMEOUT,
            keepalive: Duration::from_secs(30),
            user_agent: concat!("scangate-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            token_source: None,
            ca_certificate: None,
            domain: None,
            identity: None,
            retry: RetryPolicy::default(),
        }
    }

    /// Timeout of one attempt to open the connection. Default: 5 seconds.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Timeout of a call including its retries, sent to the server as the call's deadline. Default: 30 seconds.
    ///
    /// The `wait` of an evaluation is added to it.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Interval of HTTP/2 and TCP keepalive probes on an idle connection. Default: 30 seconds.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration) -> Self {
        self.keepalive = interval;
        self
    }

    /// The caller's `name/version` in the server's logs. Default: the name and version of this crate.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// The token that identifies the caller, without the prefix `Bearer`: a fixed one, or its [`TokenSource`]. Beyond this machine
    /// it requires `https://`.
    #[must_use]
    pub fn bearer_token(mut self, token: impl Into<TokenSource>) -> Self {
        self.token_source = Some(token.into());
        self
    }

    /// The certificate authorities to trust instead of those of the operating system, as PEM.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificate = Some(pem.into());
        self
    }

    /// The name that the server's certificate must have, for a server that is reached by another one, e.g. through a tunnel.
    /// Default: the host of the endpoint.
    #[must_use]
    pub fn domain(mut self, name: impl Into<String>) -> Self {
        self.domain = Some(name.into());
        self
    }

    /// The client certificate (chain) and its private key, as PEM. They identify the caller, unless it has a token.
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The retry policy of calls. [`RetryPolicy::none`] disables retries.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    pub(crate) fn build(&self) -> Result<Endpoint, Error> {
        let endpoint = Endpoint::from_shared(self.endpoint.clone()).map_err(|source| invalid("endpoint", source))?;
        let is_socket = self.endpoint.starts_with("unix:");
        let secure = match endpoint.uri().scheme_str() {
            _ if is_socket => false,
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(invalid("endpoint", "must start with https://, http:// or unix:")),
        };
        let endpoint = endpoint
            .user_agent(self.user_agent.as_str())
            .map_err(|source| invalid("user agent", source))?
            .connect_timeout(self.connect_timeout)
            .tcp_keepalive(Some(self.keepalive))
            .http2_keep_alive_interval(self.keepalive)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        if secure {
            return endpoint.tls_config(self.tls()).map_err(|source| invalid("TLS configuration", source));
        }
        if self.ca_certificate.is_some() || self.identity.is_some() || self.domain.is_some() {
            // Without this check, a wrong scheme would silently send unencrypted traffic.
            return Err(invalid("endpoint", "certificates require https://"));
        }
        if self.token_source.is_some() && !is_socket && !endpoint.uri().host().is_some_and(is_loopback) {
            return Err(invalid(
                "endpoint",
                "a token requires https:// beyond this machine: anyone between could use it",
            ));
        }
        Ok(endpoint)
    }

    fn tls(&self) -> ClientTlsConfig {
        let tls = match &self.ca_certificate {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let tls = match &self.domain {
            Some(name) => tls.domain_name(name),
            None => tls,
        };
        match &self.identity {
            Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
            None => tls,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectOptions")
            .field("endpoint", &self.endpoint)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("keepalive", &self.keepalive)
            .field("user_agent", &self.user_agent)
            .field("retry", &self.retry)
            // Secrets and certificates: only their presence is shown.
            .field("token_source", &self.token_source)
            .field("domain", &self.domain)
            .field("has_ca_certificate", &self.ca_certificate.is_some())
            .field("has_identity", &self.identity.is_some())
            .finish()
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn invalid(option: &'static str, source: impl Into<BoxError>) -> Error {
    Error::Options { option, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_secrets() {
        let options =
            ConnectOptions::new("https://gate.example").bearer_token("tok-123").identity("cert-456", "key-789");

        let debug = format!("{options:?}");

        assert!(!debug.contains("tok-123") && !debug.contains("key-789") && debug.contains("TokenSource(fixed)"));
    }

    #[test]
    fn endpoint_without_scheme_is_rejected() {
        let error = ConnectOptions::new("gate.example:50051").build().unwrap_err();

        assert_eq!(error.to_string(), "invalid endpoint");
    }

    #[test]
    fn token_in_plaintext_beyond_loopback_is_rejected() {
        let build = |endpoint| ConnectOptions::new(endpoint).bearer_token("tok-123").build();

        for endpoint in
            ["http://gate.example", "http://10.0.0.1:50051", "http://localhost.example", "http://[2001:db8::1]"]
        {
            assert_eq!(build(endpoint).unwrap_err().to_string(), "invalid endpoint", "{endpoint}");
        }
        for endpoint in
            ["https://gate.example", "http://127.0.0.1:1", "http://localhost", "http://[::1]:1", "unix:/run/gate"]
        {
            assert!(build(endpoint).is_ok(), "{endpoint}");
        }
    }

    #[test]
    fn certificates_with_http_endpoint_are_rejected() {
        let error = ConnectOptions::new("http://gate.example").ca_certificate("pem").build().unwrap_err();

        assert_eq!(error.to_string(), "invalid endpoint");
    }
}
