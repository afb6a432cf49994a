//! The probe: a client of the operations listener, for containers that have no other HTTP client.

use std::{error::Error, net::SocketAddr, time::Duration};

use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::OpsListen;

/// The time limit of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// A server that is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The server answers that it is not ready. The text names the checks that fail.
    #[error("the server is not ready; its log has the cause")]
    NotReady(String),
    /// The server cannot be asked.
    #[error(
        "no answer from the operations listener on {address}; check that the server runs and has this --ops-listen"
    )]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no listener to ask.
    #[error("the operations listener is off; use a server with --ops-listen IP:PORT")]
    Off,
}

/// Asks the server on this machine if it is ready, and returns its text.
pub async fn probe(listen: OpsListen) -> Result<String, ProbeError> {
    let OpsListen::At(mut address) = listen else { return Err(ProbeError::Off) };
    if address.ip().is_unspecified() {
        // A server on all addresses is also on loopback.
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let answer = timeout(PROBE_TIMEOUT, ask(address)).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
    match answer.map_err(|source| ProbeError::Unreachable { address, source })? {
        (StatusCode::OK, text) => Ok(text),
        (_, text) => Err(ProbeError::NotReady(text)),
    }
}

async fn ask(address: SocketAddr) -> Result<(StatusCode, String), Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/readyz?verbose").header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    connection.abort();
    Ok((parts.status, String::from_utf8_lossy(&body).into_owned()))
}
