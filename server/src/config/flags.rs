//! The server's configuration. Each field is a flag and an environment variable; its doc comment is the manual.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};
use jiff::{Span, SpanRelativeTo};
use scangate_core::{name::Environment, registry::Registry as RegistryId};

use crate::{
    idempotency::MAX_WINDOW,
    listen::{Listen, tls},
    ops::OpsListen,
    registry::{cache, ecr},
    sql::Address,
};

/// The smallest `--store-staleness`: servers poll the store every half second, so less would fail between two polls.
const MIN_STORE_STALENESS: Duration = Duration::from_secs(1);

/// The smallest `--request-id-window`.
const MIN_REQUEST_ID_WINDOW: Duration = Duration::from_secs(1);

/// The configuration of a server.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to listen on: IP:PORT, or unix:/PATH for a Unix socket.
    ///
    /// The file of a Unix socket gets the mode 0660, and each caller on it has the identity `uid:UID`. The file that an ended
    /// server left is replaced.
    #[arg(long, default_value = "127.0.0.1:50051", env = "SCANGATE_LISTEN", value_name = "ADDRESS")]
    pub listen: Listen,
    /// PEM file with the TLS certificate of the server, followed by its intermediates (at most 1 MiB).
    ///
    /// Connections then use TLS 1.2 or 1.3. The server reads the TLS files again every 10s. A changed set serves new
    /// connections; an unreadable or inconsistent one changes nothing and is logged at ERROR. A Unix socket has no TLS.
    #[arg(long, requires = "tls_key", env = "SCANGATE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of `--tls-cert` (at most 1 MiB).
    #[arg(long, requires = "tls_cert", env = "SCANGATE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// PEM file with the CAs of client certificates (at most 1 MiB).
    ///
    /// A client certificate gives its caller an identity: its SPIFFE ID, else `dns:` and its first DNS name, else `cn:` and its
    /// common name. A certificate that does not verify, or has two SPIFFE IDs, fails the handshake.
    #[arg(long, requires = "tls_cert", env = "SCANGATE_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// PEM file with the certificate revocation lists of `--tls-client-ca` (at most 16 MiB).
    ///
    /// Each CA and intermediate CA that issued a client certificate then needs a list that is not past its next update, else
    /// the certificate is refused.
    #[arg(long, requires = "tls_client_ca", env = "SCANGATE_TLS_CRL", value_name = "FILE")]
    pub tls_crl: Option<PathBuf>,
    /// Serve without TLS beyond loopback, e.g. behind a proxy that ends TLS. Tokens and answers are then readable on the network.
    #[arg(long, env = "SCANGATE_INSECURE_PLAINTEXT", num_args = 0..=1, default_value_t, default_missing_value = "true", action = ArgAction::Set)]
    pub insecure_plaintext: bool,
    /// TOML file with issuers of tokens, roles and grants (at most 1 MiB); docs/configuration.md describes it.
    ///
    /// The server reads it again every 10s. A changed file applies from the next call on; an unreadable or inconsistent one
    /// changes nothing and is logged at ERROR. The first issuer cannot be added, nor the last one removed, without a restart.
    #[arg(long, env = "SCANGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Role of callers without an identity, e.g. reader; they are served under the name `anonymous`.
    ///
    /// Default: they are refused if the server has a source of identities (client certificates, issuers of tokens or a Unix
    /// socket). Without a source and without this option, the server listens on loopback only, and every caller has the role
    /// admin.
    #[arg(long, env = "SCANGATE_ANONYMOUS_ROLE", value_name = "ROLE")]
    pub anonymous_role: Option<String>,
    /// Check the configuration, print it and exit: with 0, or with 64 and each problem.
    ///
    /// All files are read, TLS certificates and keys of issuers among them. Secrets are printed as `***`. No socket is bound, no
    /// store is opened and AWS is not called.
    #[arg(long)]
    pub check: bool,
    /// Address of the operations listener, or none: plain HTTP/1 with `/livez`, `/readyz` and `/readyz?verbose`.
    ///
    /// It has no TLS and no identities, and answers nothing secret. `scangate-server probe` asks it. On an address beyond
    /// loopback, let only the orchestrator reach it.
    #[arg(long, default_value = "127.0.0.1:9464", env = "SCANGATE_OPS_LISTEN", value_name = "ADDRESS")]
    pub ops_listen: OpsListen,
    /// Store of policies, waivers and decisions: a SQLite file, or a PostgreSQL URL.
    ///
    /// A SQLite file serves one server and is created if missing. PostgreSQL serves several servers, as
    /// `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full`. Prefer the environment variable for a URL with a password:
    /// other users of the machine can see command lines. The value is never logged.
    #[arg(long, default_value = "scangate.db", env = "SCANGATE_STORE", hide_env_values = true)]
    pub store: Address,
    /// Maximum age of the in-memory policy snapshot (minimum 1s).
    ///
    /// The server confirms the snapshot twice a second and at each write. If the store is unreachable for
    /// longer than this, EvaluateGate returns UNAVAILABLE.
    #[arg(long, default_value = "5s", env = "SCANGATE_STORE_STALENESS", value_name = "DURATION", value_parser = parse_staleness)]
    pub store_staleness: Duration,
    /// Maximum term of a waiver, from its start to its expiry; a longer one is refused.
    #[arg(long, default_value = "365d", env = "SCANGATE_WAIVER_MAX_TERM", value_name = "DURATION", value_parser = parse_duration)]
    pub waiver_max_term: Duration,
    /// Require the approval of each waiver by another caller; until then it covers nothing.
    ///
    /// Default: true if the server has a source of identities (client certificates, issuers of tokens or a Unix socket), else
    /// false. Without such a source, waivers cannot be approved, and the server refuses to start with this option.
    #[arg(long, env = "SCANGATE_WAIVER_NEEDS_APPROVER", num_args = 0..=1, default_missing_value = "true", value_name = "BOOLEAN")]
    pub waiver_needs_approver: Option<bool>,
    /// Retry window of an EvaluateGate `request_id`, from 1s to 24h, counted from the decision that it stands for.
    ///
    /// Within it, a retry returns the recorded decision if that still holds. A longer window helps callers that retry late, and
    /// stores more ids. Writes of policies and waivers keep their ids for 24h in any case.
    #[arg(long, default_value = "10m", env = "SCANGATE_REQUEST_ID_WINDOW", value_name = "DURATION", value_parser = parse_request_id_window)]
    pub request_id_window: Duration,
    /// Retention of recorded decisions, e.g. 400d (minimum 24h, the longest `request_id` window).
    ///
    /// Older decisions are deleted. Their inputs are deleted with the last decision that references them. The remaining hash
    /// chain can still be verified.
    #[arg(long, default_value = "400d", env = "SCANGATE_DECISION_RETENTION", value_name = "DURATION", value_parser = parse_retention)]
    pub decision_retention: Duration,
    /// Registries that callers may name, as ACCOUNT/REGION or by host, separated by commas.
    ///
    /// The first is the registry of images without a host. If not set, the server uses the registry of its AWS credentials'
    /// account, in the SDK's default region.
    #[arg(long = "registry", value_delimiter = ',', env = "SCANGATE_REGISTRIES", value_name = "REGISTRY", value_parser = RegistryId::parse)]
    pub registries: Vec<RegistryId>,
    /// Endpoint URL for ECR and Inspector calls, e.g. of a simulator or a VPC endpoint. Default: the endpoints of AWS.
    #[arg(long, env = "SCANGATE_ECR_ENDPOINT")]
    pub ecr_endpoint: Option<String>,
    /// Credentials for calls to AWS. There is no flag: the server signs with its AWS credentials, only the demo with placeholders.
    #[arg(skip)]
    pub ecr_credentials: ecr::Credentials,
    /// Allowed environment names, separated by commas. If empty, any environment is accepted.
    #[arg(long = "environment", value_delimiter = ',', env = "SCANGATE_ENVIRONMENTS", value_name = "ENVIRONMENT", value_parser = Environment::parse)]
    pub environments: Vec<Environment>,
    /// Maximum age of cached ECR data for requests without `max_findings_age`; older data is read again.
    #[arg(long, default_value = "300s", env = "SCANGATE_FINDINGS_MAX_AGE", value_name = "DURATION", value_parser = parse_duration)]
    pub findings_max_age: Duration,
    /// Memory limit of the findings cache, in MiB; beyond it, the least recently used entries are evicted.
    #[arg(long, default_value_t = 256, env = "SCANGATE_FINDINGS_CACHE_MIB")]
    pub findings_cache_mib: u64,
    /// Timeout of one attempt of a call to AWS; the call is then retried.
    #[arg(long, default_value = "5s", env = "SCANGATE_ECR_ATTEMPT_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    pub ecr_attempt_timeout: Duration,
    /// Timeout of a call to AWS, retries included; EvaluateGate then returns UNAVAILABLE.
    #[arg(long, default_value = "20s", env = "SCANGATE_ECR_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    pub ecr_timeout: Duration,
    /// Read EPSS scores and exploit information of enhanced findings from Amazon Inspector.
    ///
    /// ECR reports neither. Exploits are those in CISA's catalogue and those that Inspector has seen. If off, EPSS is unknown,
    /// and rules with `min_epss` follow their `when_unknown`.
    ///
    /// The IAM role needs inspector2:ListFindings and inspector2:BatchGetFindingDetails. Each new read of a scan costs one
    /// ListFindings call per 100 findings, and one BatchGetFindingDetails call per 10 findings whose details could change a
    /// decision (at most 20 such calls). They are HIGH, CRITICAL or unrated, or have an EPSS that is unknown or at least 0.1.
    /// Closed findings need no details; those with a known exploit come last, for their dates in CISA's catalogue.
    ///
    /// If Inspector fails, the scan is served without this data. `enrichment` reports the failure, and the scan is read again
    /// within seconds.
    #[arg(long, env = "SCANGATE_INSPECTOR_ENRICHMENT", num_args = 0..=1, default_value_t, default_missing_value = "true", action = ArgAction::Set)]
    pub inspector_enrichment: bool,
    /// Maximum number of concurrent calls; the server refuses further ones with RESOURCE_EXHAUSTED.
    #[arg(long, default_value_t = 4096, env = "SCANGATE_MAX_CONCURRENT_CALLS")]
    pub max_concurrent_calls: usize,
    /// Time that running calls have to finish after SIGTERM; then they are cancelled.
    #[arg(long, default_value = "20s", env = "SCANGATE_SHUTDOWN_GRACE", value_name = "DURATION", value_parser = parse_duration)]
    pub shutdown_grace: Duration,
}

