//! The program `scangate-server`: parses the command line, binds the socket, sets the exit code.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, error::ErrorKind};
use mimalloc::MiMalloc;
use scangate_server::{
    cli::{Cli, Command},
    config::{Config, check::check},
    decision_log::Report,
    listen::Listener,
    migrate,
    ops::{ProbeError, probe},
    serve, telemetry, verify_decisions,
};
use tokio::signal::unix::{SignalKind, signal};

/// Each call makes many small allocations that another thread frees; the system's allocator takes twice as long for them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit code of an invalid configuration: a command line, a file, or a listener that would be open to the network.
const USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let matches = Cli::command().try_get_matches();
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // The exit code still reports the error if printing fails.
            error.print().ok();
            let is_requested = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if is_requested { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    if let (Command::Serve(config), Some(("serve", matches))) = (&cli.command, matches.subcommand())
        && config.check
    {
        return print_check(config, matches);
    }
    match Box::pin(run(cli)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error as &dyn Error, "command failed");
            exit_code(&*error)
        }
    }
}

fn exit_code(error: &(dyn Error + Send + Sync + 'static)) -> ExitCode {
    match error.downcast_ref() {
        Some(scangate_server::Error::Config(_) | scangate_server::Error::Tls(_)) => ExitCode::from(USAGE),
        Some(_) | None => ExitCode::FAILURE,
    }
}

/// Prints the effective configuration, or each problem of it.
fn print_check(config: &Config, matches: &ArgMatches) -> ExitCode {
    let mut command = Cli::command();
    // Options of all subcommands become those of each.
    command.build();
    let serve = command.find_subcommand("serve").unwrap_or(&command);
    let (printed, code) = match check(config, serve, matches) {
        Ok(report) => (io::stdout().lock().write_all(report.as_bytes()), ExitCode::SUCCESS),
        Err(invalid) => (writeln!(io::stderr().lock(), "{invalid}"), ExitCode::from(USAGE)),
    };
    // A closed pipe is no problem of the configuration.
    printed.ok();
    code
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error + Send + Sync>> {
    telemetry::start(cli.log_format, &cli.log)?;
    // Before the socket is bound: a supervisor that sees the port open may send SIGTERM at once.
    let shutdown = shutdown()?;
    match cli.command {
        Command::Serve(config) => {
            let listener = Listener::bind(&config.listen).await?;
            tracing::info!(address = %listener.address()?, "listening");
            Box::pin(serve(*config, listener, shutdown)).await?;
        }
        Command::Migrate(arguments) => migrate(&arguments.store).await?,
        Command::VerifyDecisions(arguments) => {
            print_report(&verify_decisions(&arguments.store).await?)?;
        }
        Command::Probe(arguments) => print_readiness(probe(arguments.ops_listen).await)?,
        #[cfg(feature = "demo")]
        Command::Demo(demo) => Box::pin(scangate_server::demo::run(demo, shutdown)).await?,
    }
    Ok(())
}

/// Prints the result of a verification, and fails if there is damage.
fn print_report(report: &Report) -> Result<(), Box<dyn Error + Send + Sync>> {
    let Report { writers, decisions, blobs, removed, damage, policies: _ } = report;
    let mut out = io::stdout().lock();
    for problem in damage {
        writeln!(out, "{problem}")?;
    }
    writeln!(out, "verified {decisions} decisions of {writers} writers, and {blobs} blobs")?;
    if *removed > 0 {
        writeln!(out, "{removed} earlier decisions were removed by retention and cannot be verified")?;
    }
    if damage.is_empty() { Ok(()) } else { Err(format!("decision log is damaged: {} problems", damage.len()).into()) }
}

/// Prints the checks of a server, and fails if it is not ready.
fn print_readiness(answer: Result<String, ProbeError>) -> Result<(), Box<dyn Error + Send + Sync>> {
    if let Ok(text) | Err(ProbeError::NotReady(text)) = &answer {
        io::stdout().lock().write_all(text.as_bytes())?;
    }
    answer?;
    Ok(())
}

/// Returns a future that resolves on SIGTERM or ctrl-c; signals are caught from the call on.
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    })
}
