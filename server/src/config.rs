//! The server's configuration. Each field is a flag and an environment variable; its doc comment is its manual.

use std::{net::SocketAddr, time::Duration};

use clap::{ArgAction, Args};
use scangate_core::{name::Environment, registry::Registry as RegistryId};

use crate::{
    registry::{cache, ecr},
    sql::Address,
};

/// Configuration of a gate.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to listen on. Calls are not authenticated and not encrypted by this version: keep it on loopback, or behind
    /// something that does both.
    #[arg(long, default_value = "127.0.0.1:50051", env = "SCANGATE_LISTEN")]
    pub listen: SocketAddr,
    /// Where policies, waivers and decisions are kept: a SQLite file, made where it does not exist, for one server at a time; or
    /// `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full` for several that share one gate. Best given by the variable,
    /// since others may see command lines. Never logged.
    #[arg(long, default_value = "scangate.db", env = "SCANGATE_STORE", hide_env_values = true)]
    pub store: Address,
    /// How old what a server knows of a shared store may be: one that could not confirm its policies and waivers for so long says
    /// UNAVAILABLE instead of deciding. It confirms them every half second and at each write, so that this matters only where the
    /// store does not answer.
    #[arg(long, default_value = "5s", env = "SCANGATE_STORE_STALENESS", value_parser = staleness)]
    pub store_staleness: Duration,
    /// The longest that a waiver may hold.
    #[arg(long, default_value = "365d", env = "SCANGATE_WAIVER_MAX_TERM", value_parser = seconds)]
    pub waiver_max_term: Duration,
    /// Take a waiver only where it names an author and another who approved it.
    #[arg(
        long, env = "SCANGATE_WAIVER_NEEDS_APPROVER", num_args = 0..=1, default_value_t = false,
        default_missing_value = "true", action = ArgAction::Set,
    )]
    pub waiver_needs_approver: bool,
    /// How long decisions are kept, e.g. 400d; at least 24h, since a request that is sent again within that time (`request_id`) gets
    /// the decision that it got. What they rest on goes with the last that rests on it; what is left stays provable.
    #[arg(long, default_value = "400d", env = "SCANGATE_DECISION_RETENTION", value_parser = retention)]
    pub decision_retention: Duration,
    /// Registries that callers may name, as ACCOUNT/REGION or by host; the first is the one that images without a host are
    /// taken from. None: the account of the AWS credentials in the AWS SDK's region.
    #[arg(long = "registry", value_delimiter = ',', env = "SCANGATE_REGISTRIES", value_parser = RegistryId::parse)]
    pub registries: Vec<RegistryId>,
    /// Send calls to ECR and Inspector here instead of to AWS, e.g. to a simulator or a VPC endpoint.
    #[arg(long, env = "SCANGATE_ECR_ENDPOINT")]
    pub ecr_endpoint: Option<String>,
    /// Whose signature calls to AWS carry. No flag: a server that is run signs as AWS expects.
    #[arg(skip)]
    pub ecr_credentials: ecr::Credentials,
    /// The environments that there are; a call that names another is refused. None: any environment goes.
    #[arg(long = "environment", value_delimiter = ',', env = "SCANGATE_ENVIRONMENTS", value_parser = Environment::parse)]
    pub environments: Vec<Environment>,
    /// How old a cached reading of ECR may be where the caller does not say (`max_findings_age`), e.g. 300s.
    #[arg(long, default_value = "300s", env = "SCANGATE_FINDINGS_MAX_AGE", value_parser = seconds)]
    pub findings_max_age: Duration,
    /// Most memory for cached findings, in MiB.
    #[arg(long, default_value_t = 256, env = "SCANGATE_FINDINGS_CACHE_MIB")]
    pub findings_cache_mib: u64,
    /// How long one attempt of a call to AWS may take.
    #[arg(long, default_value = "5s", env = "SCANGATE_ECR_ATTEMPT_TIMEOUT", value_parser = seconds)]
    pub ecr_attempt_timeout: Duration,
    /// How long a call to AWS may take with its retries.
    #[arg(long, default_value = "20s", env = "SCANGATE_ECR_TIMEOUT", value_parser = seconds)]
    pub ecr_timeout: Duration,
    /// Ask Amazon Inspector for what ECR does not say of enhanced findings: EPSS (for rules with `min_epss`), and whether
    /// the vulnerability is known to be exploited (CISA's catalogue, exploits that Inspector has seen). Off: EPSS is
    /// unknown, and such rules follow their `when_unknown`. The role needs the IAM actions inspector2:ListFindings and
    /// inspector2:BatchGetFindingDetails. It costs one call for each 100 findings and one for each 10 severe ones, at most 20
    /// of these, whenever a scan is read anew. Where Inspector fails, the scan is served without, says so
    /// (`enrichment`), and is asked for again within seconds.
    #[arg(
        long, env = "SCANGATE_INSPECTOR_ENRICHMENT", num_args = 0..=1, default_value_t = false,
        default_missing_value = "true", action = ArgAction::Set,
    )]
    pub inspector_enrichment: bool,
    /// How many calls run at once; more are refused with RESOURCE_EXHAUSTED.
    #[arg(long, default_value_t = 4096, env = "SCANGATE_MAX_CONCURRENT_CALLS")]
    pub max_concurrent_calls: usize,
    /// How long running calls may go on after SIGTERM.
    #[arg(long, default_value = "20s", env = "SCANGATE_SHUTDOWN_GRACE", value_parser = seconds)]
    pub shutdown_grace: Duration,
}

impl Config {
    /// What the ECR adapter is told.
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

    /// What the cache of readings is told.
    pub(crate) fn cache(&self) -> cache::Config {
        cache::Config {
            findings_ttl: self.findings_max_age,
            bytes: self.findings_cache_mib.saturating_mul(1024 * 1024),
            ..cache::Config::default()
        }
    }
}

/// At least a second: below, the gate would come and go between one look at the store and the next.
fn staleness(given: &str) -> Result<Duration, String> {
    let staleness = seconds(given)?;
    if staleness < Duration::from_secs(1) { Err("must be at least 1s".to_owned()) } else { Ok(staleness) }
}

/// At least as long as a request may be sent again and get the decision that it got.
fn retention(given: &str) -> Result<Duration, String> {
    let retention = seconds(given)?;
    if retention < Duration::from_hours(24) {
        return Err("must be at least 24h: for so long a request_id that is sent again gets its decision from the log"
            .to_owned());
    }
    Ok(retention)
}

/// `300s`, `250ms`, `5m`, `2h` or `30d`.
fn seconds(given: &str) -> Result<Duration, String> {
    let unit = given.trim_start_matches(|c: char| c.is_ascii_digit());
    let amount: u64 = given.trim_end_matches(unit).parse().map_err(|_| "must be like 300s, 250ms, 5m, 2h or 30d")?;
    match unit {
        "ms" => Ok(Duration::from_millis(amount)),
        "s" => Ok(Duration::from_secs(amount)),
        "m" => Ok(Duration::from_secs(amount.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(amount.saturating_mul(3600))),
        "d" => Ok(Duration::from_secs(amount.saturating_mul(86_400))),
        _ => Err("must be like 300s, 250ms, 5m, 2h or 30d".to_owned()),
    }
}
