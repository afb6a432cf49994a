//! The operations listener: liveness and readiness over plain HTTP/1, for the orchestrator on this machine.
//!
//! It shares no place and no limit with the callers of the gate: an overloaded server still answers its probes. It has no
//! identities, and answers nothing secret.

mod probe;
mod readiness;
mod requests;

use std::{io, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

pub use self::{
    probe::{ProbeError, probe},
    readiness::{Check, Readiness},
};

/// The most concurrent connections; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// The largest header of a request, in bytes.
const MAX_HEADERS: usize = 16 * 1024;
/// The time within which a request must arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit of a connection, which has one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause after a failure to accept, e.g. without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The address of the operations listener: `IP:PORT`, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpsListen {
    /// There is no listener.
    None,
    /// A TCP socket; port 0 stands for a free port.
    At(SocketAddr),
}

/// A text that is no address of an operations listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be IP:PORT such as 127.0.0.1:9464, or none")]
pub struct InvalidOpsListen;

impl FromStr for OpsListen {
    type Err = InvalidOpsListen;

    fn from_str(text: &str) -> Result<Self, InvalidOpsListen> {
        if text == "none" {
            return Ok(Self::None);
        }
        text.parse().map(Self::At).map_err(|_| InvalidOpsListen)
    }
}

/// An operations listener that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for operations on {address}; choose another --ops-listen, or none")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds the listener; `None` if there is none.
pub async fn bind(listen: OpsListen) -> Result<Option<TcpListener>, BindError> {
    match listen {
        OpsListen::None => Ok(None),
        OpsListen::At(address) => {
            TcpListener::bind(address).await.map(Some).map_err(|source| BindError { address, source })
        }
    }
}

/// The running listener; it ends with its connections when this is dropped.
#[derive(Debug)]
pub struct Operations(JoinHandle<()>);

impl Drop for Operations {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves on a bound listener.
pub fn serve(listener: TcpListener, readiness: Arc<Readiness>) -> Operations {
    Operations(tokio::spawn(accept_all(listener, readiness)))
}

async fn accept_all(listener: TcpListener, readiness: Arc<Readiness>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(answer(stream, Arc::clone(&readiness)))),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "operations listener cannot accept; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Answers the one request of a connection.
async fn answer(stream: TcpStream, readiness: Arc<Readiness>) {
    let service = service_fn(|request| requests::answer(request, Arc::clone(&readiness)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "operations request failed"),
        Err(_) => tracing::debug!("operations request exceeded {CONNECTION_TIMEOUT:?}"),
    }
}
