//! `scangate-server`: parse, bind, serve.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, error::ErrorKind};
use mimalloc::MiMalloc;
use scangate_server::{
    cli::{Cli, Command},
    decision_log::Report,
    migrate, serve, telemetry, verify_decisions,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Many small things are allocated for each call and freed on another thread: the system's allocator takes twice as long.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit code for a command line that cannot be understood.
const USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where even printing fails there is nobody left to tell.
            error.print().ok();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error as &dyn Error, "the server does not run");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error + Send + Sync>> {
    telemetry::start(cli.log_format, &cli.log)?;
    // Before anything listens: who sees the port open may already tell us to stop.
    let shutdown = shutdown()?;
    match cli.command {
        Command::Serve(config) => {
            let listener = TcpListener::bind(config.listen).await?;
            tracing::info!(address = %listener.local_addr()?, "listening");
            serve(*config, listener, shutdown).await?;
        }
        Command::Migrate(arguments) => migrate(&arguments.store).await?,
        Command::VerifyDecisions(arguments) => {
            let report = verify_decisions(&arguments.store).await?;
            let mut out = io::stdout().lock();
            for damage in &report.damage {
                writeln!(out, "{damage}")?;
            }
            let Report { writers, decisions, blobs, removed, damage, policies: _ } = report;
            writeln!(out, "{decisions} decisions of {writers} writers and {blobs} blobs are as they were recorded")?;
            if removed > 0 {
                writeln!(out, "{removed} decisions before them were removed, as retention does")?;
            }
            if !damage.is_empty() {
                return Err(format!("the log of decisions is damaged in {} places", damage.len()).into());
            }
        }
        #[cfg(feature = "demo")]
        Command::Demo(demo) => scangate_server::demo::run(demo, shutdown).await?,
    }
    Ok(())
}

/// Resolves on SIGTERM or ctrl-c, from now on.
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
