//! The demo: the real gate over a simulated ECR. Nothing here touches AWS, and `serve` has no way into it.

use std::{ffi::OsString, future::Future, io::Write, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, ValueEnum};
use scangate_ecr_simulator::{Simulator, StartError, World};
use tokio::net::TcpListener;

use crate::{config::Config, registry::ecr::Credentials};

/// Options of the demo.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Address to listen on; loopback only.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Address of the simulated ECR, which the aws CLI can talk to; loopback only.
    #[arg(long, default_value = "127.0.0.1:4566")]
    ecr_listen: SocketAddr,
    /// Folder that the policies are kept in.
    #[arg(long, default_value = ".state/demo")]
    state: PathBuf,
    /// How the simulated registry scans.
    #[arg(long, value_enum, default_value_t)]
    scanning: Scanning,
}

/// How the simulated registry scans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Scanning {
    /// Basic scanning on push.
    #[default]
    Basic,
    /// Enhanced scanning by Inspector.
    Enhanced,
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Anybody could call it, so it stays on this machine.
    #[error("{0} is not a loopback address: the demo has no authentication and stays on this machine")]
    NotLoopback(SocketAddr),
    /// A socket or the state folder cannot be used.
    #[error("cannot use {what}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The simulator does not start.
    #[error("the simulated ECR does not start")]
    Simulator(#[from] StartError),
    /// The demo's own command line is wrong.
    #[error("the demo's configuration is wrong")]
    Config(#[from] clap::Error),
    /// The gate does not run.
    #[error(transparent)]
    Serve(#[from] crate::Error),
}

/// Runs the demo until `shutdown` resolves.
pub async fn run(demo: Demo, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
    let listener = bind(demo.listen).await?;
    let world = match demo.scanning {
        Scanning::Basic => World::demo(),
        Scanning::Enhanced => World::demo_enhanced(),
    };
    let registry = format!("{}/{}", world.account(), world.region());
    let simulator = Simulator::start(bind(demo.ecr_listen).await?, world)?;
    let config = config(&demo, &registry, &simulator.endpoint())?;
    welcome(listener.local_addr().unwrap_or(demo.listen), &simulator.endpoint());
    crate::serve(config, listener, shutdown).await?;
    simulator.stop().await;
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| Error::Io { what: address.to_string(), source })
}

/// The command line of `serve`, to take the demo's configuration from.
#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    config: Config,
}

/// The configuration that `serve` would get on its command line, with the simulator in AWS's place.
fn config(demo: &Demo, registry: &str, endpoint: &str) -> Result<Config, Error> {
    let arguments = ["serve", "--registry", registry, "--ecr-endpoint", endpoint, "--store"].map(OsString::from);
    let store = demo.state.join("scangate.db").into_os_string();
    let config = Serve::try_parse_from(arguments.into_iter().chain([store]))?.config;
    Ok(Config { ecr_credentials: Credentials::Placeholder, ..config })
}

/// Says what this is and how to talk to it.
fn welcome(gate: SocketAddr, ecr: &str) {
    let text = format!(
        r#"
scan-gate demo. SIMULATED DATA: the images are made up, the findings recorded; nothing here touches AWS.

  gate  {gate}
  ECR   {ecr} (simulated: aws --endpoint-url {ecr} ecr describe-repositories)

Paste these:

  grpcurl -plaintext {gate} list
  grpcurl -plaintext -d '{{"image": "shop/web:1.4.2", "environment": "prod"}}' {gate} scangate.v1.ScanGateService/EvaluateGate
  grpcurl -plaintext -d '{{"image": "shop/api:2.0.0", "environment": "prod"}}' {gate} scangate.v1.ScanGateService/EvaluateGate

More images: shop/worker:3.1.0 and shop/gateway:1.1.0 (indexes), shop/cart:0.9.0 (its scan runs for two minutes),
shop/search:5.0.0 (never scanned), shop/legacy:0.1.0 (failed), shop/tiny:1.0.0 (unsupported), shop/attic:2019 (archived).
Stop with ctrl-c.
"#
    );
    // Where nobody reads standard output the demo runs all the same.
    std::io::stdout().write_all(text.as_bytes()).ok();
}
