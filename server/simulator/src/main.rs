//! The simulator as a program: `scangate-ecr-simulator --listen 127.0.0.1:4566 --world demo`.

use std::error::Error as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use scangate_ecr_simulator::{Simulator, StartError, World};
use tokio::net::TcpListener;

/// A simulated Amazon ECR on loopback, for tests and demonstrations. It is not AWS: all its images and findings are
/// made up or recorded.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Address to listen on. It must be a loopback address, because the simulator has no authentication. Port 0 takes
    /// a free port.
    #[arg(long, env = "SCANGATE_SIMULATOR_LISTEN", default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    /// Initial content of the registry.
    #[arg(long, env = "SCANGATE_SIMULATOR_WORLD", value_enum, default_value_t = InitialWorld::Demo)]
    world: InitialWorld,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InitialWorld {
    /// Basic scanning, one image for each scan state.
    Demo,
    /// Enhanced scanning, with the scan states that only it has.
    DemoEnhanced,
    /// Basic scanning, no repositories.
    Empty,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            // If standard error is closed too, only the exit code is left to report the failure.
            let _ = writeln!(io::stderr(), "scangate-ecr-simulator: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), StartError> {
    let world = match options.world {
        InitialWorld::Demo => World::demo(),
        InitialWorld::DemoEnhanced => World::demo_enhanced(),
        InitialWorld::Empty => World::new(),
    };
    let simulator = Simulator::start(TcpListener::bind(options.listen).await?, world)?;
    let endpoint = simulator.endpoint();
    writeln!(
        io::stdout(),
        "simulated ECR on {endpoint} (not AWS: every image and finding here is made up or recorded)"
    )?;
    shutdown_signal().await?;
    simulator.stop().await;
    Ok(())
}

/// Completes on Ctrl-C and, on Unix, on SIGTERM.
async fn shutdown_signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