impl Config {
    /// The TLS files; `None` for a server without TLS.
    pub fn tls(&self) -> Option<tls::Files> {
        let (certificate, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(tls::Files {
            certificate,
            key,
            client_ca: self.tls_client_ca.clone(),
            crl: self.tls_crl.clone(),
            is_client_certificate_required: false,
        })
    }

    /// The configuration of the ECR adapter.
    pub(crate) fn ecr(&self) -> ecr::Config {
        ecr::Config {
            registries: self.registries.clone(),
            endpoint: self.ecr_endpoint.clone(),
            credentials: self.ecr_credentials,
            attempt_timeout: self.ecr_attempt_timeout,
            operation_timeout: self.ecr_timeout,
            inspector_enrichment: self.inspector_enrichment,
            ..ecr::Config::default()
        }
    }

    /// The configuration of the registry cache.
    pub(crate) fn cache(&self) -> cache::Config {
        cache::Config {
            findings_ttl: self.findings_max_age,
            max_scan_bytes: self.findings_cache_mib.saturating_mul(1024 * 1024),
            ..cache::Config::default()
        }
    }
}

fn parse_staleness(text: &str) -> Result<Duration, String> {
    let staleness = parse_duration(text)?;
    if staleness < MIN_STORE_STALENESS {
        return Err(format!("must be at least {}s", MIN_STORE_STALENESS.as_secs()));
    }
    Ok(staleness)
}

fn parse_request_id_window(text: &str) -> Result<Duration, String> {
    let window = parse_duration(text)?;
    if window < MIN_REQUEST_ID_WINDOW || window > MAX_WINDOW.unsigned_abs() {
        return Err(format!("must be from {}s to {}h", MIN_REQUEST_ID_WINDOW.as_secs(), MAX_WINDOW.as_hours()));
    }
    Ok(window)
}

/// Parses a retention. Within the window of its request id, a repeated request must find its decision in the log.
fn parse_retention(text: &str) -> Result<Duration, String> {
    let retention = parse_duration(text)?;
    if retention < MAX_WINDOW.unsigned_abs() {
        return Err(format!("must be at least {}h, the longest request_id window", MAX_WINDOW.as_hours()));
    }
    Ok(retention)
}

/// Parses a duration such as `300s`, `250ms`, `1h 30m`, `30d` or `PT5M`; a day has 24 hours.
fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let duration = text.parse().and_then(|span: Span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let duration = duration.map_err(|_| "must be like 300s, 250ms, 5m, 2h or 30d")?;
    Duration::try_from(duration).map_err(|_| "must not be negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_window_has_limits() {
        let accepts = |text| parse_request_id_window(text).is_ok();

        assert!(accepts("1s") && accepts("10m") && accepts("24h"));
        assert!(!accepts("999ms") && !accepts("0s") && !accepts("25h"));
    }

    #[test]
    fn duration_has_units_and_no_sign() {
        let hours = |text| parse_duration(text).map(|duration| duration.as_secs() / 3600);

        assert_eq!([hours("400d"), hours("1h 30m"), hours("0s")], [Ok(9600), Ok(1), Ok(0)]);
        assert_eq!([hours("1w"), hours("PT1H30M"), hours("2 hours")], [Ok(168), Ok(1), Ok(2)]);
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_mins(5)));
        for invalid in ["5", "", "soon", "-5m", "5 m s", "1mo", "1y", "7304485d", "99999999999999999999d"] {
            assert!(parse_duration(invalid).is_err(), "{invalid}");
        }
    }
}
