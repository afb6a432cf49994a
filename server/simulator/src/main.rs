//! The simulator as a program: `scangate-ecr-simulator --listen 127.0.0.1:4566 --world demo`.

use std::error::Error as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use scangate_ecr_simulator::{Simulator, StartError, World};
use tokio::net::TcpListener;

/// A simulated Amazon ECR on loopback, for tests and demonstrations. It is not AWS: every image and finding in it is
/// made up or recorded.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The loopback address to listen on; port 0 takes a free one.
    #[arg(long, env = "SCANGATE_SIMULATOR_LISTEN", default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    /// What the registry holds at the start.
    #[arg(long, env = "SCANGATE_SIMULATOR_WORLD", value_enum, default_value_t = Start::Demo)]
    world: Start,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Start {
    /// Basic scanning, one image per situation.
    Demo,
    /// Enhanced scanning, with the situations that only it has.
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
            // If standard error is gone too, the exit code is all there is left to say.
            let _ = writeln!(io::stderr(), "scangate-ecr-simulator: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), StartError> {
    let world = match options.world {
        Start::Demo => World::demo(),
        Start::DemoEnhanced => World::demo_enhanced(),
        Start::Empty => World::new(),
    };
    let simulator = Simulator::start(TcpListener::bind(options.listen).await?, world)?;
    let endpoint = simulator.endpoint();
    writeln!(
        io::stdout(),
        "simulated ECR on {endpoint} (not AWS: every image and finding here is made up or recorded)"
    )?;
    asked_to_stop().await?;
    simulator.stop().await;
    Ok(())
}

/// Ends on Ctrl-C, and where there is one on SIGTERM.
async fn asked_to_stop() -> io::Result<()> {
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
