//! The command line: what all commands share, and how single values are typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use scangate_client::{prost_types, v1::Platform};

use crate::{check::Check, findings::Findings, policy::PolicyCommand, scan::ScanCommand, scanning::ScanningCommand};

const EXIT_STATUS: &str = "\
Exit status:
   0  allowed; for commands other than check: done
   1  denied
   2  could not decide (indeterminate): ask again later
   3  the gate could not be reached, refused the call or failed
  64  the command line, a file or a value in it is wrong
Of several images the worst counts: 1 before 64 before 3 before 2 before 0.

Environment:
  SCANGATE_TOKEN  bearer token that identifies the caller; there is no flag for it on purpose";

/// Asks a scan-gate whether container images on Amazon ECR may be deployed.
#[derive(Debug, Parser)]
#[command(name = "scangate", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The gate: http://host:port or https://host:port.
    #[arg(long, global = true, value_name = "URL", env = "SCANGATE_SERVER", default_value = "http://127.0.0.1:50051")]
    pub(crate) server: String,
    /// How long a call may take, e.g. 30s; time that --wait asks for comes on top.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s")]
    pub(crate) timeout: Span,
    /// How to print the answer: for people, or the message as JSON, as grpcurl prints it.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// PEM file of the certificate authorities to trust instead of the machine's.
    #[arg(long, global = true, value_name = "FILE", env = "SCANGATE_CA_CERT")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// PEM file of the client certificate.
    #[arg(long, global = true, value_name = "FILE", env = "SCANGATE_CLIENT_CERT", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// PEM file of the client certificate's private key.
    #[arg(long, global = true, value_name = "FILE", env = "SCANGATE_CLIENT_KEY", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask whether images may be deployed.
    Check(Check),
    /// Read the findings of an image.
    Findings(Findings),
    /// Start or follow scans.
    #[command(subcommand)]
    Scan(ScanCommand),
    /// Set when repositories are scanned.
    #[command(subcommand)]
    Scanning(ScanningCommand),
    /// Read and write the policies that decide.
    #[command(subcommand)]
    Policy(PolicyCommand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// The contract's canonical JSON.
    Json,
}

/// An image and the platforms of it that matter.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The image: registry/repository:tag, or with @sha256:…; without a registry, the server's default one.
    pub(crate) image: String,
    /// Only this platform of an index, e.g. linux/amd64; may be repeated.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    pub(crate) platform: Vec<Platform>,
}

/// A duration as people type it: `90s`, `5m`, `1h 30m`; never negative.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(Duration);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration: SignedDuration = text.parse().map_err(|_| "write it like 90s, 5m or 1h 30m".to_owned())?;
        Duration::try_from(duration).map(Self).map_err(|_| "it must not be negative".to_owned())
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl From<Span> for prost_types::Duration {
    fn from(span: Span) -> Self {
        let longest = Self { seconds: i64::MAX, nanos: 0 };
        Self::try_from(span.0).unwrap_or(longest)
    }
}

pub(crate) fn parse_platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/');
    let (Some(os), Some(architecture), variant, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("write it like linux/amd64 or linux/arm64/v8".to_owned());
    };
    if os.is_empty() || architecture.is_empty() || variant == Some("") {
        return Err("write it like linux/amd64 or linux/arm64/v8".to_owned());
    }
    Ok(Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.unwrap_or_default().to_owned(),
    })
}

/// Splits `key=value` at the first `=`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it like key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn platforms_are_read_as_an_index_writes_them() {
        let variant = parse_platform("linux/arm64/v8").unwrap().variant;

        assert_eq!(variant, "v8");
        assert!(
            ["linux", "linux/", "/amd64", "linux/arm64/", "a/b/c/d"].iter().all(|text| parse_platform(text).is_err())
        );
    }

    #[test]
    fn durations_are_read_as_people_type_them() {
        let read = |text: &str| text.parse::<Span>().map(Duration::from);

        assert_eq!(read("0s"), Ok(Duration::ZERO));
        assert_eq!(read("1h 30m"), Ok(Duration::from_mins(90)));
        assert!(read("-5m").is_err() && read("5").is_err() && read("soon").is_err());
    }
}
