//! The command line: subcommands and their options.

use clap::{Args, Parser, Subcommand};

use crate::{config::Config, sql::Address, telemetry::LogFormat};

/// One authoritative answer to "may this container image be deployed?", for everyone on Amazon ECR.
#[derive(Debug, Parser)]
#[command(name = "scangate-server", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What a log line looks like.
    #[arg(long, global = true, value_enum, default_value_t, env = "SCANGATE_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What to log, in the syntax of RUST_LOG.
    #[arg(long, global = true, default_value = "info", env = "SCANGATE_LOG")]
    pub log: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the gate over Amazon ECR.
    Serve(Box<Config>),
    /// Bring the schema of a store up to date. A server does so itself when it starts; this is for those who want it done before.
    Migrate(StoreArgs),
    /// Follow every chain of the decision log, and read everything that decisions rest on. Tells what was changed, is missing or out
    /// of order, and then ends with 1. A SQLite file that a server has open has to be copied first (`sqlite3 FILE '.backup COPY'`).
    VerifyDecisions(StoreArgs),
    /// Serve the gate over a simulated ECR with made-up and recorded data, to try it out. Nothing of it touches AWS.
    #[cfg(feature = "demo")]
    Demo(crate::demo::Demo),
}

/// Which store.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// A SQLite file, or `postgres://…`: see `serve --store`.
    #[arg(long, default_value = "scangate.db", env = "SCANGATE_STORE", hide_env_values = true)]
    pub store: Address,
}
