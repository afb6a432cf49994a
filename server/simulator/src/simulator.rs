//! The simulator as a running server, and the handles with which a test controls it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::calls::Calls;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::server::{self, State};
use crate::world::World;

/// Time that open requests have to complete when the simulator stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// Pause after a failed accept, so that the loop does not spin.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(10);

/// The reason why a simulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The listener's address is reachable from other hosts, which is unsafe for a server without authentication.
    #[error("{0} is not a loopback address; listen on 127.0.0.1 or ::1")]
    NotLoopback(SocketAddr),
    /// The socket could not be used.
    #[error("cannot use the listening socket")]
    Socket(#[from] io::Error),
}

/// A running simulator. It stops when dropped, or by [`Simulator::stop`].
///
/// ```
/// use scangate_ecr_simulator::{Simulator, World};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let simulator = Simulator::start(listener, World::demo())?;
/// assert!(simulator.endpoint().starts_with("http://127.0.0.1:"));
/// assert!(simulator.world(|world| world.image("shop/web", "1.4.2").is_some()));
/// simulator.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    state: State,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Simulator {
    /// Starts on a listener, which must be bound to a loopback address, in the tokio runtime of the caller.
    pub fn start(listener: TcpListener, world: World) -> Result<Self, StartError> {
        let addr = listener.local_addr()?;
        if !addr.ip().is_loopback() {
            return Err(StartError::NotLoopback(addr));
        }
        let state = State { world: Arc::new(Mutex::new(world)), faults: Faults::default(), calls: Calls::default() };
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, state.clone(), stopped));
        Ok(Self { addr, state, stop, serving })
    }

    /// Starts on a free port of 127.0.0.1.
    pub async fn start_local(world: World) -> Result<Self, StartError> {
        Self::start(TcpListener::bind(("127.0.0.1", 0)).await?, world)
    }

    /// The URL to configure as an SDK's endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The address of the listening socket.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Reads or changes the world between requests. Requests wait until `access` returns.
    pub fn world<R>(&self, access: impl FnOnce(&mut World) -> R) -> R {
        access(&mut self.state.world())
    }

    /// The log of the requests so far.
    pub fn calls(&self) -> Calls {
        self.state.calls.clone()
    }

    /// The fault rules.
    pub fn faults(&self) -> Faults {
        self.state.faults.clone()
    }

    /// The world's clock.
    pub fn clock(&self) -> Clock {
        self.world(|world| world.clock().clone())
    }

    /// Stops: accepts no more connections, and waits up to 200 ms for open requests.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // The task ends by itself; if it panicked, there is nothing left to stop.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Accepts and serves connections until stopped. Dropping the future drops the connections, even with hanging requests.
async fn serve(listener: TcpListener, state: State, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, state.clone(), stopped.clone()));
                }
                // Out of file descriptors, or the peer disconnected.
                Err(_) => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
            },
            Some(_) = connections.join_next() => {}
            () = wait_for_stop(&mut stopped) => break,
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, all).await;
}

async fn serve_connection(stream: TcpStream, state: State, mut stopped: watch::Receiver<bool>) {
    // Without the option, small responses are only slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| server::handle(state.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Errors are not reported: each is a disconnected client or an injected fault.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = wait_for_stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Completes when the simulator is stopped or dropped.
async fn wait_for_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
