//! A TCP proxy in front of a server that simulates network failures: a machine, switch or firewall that dies on the path.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// A proxy to one server. It accepts no more connections when it is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    state: Arc<watch::Sender<NetworkState>>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct NetworkState {
    /// Connections of an earlier epoch are lost.
    epoch: u64,
    /// New connections are accepted but not forwarded.
    is_partitioned: bool,
    /// Lost connections are closed.
    is_closing: bool,
}

impl TcpProxy {
    /// Starts a proxy to the server at this address, on a free port of 127.0.0.1.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(NetworkState::default()));
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&state)));
        Self { address, state, accepting }
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops all data on existing connections without closing them, so that neither end receives an error. New
    /// connections work.
    pub fn lose_connections(&self) {
        self.state.send_modify(|state| *state = NetworkState { epoch: state.epoch + 1, is_closing: false, ..*state });
    }

    /// Closes existing connections at both ends. New connections work.
    pub fn close_connections(&self) {
        self.state.send_modify(|state| *state = NetworkState { epoch: state.epoch + 1, is_closing: true, ..*state });
    }

    /// Drops all data on existing connections, and on those opened before [`TcpProxy::heal`].
    pub fn partition(&self) {
        self.state.send_modify(|state| {
            *state = NetworkState { epoch: state.epoch + 1, is_partitioned: true, is_closing: false };
        });
    }

    /// Ends a partition for new connections. Existing ones stay lost.
    pub fn heal(&self) {
        self.state.send_modify(|state| state.is_partitioned = false);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: Arc<watch::Sender<NetworkState>>) {
    // Kept open, because a closed connection would report the partition to the client.
    let mut partitioned = Vec::new();
    while let Ok((client, _)) = listener.accept().await {
        let NetworkState { epoch, is_partitioned, .. } = *state.borrow();
        if is_partitioned {
            partitioned.push(client);
            continue;
        }
        let Ok(server) = TcpStream::connect(server).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(forward(from_client, to_server, state.subscribe(), epoch));
        tokio::spawn(forward(from_server, to_client, state.subscribe(), epoch));
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<NetworkState>,
    epoch: u64,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            biased;
            is_closing = async { state.wait_for(|state| state.epoch > epoch).await.is_ok_and(|state| state.is_closing) } => {
                if is_closing {
                    return;
                }
                // Both ends stay open and receive nothing.
                std::future::pending::<()>().await;
            }
            read = from.read(&mut buffer) => match read {
                Ok(read) if read > 0 && to.write_all(&buffer[..read]).await.is_ok() => {}
                _ => return,
            }
        }
    }
}
