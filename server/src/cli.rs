//! The command line: subcommands and their options.

use clap::{Args, Parser, Subcommand};

use crate::{config::Config, ops::OpsListen, sql::Address, telemetry::LogFormat};

/// Decides whether container images on Amazon ECR may be deployed.
///
/// A gRPC server: it applies your policies to the scan findings of ECR and records every decision.
#[derive(Debug, Parser)]
#[command(name = "scangate-server", version, about)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
    /// Format of log lines.
    #[arg(long, global = true, value_enum, default_value_t, env = "SCANGATE_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Log filter, in the syntax of RUST_LOG, e.g. `info,sqlx=warn`. The target `audit` is always logged.
    #[arg(long, global = true, default_value = "info", env = "SCANGATE_LOG")]
    pub log: String,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the gate over Amazon ECR.
    ///
    /// A duration is a number with a unit (ms, s, m, h, d or w) or several, e.g. `1h 30m`, or an ISO 8601 one such as PT1H30M. A
    /// day has 24 hours. Months, years and durations beyond 19,998 years are refused.
    Serve(Box<Config>),
    /// Update the schema of a store.
    ///
    /// A server updates the schema at start. Use this command to update it before servers start.
    Migrate(StoreArgs),
    /// Verify the decision log and all data that decisions refer to.
    ///
    /// Lists modified, reordered or missing records, one per line, and exits with 1 if there are any. Decisions removed by retention
    /// are counted but cannot be verified. If a server has the SQLite file open, copy the file first:
    /// `sqlite3 FILE '.backup COPY'`.
    VerifyDecisions(StoreArgs),
    /// Ask the server on this machine if it is ready.
    ///
    /// For the health checks of containers. Prints each check and its result, one per line. Exits with 0 if the server is ready,
    /// and with 1 if it is not, or gives no answer within 5s.
    Probe(ProbeArgs),
    /// Serve the gate over a simulated ECR, to try it out.
    ///
    /// Images are invented and findings recorded. The demo makes no call to AWS.
    #[cfg(feature = "demo")]
    Demo(crate::demo::Demo),
}

/// The options of a subcommand that opens a store.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// Store to open: a SQLite file, or a `postgres://` URL as for `serve --store`.
    #[arg(long, default_value = "scangate.db", env = "SCANGATE_STORE", hide_env_values = true)]
    pub store: Address,
}

/// The options of the probe.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// Address of the server's operations listener, as for `serve --ops-listen`.
    #[arg(long, default_value = "127.0.0.1:9464", env = "SCANGATE_OPS_LISTEN", value_name = "ADDRESS")]
    pub ops_listen: OpsListen,
}
