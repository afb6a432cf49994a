//! The command line: the options of every command, and the parsers of single values.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use scangate_client::{prost_types, v1::Platform};

use crate::{
    check::CheckArgs, findings::FindingsArgs, policy::PolicyCommand, scan::ScanCommand, scanning::ScanningCommand,
    simulate::SimulateArgs,
};

const EXIT_STATUS: &str = "\
Exit status:
   0  allowed; for commands other than check and simulate: success
   1  denied
   2  indeterminate: the server cannot decide yet; retry later
   3  the server is unreachable, refused the call or failed
  10  simulate only: the policy alone would allow the image; never 0, because a simulation permits
      no deployment
  64  the command line, a file or a value in it is invalid
With several images, the exit status is the first of 1, 64, 3, 2, 0 that occurs.

Environment:
  SCANGATE_TOKEN  bearer token, unless --token-file or --token-command is set. There is no flag for
                  the token itself, because other users of the machine can read command lines";

/// Asks a scan-gate server whether container images on Amazon ECR may be deployed.
#[derive(Debug, Parser)]
#[command(name = "scangate", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// URL of the scan-gate server: https://host:port, http://host:port or unix:/path.
    #[arg(long, global = true, value_name = "URL", env = "SCANGATE_SERVER", default_value = "http://127.0.0.1:50051")]
    pub(crate) server: String,
    /// Timeout of a call including its retries, e.g. 30s; after it, the command fails with exit status 3. The duration
    /// of --wait is added to it.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s")]
    pub(crate) timeout: DurationArg,
    /// Output format: a table for people, or the response as JSON, in the form that grpcurl prints.
    #[arg(long, short, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
    /// PEM file of the certificate authorities to trust instead of those of the operating system.
    #[arg(long, global = true, value_name = "FILE", env = "SCANGATE_CA_CERT")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// PEM file of the client certificate, which identifies the caller unless there is a token. Requires --key.
    #[arg(long, global = true, value_name = "FILE", env = "SCANGATE_CERT", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of the private key of the client certificate. Requires --cert.
    #[arg(long, global = true, value_name = "FILE", env = "SCANGATE_KEY", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// File with the bearer token that identifies the caller, read again for each call. Beyond this machine, a token requires
    /// https.
    #[arg(long, global = true, value_name = "FILE", env = "SCANGATE_TOKEN_FILE", conflicts_with = "token_command")]
    pub(crate) token_file: Option<PathBuf>,
    /// Shell command that prints the bearer token. It runs at most once for each token: again when a JWT expires, and once
    /// after the server refused the token.
    #[arg(long, global = true, value_name = "COMMAND", env = "SCANGATE_TOKEN_COMMAND")]
    pub(crate) token_command: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check whether images may be deployed.
    Check(CheckArgs),
    /// Simulate one policy, stored or a draft, on an image. Permits no deployment and records nothing.
    Simulate(SimulateArgs),
    /// List the findings of an image.
    Findings(FindingsArgs),
    /// Start a scan, or watch its progress.
    #[command(subcommand)]
    Scan(ScanCommand),
    /// Configure when ECR scans repositories.
    #[command(subcommand)]
    Scanning(ScanningCommand),
    /// Read, write and validate the policies that decisions are based on.
    #[command(subcommand)]
    Policy(PolicyCommand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Tables for people.
    Table,
    /// Canonical Protobuf JSON.
    Json,
}

/// An image and its selected platforms.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// Image as REGISTRY/REPOSITORY:TAG or with @DIGEST. Without a registry, the server's default registry applies.
    pub(crate) image: String,
    /// Platform to select from an image index, e.g. linux/amd64. May be repeated. Default: all platforms.
    #[arg(long, value_name = "OS[(OS_VERSION)]/ARCH[/VARIANT]", value_parser = parse_platform)]
    pub(crate) platform: Vec<Platform>,
}

/// A non-negative duration on the command line: `90s`, `5m`, `1h 30m`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DurationArg(Duration);

impl std::str::FromStr for DurationArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration: SignedDuration =
            text.parse().map_err(|_| "expected a duration such as 90s, 5m or 1h 30m".to_owned())?;
        Duration::try_from(duration).map(Self).map_err(|_| "must not be negative".to_owned())
    }
}

impl From<DurationArg> for Duration {
    fn from(span: DurationArg) -> Self {
        span.0
    }
}

impl From<DurationArg> for prost_types::Duration {
    fn from(span: DurationArg) -> Self {
        let max = Self { seconds: i64::MAX, nanos: 0 };
        Self::try_from(span.0).unwrap_or(max)
    }
}

pub(crate) fn parse_platform(text: &str) -> Result<Platform, String> {
    let invalid = || "expected OS[(OS_VERSION)]/ARCH[/VARIANT], e.g. linux/amd64".to_owned();
    let mut parts = text.split('/');
    let (Some(os), Some(architecture), variant, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(invalid());
    };
    let (os, os_version) = match os.split_once('(') {
        Some((os, version)) => (os, Some(version.strip_suffix(')').ok_or_else(invalid)?)),
        None => (os, None),
    };
    if os.is_empty() || architecture.is_empty() || os_version == Some("") || variant == Some("") {
        return Err(invalid());
    }
    Ok(Platform {
        os: os.to_owned(),
        os_version: os_version.unwrap_or_default().to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.unwrap_or_default().to_owned(),
    })
}

/// Splits `KEY=VALUE` at the first `=`; the key must not be empty.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn platform_is_os_architecture_and_variant() {
        let variant = parse_platform("linux/arm64/v8").unwrap().variant;

        assert_eq!(variant, "v8");
        assert!(
            ["linux", "linux/", "/amd64", "linux/arm64/", "a/b/c/d"].iter().all(|text| parse_platform(text).is_err())
        );
    }

    #[test]
    fn duration_requires_unit_and_no_sign() {
        let parse = |text: &str| text.parse::<DurationArg>().map(Duration::from);

        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_mins(90)));
        assert!(parse("-5m").is_err() && parse("5").is_err() && parse("soon").is_err());
    }
}
