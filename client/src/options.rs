//! The options of a connection: endpoint, timeouts, TLS, identity, retries.

use std::{fmt, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{
    error::{BoxError, Error},
    retry::RetryPolicy,
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
    pub(crate) bearer_token: Option<String>,
    ca_certificate: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) retry: RetryPolicy,
}

impl ConnectOptions {
    /// The options for a server at `http://host:port` or `https://host:port`.
    ///
    /// With `https`, the client trusts the certificate authorities of the operating system.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: CALL_TIMEOUT,
            keepalive: Duration::from_secs(30),
            user_agent: concat!("scangate-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            bearer_token: None,
            ca_certificate: None,
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

    /// The token that identifies the caller, without the prefix `Bearer`. Over `http://` it is sent unencrypted.
    #[must_use]
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        self.bearer_token = Some(token.into());
        self
    }

    /// The certificate authorities to trust instead of those of the operating system, as PEM.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificate = Some(pem.into());
        self
    }

    /// The client certificate (chain) and its private key, as PEM, for a server that requires one.
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
        let secure = match endpoint.uri().scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(invalid("endpoint", "must start with http:// or https://")),
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
        if self.ca_certificate.is_some() || self.identity.is_some() {
            // Without this check, a wrong scheme would silently send unencrypted traffic.
            return Err(invalid("endpoint", "certificates require https://"));
        }
        Ok(endpoint)
    }

    fn tls(&self) -> ClientTlsConfig {
        let tls = match &self.ca_certificate {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
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
            .field("has_bearer_token", &self.bearer_token.is_some())
            .field("has_ca_certificate", &self.ca_certificate.is_some())
            .field("has_identity", &self.identity.is_some())
            .finish()
    }
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

        assert!(!debug.contains("tok-123") && !debug.contains("key-789") && debug.contains("has_bearer_token: true"));
    }

    #[test]
    fn endpoint_without_scheme_is_rejected() {
        let error = ConnectOptions::new("gate.example:50051").build().unwrap_err();

        assert_eq!(error.to_string(), "invalid endpoint");
    }

    #[test]
    fn certificates_with_http_endpoint_are_rejected() {
        let error = ConnectOptions::new("http://gate.example").ca_certificate("pem").build().unwrap_err();

        assert_eq!(error.to_string(), "invalid endpoint");
    }
}
