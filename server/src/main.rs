//! `scangate-server`: parse, bind, serve.

use std::{error::Error, io, process::ExitCode};

use clap::{Parser, error::ErrorKind};
use scangate_server::{
    config::{Cli, Command},
    serve, telemetry,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

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
            serve(config, listener, shutdown).await?;
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
