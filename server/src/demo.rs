//! The demo: the real server over a simulated ECR. It makes no call to AWS, and `serve` cannot reach this code.

use std::{ffi::OsString, future::Future, io::Write, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, ValueEnum};
use scangate_ecr_simulator::{Simulator, StartError, World};
use tokio::net::TcpListener;

use crate::{config::Config, ops::OpsListen, registry::ecr::Credentials};

/// Options of the demo.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Address to listen on; it must be a loopback address.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Address of the simulated ECR, for the AWS CLI; it must be a loopback address.
    #[arg(long, default_value = "127.0.0.1:4566")]
    ecr_listen: SocketAddr,
    /// Folder of the demo's store; created if missing.
    #[arg(long, default_value = ".state/demo")]
    state: PathBuf,
    /// Scan type of the simulated registry.
    #[arg(long, value_enum, default_value_t)]
    scanning: Scanning,
}

/// The scan type of the simulated registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Scanning {
    /// Basic scanning on push.
    #[default]
    Basic,
    /// Enhanced scanning by Amazon Inspector.
    Enhanced,
}

/// An error that stops the demo.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that other machines could reach, which the demo refuses because it has no authentication.
    #[error("{0} is not a loopback address; use one, since the demo has no authentication")]
    NotLoopback(SocketAddr),
    /// A socket or the state folder cannot be used.
    #[error("cannot use {what}")]
    Io {
        /// The socket or folder.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The simulator failed to start.
    #[error("cannot start the simulated ECR")]
    Simulator(#[from] StartError),
    /// The demo built an invalid command line for `serve`.
    #[error("invalid configuration of the demo")]
    Config(#[from] clap::Error),
    /// The server failed.
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
    print_welcome(listener.local_addr().unwrap_or(demo.listen), &simulator.endpoint());
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

/// The command line of `serve`: it supplies the defaults of the demo's configuration.
#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    config: Config,
}

/// Returns the configuration of `serve` with the simulator as its AWS endpoint.
fn config(demo: &Demo, registry: &str, endpoint: &str) -> Result<Config, Error> {
    let arguments = ["serve", "--registry", registry, "--ecr-endpoint", endpoint, "--store"].map(OsString::from);
    let store = demo.state.join("scangate.db").into_os_string();
    let config = Serve::try_parse_from(arguments.into_iter().chain([store]))?.config;
    // Variables for a real server do not apply: loopback needs no TLS and no identities, and the port for operations is the real
    // server's.
    Ok(Config {
        ecr_credentials: Credentials::Placeholder,
        tls_cert: None,
        tls_key: None,
        tls_client_ca: None,
        tls_crl: None,
        config: None,
        anonymous_role: None,
        waiver_needs_approver: None,
        ops_listen: OpsListen::None,
        ..config
    })
}

fn print_welcome(gate: SocketAddr, ecr: &str) {
    let text = format!(
        r#"
scan-gate demo with SIMULATED DATA: images are invented, findings were recorded earlier. No call goes to AWS.

  gate  {gate}
  ECR   {ecr} (simulated: aws --endpoint-url {ecr} ecr describe-repositories)

Try these commands:

  grpcurl -plaintext {gate} list
  grpcurl -plaintext -d '{{"image": "shop/web:1.4.2", "environment": "prod"}}' {gate} scangate.v1.ScanGateService/EvaluateGate
  grpcurl -plaintext -d '{{"image": "shop/api:2.0.0", "environment": "prod"}}' {gate} scangate.v1.ScanGateService/EvaluateGate

More images:

  shop/worker:3.1.0, shop/gateway:1.1.0   multi-platform indexes
  shop/cart:0.9.0                         scan in progress for the first two minutes
  shop/search:5.0.0                       never scanned
  shop/legacy:0.1.0                       scan failed
  shop/tiny:1.0.0                         scanning not supported
  shop/attic:2019                         archived

Press ctrl-c to stop.
"#
    );
    // The demo also runs if standard output is closed.
    std::io::stdout().write_all(text.as_bytes()).ok();
}
