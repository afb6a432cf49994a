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
    losses: Arc<watch::Sender<Losses>>,
    forwarding: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    /// Connections made before this count are lost.
    lost: u64,
    /// Those that are made now lead nowhere.
    is_cut: bool,
}

impl Link {
    /// A way to this address.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let losses = Arc::new(watch::Sender::new(Losses::default()));
        let losing = Arc::clone(&losses);
        let forwarding = tokio::spawn(async move {
            let mut nowhere = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                let Losses { lost: epoch, is_cut } = *losing.borrow();
                if is_cut {
                    nowhere.push(client);
                    continue;
                }
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(forward(from_client, to_server, losing.subscribe(), epoch));
                tokio::spawn(forward(from_server, to_client, losing.subscribe(), epoch));
            }
        });
        Self { address, losses, forwarding }
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses every connection there is, and tells neither end: nothing arrives any more, and nothing is refused. Those made from
    /// now on are as good as new.
    pub fn lose_connections(&self) {
        self.losses.send_modify(|losses| losses.lost += 1);
    }

    /// Loses every connection there is, and those that are made until [`Link::mend`].
    pub fn cut(&self) {
        self.losses.send_modify(|losses| *losses = Losses { lost: losses.lost + 1, is_cut: true });
    }

    /// Connections made from now on are as good as new.
    pub fn mend(&self) {
        self.losses.send_modify(|losses| losses.is_cut = false);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut losses: watch::Receiver<Losses>, epoch: u64) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            biased;
            () = async { drop(losses.wait_for(|losses| losses.lost > epoch).await) } => {
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
