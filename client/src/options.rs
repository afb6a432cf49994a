//! How to reach a gate: endpoint, times, TLS, identity, retries.

use std::{fmt, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{
    error::{BoxError, Error},
    retry::RetryPolicy,
};

const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach a gate. Nothing is checked before [`Client::connect`](crate::Client::connect).
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
    /// A gate at `http://host:port` or, with TLS and the machine's certificate authorities, `https://host:port`.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(30),
            user_agent: concat!("scangate-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            bearer_token: None,
            ca_certificate: None,
            identity: None,
            retry: RetryPolicy::default(),
        }
    }

    /// How long one attempt to open the connection may take. 5 seconds.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may take, retries included; the server learns it as the call's deadline. 30 seconds.
    ///
    /// A call that asks the server to `wait` for a scan gets that time on top.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How long the connection may be silent before it is probed, by HTTP/2 and by TCP. 30 seconds.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration) -> Self {
        self.keepalive = interval;
        self
    }

    /// Who is calling, for the server's logs: `name/version`. This crate's own by default.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// The token that identifies the caller, without the word `Bearer`. On `http://` it travels in the clear.
    #[must_use]
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        self.bearer_token = Some(token.into());
        self
    }

    /// PEM of the certificate authorities to trust instead of the machine's.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificate = Some(pem.into());
        self
    }

    /// PEM of the client certificate (chain) and its private key, for a gate that asks for one.
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// When and how often to repeat a call. [`RetryPolicy::none`] never does.
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
            Some(_) | None => return Err(invalid("endpoint", "it must start with http:// or https://")),
        };
        let endpoint = endpoint
            .user_agent(self.user_agent.as_str())
            .map_err(|source| invalid("user agent", source))?
            .connect_timeout(self.connect_timeout)
            .tcp_keepalive(Some(self.keepalive))
            .http2_keep_alive_interval(self.keepalive)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        if secure {
            return endpoint.tls_config(self.tls()).map_err(|source| invalid("TLS material", source));
        }
        if self.ca_certificate.is_some() || self.identity.is_some() {
            // Certificates with a plain endpoint are a mistake that would go unnoticed until someone listens.
            return Err(invalid("endpoint", "certificates need https://"));
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
            // Secrets and bulky material: whether they are there is all that helps.
            .field("has_bearer_token", &self.bearer_token.is_some())
            .field("has_ca_certificate", &self.ca_certificate.is_some())
            .field("has_identity", &self.identity.is_some())
            .finish()
    }
}

fn invalid(what: &'static str, source: impl Into<BoxError>) -> Error {
    Error::Options { what, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let options =
            ConnectOptions::new("https://gate.example").bearer_token("tok-123").identity("cert-456", "key-789");

        let shown = format!("{options:?}");

        assert!(!shown.contains("tok-123") && !shown.contains("key-789") && shown.contains("has_bearer_token: true"));
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_refused() {
        let error = ConnectOptions::new("gate.example:50051").build().unwrap_err();

        assert_eq!(error.to_string(), "cannot use this endpoint");
    }

    #[test]
    fn certificates_on_a_plain_endpoint_are_refused() {
        let error = ConnectOptions::new("http://gate.example").ca_certificate("pem").build().unwrap_err();

        assert_eq!(error.to_string(), "cannot use this endpoint");
    }
}
