//! The way to a server, which can be lost: what a network does when a machine, a switch or a firewall on it dies.

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

/// A way to a server; ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    /// Connections made before this count are lost.
    lost: Arc<watch::Sender<u64>>,
    forwarding: JoinHandle<()>,
}

impl Link {
    /// A way to this address.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lost = Arc::new(watch::Sender::new(0));
        let losing = Arc::clone(&lost);
        let forwarding = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let epoch = *losing.borrow();
                tokio::spawn(forward(from_client, to_server, losing.subscribe(), epoch));
                tokio::spawn(forward(from_server, to_client, losing.subscribe(), epoch));
            }
        });
        Self { address, lost, forwarding }
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses every connection there is, and tells neither end: nothing arrives any more, and nothing is refused. Those made from
    /// now on are as good as new.
    pub fn lose_connections(&self) {
        self.lost.send_modify(|lost| *lost += 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut lost: watch::Receiver<u64>, epoch: u64) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            biased;
            () = async { drop(lost.wait_for(|lost| *lost > epoch).await) } => {
                // Both ends stay open, and hear nothing.
                std::future::pending::<()>().await;
            }
            read = from.read(&mut buffer) => match read {
                Ok(read) if read > 0 && to.write_all(&buffer[..read]).await.is_ok() => {}
                _ => return,
            }
        }
    }
}
