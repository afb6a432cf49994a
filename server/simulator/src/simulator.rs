//! The simulator as a running server, and the handles by which a test drives it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::calls::Calls;
use crate::clock::Clock;
use crate::faults::Faults;
use crate::server::{State, answer};
use crate::world::World;

/// How long open requests may take to end when the simulator stops.
const PATIENCE: Duration = Duration::from_millis(200);

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The listener's address can be reached from elsewhere, which a server without any authentication must not be.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// The socket could not be used.
    #[error("cannot use the listening socket")]
    Socket(#[from] io::Error),
}

/// A running simulator. It stops when dropped, or by [`Simulator::stop`].
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

    /// The URL to give to an SDK as its endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Looks at the world, or changes it, between requests.
    pub fn world<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        look(&mut self.state.world())
    }

    /// What was asked so far.
    pub fn calls(&self) -> Calls {
        self.state.calls.clone()
    }

    /// What is to go wrong.
    pub fn faults(&self) -> Faults {
        self.state.faults.clone()
    }

    /// The world's clock.
    pub fn clock(&self) -> Clock {
        self.world(|world| world.clock().clone())
    }

    /// Stops: takes no more connections, and lets open requests end for a moment.
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

/// Dropping this future drops the connections, and with them requests that hang.
async fn serve(listener: TcpListener, state: State, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, state.clone(), stopped.clone()));
                }
                // Out of file descriptors, or the peer went away: wait a moment rather than spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            () = wait_for_stop(&mut stopped) => break,
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(PATIENCE, all).await;
}

async fn serve_connection(stream: TcpStream, state: State, mut stopped: watch::Receiver<bool>) {
    // Small answers go out at once; where the option cannot be set they go out a little later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(state.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // An error is the client's going away, or a fault that was asked for: neither is for the simulator to report.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = wait_for_stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Also ends when the simulator is gone.
async fn wait_for_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
