//! Accepting: connections with a finished handshake, and their peers.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{Stream, wrappers::ReceiverStream};

use super::{
    address::Listener,
    certificate::{self, NoIdentity},
    handshake_slots::HandshakeSlots,
    peer::Peer,
    refusal_log::{self, RefusalLog},
    socket::{Socket, Transport},
    tls::Tls,
    write_coalescing::CoalescingStream,
};
use crate::auth::Principal;

/// The most concurrent handshakes. Beyond it, connections wait in the queue of the socket.
const MAX_HANDSHAKES: usize = 512;
/// The most concurrent handshakes of one peer address. Further connections of the address are closed.
const MAX_HANDSHAKES_PER_PEER: usize = 32;
/// The time limit of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pauses after failures to accept, e.g. without a free file descriptor: the first and the longest.
const ACCEPT_PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// The most connections that wait for the server to take them.
const QUEUE_LENGTH: usize = 16;

/// A connection on which HTTP/2 can begin.
pub type Connection = CoalescingStream<Socket>;

/// A handshake that gave no connection.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("TLS handshake failed")]
    Handshake(#[from] io::Error),
    #[error("TLS handshake exceeded {HANDSHAKE_TIMEOUT:?}")]
    Timeout,
    #[error("client certificate refused")]
    Certificate(#[from] NoIdentity),
}

impl Refused {
    /// The reason for which the client's certificate is refused; `None` for other failures.
    fn certificate_reason(&self) -> Option<String> {
        match self {
            Self::Handshake(error) => refusal_log::certificate_error(error),
            Self::Certificate(reason) => Some(reason.to_string()),
            Self::Timeout => None,
        }
    }
}

/// Accepts connections until the stream is dropped. With `tls`, each one over TCP begins with a TLS handshake.
///
/// A failed handshake closes its connection and is logged at DEBUG; a refused certificate has a line in the audit trail. A failure to accept is logged, and tried again after a pause.
pub fn incoming(
    listener: Listener,
    tls: Option<Arc<Tls>>,
) -> impl Stream<Item = Result<Connection, Infallible>> + Send {
    let (accepted, connections) = mpsc::channel(QUEUE_LENGTH);
    tokio::spawn(accept_all(listener, tls, accepted));
    ReceiverStream::new(connections)
}

async fn accept_all(listener: Listener, tls: Option<Arc<Tls>>, accepted: mpsc::Sender<Result<Connection, Infallible>>) {
    let slots = HandshakeSlots::new(MAX_HANDSHAKES_PER_PEER);
    let refusals: Arc<RefusalLog> = Arc::default();
    let mut handshakes = JoinSet::new();
    let mut pause = ACCEPT_PAUSES[0];
    loop {
        let socket = tokio::select! {
            () = accepted.closed() => return,
            Some(_) = handshakes.join_next() => continue,
            socket = accept(&listener), if handshakes.len() < MAX_HANDSHAKES => socket,
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                if !concerns_one_connection(&error) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept connections; trying again");
                    sleep(pause).await;
                    pause = pause.saturating_mul(2).min(ACCEPT_PAUSES[1]);
                }
                continue;
            }
        };
        pause = ACCEPT_PAUSES[0];
        match (&tls, socket) {
            (Some(tls), Socket { transport: Transport::Tcp(stream), peer }) => {
                let slot = peer.address.map(|address| slots.take(address.ip()));
                let Some(slot) = slot.flatten() else {
                    tracing::debug!(peer = ?peer.address, "connection closed: too many concurrent handshakes of this peer");
                    continue;
                };
                let (acceptor, accepted, refusals) = (tls.acceptor(), accepted.clone(), Arc::clone(&refusals));
                handshakes.spawn(async move {
                    let handshake = shake_hands(acceptor, stream, peer.clone()).await;
                    drop(slot);
                    match handshake {
                        Ok(socket) => send(&accepted, socket).await,
                        Err(error) => {
                            if let Some(reason) = error.certificate_reason() {
                                refusals.refused(peer.address, &reason);
                            }
                            let error = &error as &dyn std::error::Error;
                            tracing::debug!(peer = ?peer.address, error, "connection refused");
                        }
                    }
                });
            }
            (_, socket) => send(&accepted, socket).await,
        }
    }
}

/// Hands a connection over. It is closed if the server has stopped.
async fn send(accepted: &mpsc::Sender<Result<Connection, Infallible>>, socket: Socket) {
    accepted.send(Ok(CoalescingStream::new(socket))).await.ok();
}

async fn accept(listener: &Listener) -> io::Result<Socket> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            // Without it the connection is slower, not wrong.
            stream.set_nodelay(true).ok();
            Ok(Socket { transport: Transport::Tcp(stream), peer: Peer::at(address) })
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let peer = Peer::process_of(stream.peer_cred()?.uid());
            Ok(Socket { transport: Transport::Unix(stream), peer })
        }
    }
}

/// True if the next connection may be accepted at once: the failed one is gone from the queue.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | NotConnected | BrokenPipe)
}

async fn shake_hands(acceptor: TlsAcceptor, stream: TcpStream, peer: Peer) -> Result<Socket, Refused> {
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await.map_err(|_| Refused::Timeout)??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let identity = certificate.map(|certificate| certificate::identity(certificate)).transpose()?;
    let peer = Peer { principal: identity.map(Principal::new), ..peer };
    Ok(Socket { transport: Transport::Tls(Box::new(stream)), peer })
}
